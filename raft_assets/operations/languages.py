"""Whether the models that are configured know the language of a domain's documents: the embedded ones know English.

Their teacher asks by rules of English and their reader was trained on it. Of another language they would make nothing,
or nonsense, and nobody would say why.
"""

from collections.abc import Iterable, Mapping, Sequence

from raft_assets.core.errors import SettingsError
from raft_assets.core.languages import ENGLISH, name_of_code
from raft_assets.core.tables import SourceDocument
from raft_assets.documents.document_languages import AUTO, count_languages, tell_languages
from raft_assets.documents.reading import ReadDocument, read_documents
from raft_assets.settings.domains import FileHashCache
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.mirror import documents_of

SAMPLED_DOCUMENTS = 24  # that are read for a domain's languages, evenly spread
ROLES = (Role.TEACHER, Role.BASELINE, Role.STUDENT)  # whose embedded models know one language


def sampled_languages(project: Project, domain: str) -> dict[str, int]:
    """Return the number of documents by language, the most frequent first, of a sample of the domain's folder.

    A language that is set for the domain is that of every document. Empty where no document of the sample can be read.
    """
    settings = project.settings(domain).values.documents
    with FileHashCache(project.home / "cache" / "hashes.sqlite") as hashes:
        files = documents_of(project, domain, hashes)
    if settings.language != AUTO:
        return {settings.language: len(files)}
    step = max(1, -(-len(files) // SAMPLED_DOCUMENTS))
    read = read_documents(files[::step], memo=project.home / "cache" / "parsed", max_file_mb=settings.max_file_mb)
    pages = [page for document in read if isinstance(document, ReadDocument) for page in document.pages]
    return count_languages(tell_languages(pages))


def check_languages_in_lake(project: Project, lake: Lake, domain: str, roles: Iterable[Role]) -> None:
    """Check the languages of the domain's table of documents, as `check_languages` does."""
    if any(project.endpoints[role].knows_english_only for role in roles):
        check_languages(project, domain, count_languages(lake.rows(SourceDocument, domain)), roles)


def check_languages(
    project: Project, domain: str, languages: Mapping[str, int], roles: Iterable[Role] = ROLES
) -> Sequence[Role]:
    """Return those of the roles that know English alone and have something to do in the domain.

    `languages`: the number of documents by language, the most frequent first. Raises SettingsError if there are such
    roles and most documents are not in English.
    """
    asked = project.settings(domain).values.questions.questions_per_chunk
    english = [
        role
        for role in ROLES
        if role in roles and project.endpoints[role].knows_english_only and (role is not Role.TEACHER or asked)
    ]
    main = next(iter(languages), ENGLISH)
    if not english or main == ENGLISH:
        return english
    variables = ", ".join(f"{role}_OPENAI_BASE_URL and {role}_OPENAI_DEPLOYMENT" for role in english)
    raise SettingsError(
        f"The documents of {domain!r} are in {name_of_code(main)}, and {', '.join(english)} "
        f"{'is' if len(english) == 1 else 'are'} of the embedded provider, which knows English alone: set {variables} "
        f"in .env to models that know {name_of_code(main)}, or documents.language: en in the domain's domain.yaml if "
        "its documents are English."
    )

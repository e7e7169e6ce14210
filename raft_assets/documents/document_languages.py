"""The languages of a domain's documents and of their chunks: found in the text, or set for the domain.

Descriptions of an API, and texts that are too short to say, are in the domain's main language.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from raft_assets.core.language_detection import detect_language, document_languages, main_language
from raft_assets.core.tables import Chunk, SourceDocument
from raft_assets.documents.readers.left_out import count_words
from raft_assets.documents.reading import ReadDocument, group_into_documents

AUTO = "auto"  # of the setting documents.language
MIN_MIXED_CHARACTERS = 200  # of a passage whose language may differ from that of its document


@dataclass(frozen=True)
class _DocumentLanguages:
    """A document and the languages in it, the main one first; none where it can't be said."""

    document: ReadDocument
    languages: Sequence[str]

    @property
    def main(self) -> str:
        return self.languages[0] if self.languages else ""


def tell_languages(pages: Iterable[SourceDocument], language: str = AUTO) -> list[SourceDocument]:
    """Return the pages with the languages of their documents.

    `language`: the setting, a code or `AUTO`. The pages of a document follow one another.
    """
    documents = list(group_into_documents(pages))
    if language != AUTO:
        return [page for document in documents for page in _with_languages(document, [language])]
    detected = [_DocumentLanguages(document, _languages(document)) for document in documents]
    main = main_language((one.main, _count_words(one.document)) for one in detected)
    return [page for one in detected for page in _with_languages(one.document, one.languages or [main])]


def with_language(document: ReadDocument, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield the chunks of a document with their languages.

    A chunk is in the document's main language, unless the document has others and the passage says that it is in one of
    them.
    """
    main, others = document.pages[0].language, document.pages[0].other_languages
    for chunk in chunks:
        found = ""
        if others and chunk.kind != "api" and len(chunk.passage) >= MIN_MIXED_CHARACTERS:
            found = detect_language(chunk.passage, (main, *others))
        yield chunk.model_copy(update={"language": found or main})


def count_languages(pages: Iterable[SourceDocument]) -> dict[str, int]:
    """Return the number of documents by their main language, the most frequent first; English where it isn't told."""
    languages = {page.doc_id: page.language or "en" for page in pages}
    counts: dict[str, int] = {}
    for language in languages.values():
        counts[language] = counts.get(language, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _languages(document: ReadDocument) -> list[str]:
    return [] if document.kind == "api" else document_languages(document.document_text)


def _with_languages(document: ReadDocument, languages: Sequence[str]) -> Iterator[SourceDocument]:
    main, *others = languages
    for page in document.pages:
        yield page.model_copy(update={"language": main, "other_languages": others})


def _count_words(document: ReadDocument) -> int:
    return sum(count_words(page.text) for page in document.pages)

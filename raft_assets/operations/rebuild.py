"""What determines a domain's dataset, and building it again from a manifest.

The asset `data_card` writes the manifest, `raft rebuild` reads it.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import yaml

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import DataError
from raft_assets.core.stored_fields import digest_content
from raft_assets.core.tables import SourceDocument
from raft_assets.dataset.manifest import (
    DatasetInputs,
    Manifest,
    file_differences,
    package_differences,
    setting_differences,
    version_differences,
)
from raft_assets.dataset.versions import (
    CODE_VERSIONS,
    contract_prompts,
    other_language_prompts,
    package_versions,
    prompt_versions,
)
from raft_assets.operations.chunk_form import chunk_form_record, restore_chunk_form
from raft_assets.operations.document_ids import renamed_documents, restore_documents
from raft_assets.operations.model_clients import ModelClients, resolved_model
from raft_assets.operations.pair_form import asks_in_text, recorded_form, restore_form
from raft_assets.operations.process import is_domain_busy
from raft_assets.settings.domains import (
    PAIRS_FILE,
    QUESTIONS_FILE,
    REVIEWS_FILE,
    SETTINGS_FILE,
    FileHashCache,
    domain_folder,
)
from raft_assets.settings.endpoints import Role
from raft_assets.settings.groups import ROW_GROUPS, SETTINGS_GROUPS
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.mirror import documents_of, edited

DATASET = "qa_dataset"
LINEAGE = ("source_documents", "chunks", "golden_questions", "qa_pairs", DATASET)  # tables in order, up to the rows


def collect_inputs(project: Project, domain: str) -> DatasetInputs:
    """Return what determines the domain's rows, as it is now."""
    with FileHashCache(project.home / "cache" / "hashes.sqlite") as memo:
        files = {document.path: document.content_hash for document in documents_of(project, domain, memo)}
    folder = domain_folder(project.data, domain)
    for name in (QUESTIONS_FILE, PAIRS_FILE, REVIEWS_FILE):
        if (folder / name).is_file():
            files[name] = sha256((folder / name).read_bytes()).hexdigest()
    endpoints, values = project.endpoints, project.settings(domain).values
    makers = {role for name in ROW_GROUPS for role in SETTINGS_GROUPS[name].roles}
    contract = contract_prompts(values, asks_in_text=asks_in_text(endpoints[Role.TEACHER], values.questions))
    instructions = {name: value for group in ROW_GROUPS for name, value in contract.get(group, {}).items()}
    return DatasetInputs(
        files=files,
        settings=_row_settings(digest_content(values, values.model_dump(mode="json"))),
        versions=dict(CODE_VERSIONS)
        | prompt_versions(values.questions, judged=Role.JUDGE in endpoints)
        | dict(sorted(instructions.items()))
        | other_language_prompts(),
        models={role.value: resolved_model(endpoints[role], project) for role in sorted(makers & endpoints.keys())},
        packages=package_versions(),
    )


def build_manifest(project: Project, lake: Lake, domain: str) -> Manifest:
    """Build the manifest of the domain's dataset as it is in the lake.

    Raises DataError if a document has changed since it was read: the manifest would not be of these rows.
    """
    inputs = collect_inputs(project, domain)
    form = recorded_form(ModelClients(project), lake, domain)
    forms = {"pair_form": form.record, "chunk_form": chunk_form_record(lake, domain)}
    for page in lake.rows(SourceDocument, domain):
        if inputs.files.get(page.path) != page.content_hash:
            raise DataError(f"{page.path} has changed since it was read: run `raft run {domain!r}`.")
    return Manifest(
        **inputs.model_dump() | forms | {"renamed": renamed_documents(lake, domain)},
        domain=domain,
        splits=lake.read_record("splits", domain),
        digests={table: lake.digest(table, domain) for table in LINEAGE},
    )


def restore_inputs(project: Project, lake: Lake, manifest: Manifest, domain: str) -> None:
    """Restore the manifest's settings and register of splits in a domain that contains the manifest's documents.

    Settings are written where there is no `domain.yaml`. Raises DataError with everything that differs.
    """
    if is_domain_busy(project, domain):
        raise DataError(f"A command is working on {domain!r}: wait until it ends, then rebuild.")
    # a manifest of an earlier version also holds settings that can't touch a row
    manifest = manifest.model_copy(update={"settings": _row_settings(manifest.settings)})
    here = collect_inputs(project, domain)
    file = domain_folder(project.data, domain) / SETTINGS_FILE
    settings = setting_differences(manifest, here)
    if settings and not file.exists():
        head = f"# Settings of the manifest of {manifest.domain!a}, written by raft rebuild.\n"
        with edited(project, domain, SETTINGS_FILE):
            write_text(file, head + yaml.safe_dump(manifest.settings, sort_keys=False, allow_unicode=True))
        settings = setting_differences(manifest, collect_inputs(project, domain))
    differences = [*file_differences(manifest, here), *settings, *version_differences(manifest, here)]
    if differences:
        advice = f" Without {file} the settings of the manifest are written there." if settings else ""
        raise DataError(f"{domain!r} doesn't match the manifest. {' '.join(differences)}{advice}")
    lake.write_record("splits", domain, manifest.splits)
    restore_form(ModelClients(project), lake, domain, manifest.pair_form)
    restore_chunk_form(lake, domain, manifest.chunk_form)
    restore_documents(lake, domain, manifest.renamed)


def table_differences(lake: Lake, manifest: Manifest, domain: str) -> list[str]:
    """Return the tables whose rows are not those of the manifest, in sentences and in the order of the lineage."""
    here = {table: lake.digest(table, domain) for table in LINEAGE if table in manifest.digests}
    return [
        f"{table} differs: {actual} here, {manifest.digests[table]} in the manifest."
        for table, actual in here.items()
        if actual != manifest.digests[table]
    ]


def package_notes(manifest: Manifest) -> list[str]:
    """Return the packages with other versions, which may read or cut otherwise; for the case that rows differ."""
    return package_differences(manifest, manifest.model_copy(update={"packages": package_versions()}))


def _row_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups of settings on which rows depend."""
    return {name: values for name, values in settings.items() if name in ROW_GROUPS}

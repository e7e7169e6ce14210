"""Forgetting a text: what was made from a domain or document leaves lake, call store, results, caches and run history.

Whatever else the domain holds is made again by the next run. Stored answers are found by their content, so that those
under earlier settings and models go as well, and those of other documents stay paid.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from raft_assets.calls.background import run
from raft_assets.calls.keys import EMBEDDING
from raft_assets.calls.store import CallStore, StoredCall
from raft_assets.errors import DataError
from raft_assets.partitions import DOMAIN_PARTITIONS
from raft_assets.raft.files import domain_names
from raft_assets.raft.tables import SourceDocument
from raft_assets.resources.lake import Lake
from raft_assets.resources.models import Models
from raft_assets.resources.results import ResultsStore
from raft_assets.settings import Role, Workplace

WORDS_IN_COMMON = 8  # in a row: no two texts share them by chance, every quote of a sentence does
PARTITION_TAG = "dagster/partition"
_WORD = re.compile(r"\w+")


def purge(
    instance: dg.DagsterInstance, workplace: Workplace, domain: str, document: str | None = None
) -> Iterator[str]:
    """Forgets a domain, or one document of it that is no longer in its folder; yields a line per place.

    Raises DataError where the document is still in the folder, or nothing is known of it.
    """
    lake = Lake(root=workplace.lake)
    pages = _pages(lake, workplace, domain, document)
    holds_text = _finder([page.text for page in pages])
    with CallStore(workplace.calls) as store:
        yield f"call store: {store.forget(lambda call: _is_of(call, holds_text))} answers and vectors"
    yield f"uploads: {run(_delete_uploads(Models(project=str(workplace.project)), holds_text))} training files"
    parsed = [file for page in pages for file in (workplace.home / "cache" / "parsed").glob(f"{page.content_hash}-*")]
    for file in {*parsed, workplace.home / "logs" / f"{domain}.log"}:
        file.unlink(missing_ok=True)
    # the assignment to splits holds hashes only, and the other documents keep theirs
    yield f"lake: {len(lake.purge(domain, keep=('splits',) if document else ()))} files"
    yield f"results: {ResultsStore(path=str(workplace.results)).purge(domain)} evaluations"
    yield f"run history: {_delete_runs(instance, domain)} runs with their samples"
    if domain not in domain_names(workplace.data):
        instance.delete_dynamic_partition(DOMAIN_PARTITIONS, domain)


def _pages(lake: Lake, workplace: Workplace, domain: str, document: str | None) -> list[SourceDocument]:
    if document and (workplace.data / domain / document).exists():
        raise DataError(f"{document} is still in {workplace.data / domain}: delete it there first, then purge it.")
    known = lake.exists("source_documents", domain)
    pages = list(lake.rows("source_documents", domain, SourceDocument)) if known else []
    chosen = [page for page in pages if document in (None, page.path)]
    if document and not chosen:
        raise DataError(
            f"Nothing is known of a document {document!r} in {domain!r}. A text is found by what was read of it: "
            f"purge the whole domain to be sure (raft purge {domain!r})."
        )
    return chosen


def _finder(texts: list[str]) -> Callable[[str], bool]:
    """Tells whether a text has `WORDS_IN_COMMON` words in a row in common with one of the texts."""
    wanted = {shingle for text in texts for shingle in _shingles(text)}
    return lambda text: not wanted.isdisjoint(_shingles(text))


def _shingles(text: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    for start in range(len(words) - WORDS_IN_COMMON + 1):
        yield tuple(words[start : start + WORDS_IN_COMMON])


def _is_of(call: StoredCall, holds_text: Callable[[str], bool]) -> bool:
    # a vector tells nothing of what it stands for, and costs next to nothing: all of them go
    return call.kind == EMBEDDING or holds_text(call.payload.decode("utf-8", "replace"))


async def _delete_uploads(models: Models, holds_text: Callable[[str], bool]) -> int:
    """Deletes training files at the student's service that hold the text."""
    deleted = 0
    async with models.client(Role.STUDENT) as client:
        async for file in client.files.list(purpose="fine-tune"):
            if holds_text((await client.files.content(file.id)).text):
                await client.files.delete(file.id)
                deleted += 1
    return deleted


def _delete_runs(instance: dg.DagsterInstance, domain: str) -> int:
    """Deletes the domain's runs: their events hold samples of the text."""
    runs = instance.get_runs(filters=dg.RunsFilter(tags={PARTITION_TAG: domain}))
    events = [
        record.asset_materialization
        for run_of_domain in runs
        for record in _materializations(instance, run_of_domain.run_id)
        if record.asset_materialization
    ]
    for run_of_domain in runs:
        instance.compute_log_manager.delete_logs(prefix=[run_of_domain.run_id])
        instance.delete_run(run_of_domain.run_id)
    for key in {event.asset_key for event in events}:
        _forget_last(instance, key)
    if instance.root_directory:
        for database in Path(instance.root_directory).rglob("*.db"):
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("VACUUM")  # until then SQLite keeps the bytes of what was deleted
    return len(runs)


def _materializations(instance: dg.DagsterInstance, run_id: str) -> Sequence[dg.EventLogEntry]:
    of_type = {dg.DagsterEventType.ASSET_MATERIALIZATION}
    return [record.event_log_entry for record in instance.get_records_for_run(run_id, of_type=of_type).records]


def _forget_last(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    """Dagster copies an asset's last materialization beside its events: that copy becomes the last one that is left."""
    left, storage = instance.fetch_materializations(key, limit=1).records, instance.event_log_storage
    if left and isinstance(storage, SqlEventLogStorage):
        storage.store_asset_event(left[0].event_log_entry, left[0].storage_id)
    else:
        instance.wipe_assets([key])

"""Forget what Dagster keeps of a domain: its runs, their events, and the copy of an asset's last materialization."""

import sqlite3
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from pathlib import Path

import dagster as dg

from raft_assets.core.errors import DataError
from raft_assets.defs.dagster_internals import delete_partition_events, restore_last_materialization
from raft_assets.operations.process import DOMAIN_PARTITIONS, PARTITION_TAG

VACUUM_TIMEOUT_S = 30.0  # the UI may be writing


class DagsterHistory:
    """What a Dagster instance knows of domains and their runs; `operations.purge` is handed it."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def domains(self) -> AbstractSet[str]:
        """Return the partitions that are registered."""
        return set(self._instance.get_dynamic_partitions(DOMAIN_PARTITIONS))

    def unregister(self, domain: str) -> None:
        """Remove a domain's partition."""
        self._instance.delete_dynamic_partition(DOMAIN_PARTITIONS, domain)

    def runs(self, domain: str) -> list[str]:
        """Return the ids of the domain's runs."""
        return [run.run_id for run in self._instance.get_runs(filters=dg.RunsFilter(tags={PARTITION_TAG: domain}))]

    def forget(self, domain: str) -> int:
        """Delete the domain's runs with their events and logs, and what was observed of it; return how many runs.

        Events hold samples of the text and the names of its documents. Raises DataError where a database is so busy
        that the bytes of what was deleted can't be overwritten.
        """
        instance, runs = self._instance, self.runs(domain)
        assets = {
            record.asset_materialization.asset_key
            for run in runs
            for record in self._materializations(run)
            if record.asset_materialization
        }
        for run in runs:
            instance.compute_log_manager.delete_logs(prefix=[run])
            instance.delete_run(run)
        for key in assets | delete_partition_events(instance, domain):
            restore_last_materialization(instance, key)
        if instance.root_directory:
            for database in Path(instance.root_directory).rglob("*.db"):
                _vacuum(database)
        return len(runs)

    def _materializations(self, run_id: str) -> Sequence[dg.EventLogEntry]:
        of_type = {dg.DagsterEventType.ASSET_MATERIALIZATION}
        return [r.event_log_entry for r in self._instance.get_records_for_run(run_id, of_type=of_type).records]


def _vacuum(database: Path) -> None:
    """Overwrite what was deleted: until then SQLite keeps the bytes, in the file and in its write-ahead log."""
    with closing(sqlite3.connect(database, timeout=VACUUM_TIMEOUT_S)) as connection:
        try:
            connection.execute("VACUUM")
            (is_blocked, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            is_blocked = True
    if is_blocked:
        raise DataError(
            f"{database} is in use, so the bytes of what was deleted are still in it. End `raft ui` and the project's "
            "other commands, and run the same purge again: it goes on where it stopped."
        )

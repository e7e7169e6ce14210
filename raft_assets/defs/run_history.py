"""Forget what Dagster keeps of a domain: its runs, their events, and the copy of an asset's last materialization."""

import sqlite3
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, suppress
from pathlib import Path

import dagster as dg

from raft_assets.defs.dagster_internals import restore_last_materialization
from raft_assets.operations.process import DOMAIN_PARTITIONS, PARTITION_TAG

VACUUM_TIMEOUT_S = 30.0  # the UI may be writing; where it never pauses, the bytes go with the next purge


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

    def forget_runs(self, domain: str) -> int:
        """Delete the domain's runs, whose events hold samples of the text; return how many they were."""
        instance = self._instance
        runs = instance.get_runs(filters=dg.RunsFilter(tags={PARTITION_TAG: domain}))
        events = [
            record.asset_materialization
            for run_of_domain in runs
            for record in self._materializations(run_of_domain.run_id)
            if record.asset_materialization
        ]
        for run_of_domain in runs:
            instance.compute_log_manager.delete_logs(prefix=[run_of_domain.run_id])
            instance.delete_run(run_of_domain.run_id)
        for key in {event.asset_key for event in events}:
            restore_last_materialization(instance, key)
        if instance.root_directory:
            for database in Path(instance.root_directory).rglob("*.db"):
                with (
                    closing(sqlite3.connect(database, timeout=VACUUM_TIMEOUT_S)) as connection,
                    suppress(sqlite3.OperationalError),
                ):
                    connection.execute("VACUUM")  # until then SQLite keeps the bytes of what was deleted
        return len(runs)

    def _materializations(self, run_id: str) -> Sequence[dg.EventLogEntry]:
        of_type = {dg.DagsterEventType.ASSET_MATERIALIZATION}
        return [r.event_log_entry for r in self._instance.get_records_for_run(run_id, of_type=of_type).records]

"""Runs as processes of the code server, where nothing else starts containers.

Dagster's own launcher can't say whether the process of a run lives, so a run whose code server went down would count as
running until its longest time is over. This one asks the code server, by the address that everybody knows it by: a
process id or a host name of another container says nothing here. `run_monitoring` in `infra/hosted/dagster.yaml` asks.
"""

import dagster as dg

from raft_assets.defs.dagster_internals import CheckRunHealthResult, WorkerStatus, is_run_of_code_server


class CodeServerRunLauncher(dg.DefaultRunLauncher):
    """`DefaultRunLauncher`, whose runs are closed when the code server no longer has their process."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Let the daemon ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the code server that took the run still has its process.

        Raises DagsterUserCodeUnreachableError where it doesn't answer: the daemon leaves the run as it is, and asks
        again. A code server that was started anew answers, and has none of the runs before.
        """
        if is_run_of_code_server(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the code server has no process of this run any more")

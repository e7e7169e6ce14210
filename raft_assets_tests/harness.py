"""A project in a temporary folder, driven as a person would: change a document, look, materialize, kill."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import dagster as dg

from raft_assets.cli.main import main
from raft_assets.cli.project import activate_project
from raft_assets.definitions import definitions
from raft_assets.defs.dagster_internals import execute_job
from raft_assets.defs.observation import observe
from raft_assets.defs.runs import LINEAGE_JOB, materialize
from raft_assets.defs.staleness import AssetState, Graph, asset_states, assets_in_order, failure_message, with_upstream
from raft_assets.operations.losses import Losses
from raft_assets.settings.project import Project
from raft_assets.storage.lake import TABLES, Lake
from raft_assets.storage.results import ResultsStore
from raft_assets_tests.processes import kill_tree

REPOSITORY = Path(__file__).parents[1]
SHIPPED = REPOSITORY / "data"


class ProjectHarness:
    """A project folder with domains.

    Everything that it does goes through the product's own functions or its command.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own_variables: dict[str, str] = {"RAFT_PROVIDER": "embedded"}
        (folder / "data").mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "workspace.yaml", folder)
        shutil.copytree(REPOSITORY / "presets", folder / "presets", dirs_exist_ok=True)

    @property
    def variables(self) -> dict[str, str]:
        """Environment of the project's processes: nothing of the tester's own configuration reaches them."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not any(word in name for word in ("OPENAI", "RAFT_", "DAGSTER_"))
        }
        return kept | {"RAFT_PROJECT": str(self.folder), "OMP_NUM_THREADS": "1"} | self.own_variables

    @property
    def opened(self) -> Project:
        """The project as the product opens it now."""
        return Project.load(self.folder, self.variables)

    @property
    def lake(self) -> Lake:
        """The project's lake."""
        return Lake.of(self.opened)

    @property
    def results(self) -> ResultsStore:
        """The project's evaluations."""
        return ResultsStore.of(self.opened)

    def copy_domain(self, shipped: str, name: str | None = None, *, documents: int | None = None) -> str:
        """Takes a shipped domain, or its first documents, into the project."""
        target = self.folder / "data" / (name or shipped)
        target.mkdir()
        files = sorted(file for file in (SHIPPED / shipped).iterdir() if file.is_file())
        chosen = [file for file in files if file.suffix != ".jsonl"][:documents]
        for file in [*chosen, *(file for file in files if file.suffix == ".jsonl" and documents is None)]:
            shutil.copy(file, target)
        return target.name

    def write(self, path: str, text: str) -> Path:
        """Writes a file of the project, such as `data/mine/a.txt`."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        return file

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The project's Dagster instance, in this process."""
        with self._as_this_process(), dg.DagsterInstance.get() as instance:
            yield instance

    @property
    def graph(self) -> Graph:
        """The asset graph."""
        with self._as_this_process():
            return definitions().resolve_asset_graph()

    def look(self) -> list[str]:
        """Observes the folders as the sensor does; returns the domains."""
        with self.instance() as instance:
            return observe(instance, self.opened).domains

    def materialize(self, domain: str, *assets: str, force: bool = False) -> bool:
        """Materializes what is not fresh of the assets and what they need, as `raft run` does."""
        with self.instance() as instance:
            observe(instance, self.opened)
            defs = definitions()
            graph = defs.resolve_asset_graph()
            keys = [dg.AssetKey(asset) for asset in assets]
            wanted = with_upstream(graph, keys) if keys else assets_in_order(graph)
            return materialize(defs, instance, self.opened, domain, wanted, force=force, command="test") == "done"

    def materialize_only(self, domain: str, asset: str) -> bool:
        """Materializes one asset, whatever state it and its inputs have, as a click on it in the UI does."""
        with self.instance() as instance:
            keys = [dg.AssetKey(asset)]
            ended = materialize(definitions(), instance, self.opened, domain, keys, force=True, command="test")
            return ended == "done"

    def launch(self, domain: str, *assets: str, tags: Mapping[str, str] | None = None) -> dg.DagsterRun:
        """One run of these assets, whatever state they have, that no command follows: as the daemon launches it."""
        with self.instance() as instance:
            keys = [dg.AssetKey(asset) for asset in assets]
            job = definitions().resolve_job_def(LINEAGE_JOB)
            return execute_job(instance, job, partition=domain, assets=keys, tags=tags or {}, origin=None)

    def launch_requested(self, request: dg.RunRequest) -> dg.DagsterRun:
        """The run that a sensor requests."""
        assets = [key.to_user_string() for key in request.asset_selection or ()]
        return self.launch(str(request.partition_key), *assets, tags=request.tags)

    def last_failure(self) -> str:
        """What the newest run that failed says."""
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
        with self.instance() as instance:
            (run,) = instance.get_runs(filters=failed, limit=1)
            records = instance.get_records_for_run(run.run_id, of_type={dg.DagsterEventType.STEP_FAILURE}).records
        error = records[0].event_log_entry.get_dagster_event().step_failure_data.error
        assert error is not None
        return failure_message(error)

    def failed_check(self, asset: str, check: str) -> dict[str, str]:
        """Metadata of the asset's check. Fails unless it is a blocking one that didn't pass."""
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        with self.instance() as instance:
            found = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        assert found.event is not None
        evaluation = found.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
        assert (evaluation.passed, evaluation.blocking) == (False, True)
        return {kind: str(value.value) for kind, value in evaluation.metadata.items()}

    def states(self, domain: str) -> dict[str, AssetState]:
        """State of every asset of the domain, after a look."""
        with self.instance() as instance:
            observe(instance, self.opened)
            found = asset_states(instance, definitions().resolve_asset_graph(), domain, Losses.find(self.opened))
            return {key.to_user_string(): state for key, state in found.items()}

    def not_fresh(self, domain: str) -> dict[str, str]:
        """What is not fresh, by state."""
        return {name: state.state for name, state in self.states(domain).items() if state.state != "fresh"}

    def runs_of(self, asset: str, domain: str) -> int:
        """How often the asset was materialized in the domain."""
        with self.instance() as instance:
            filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[domain])
            return len(instance.fetch_materializations(filters, limit=1000).records)

    def metadata(self, asset: str, domain: str) -> Mapping[str, object]:
        """Metadata of the asset's last materialization in the domain."""
        with self.instance() as instance:
            filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[domain])
            record = instance.fetch_materializations(filters, limit=1).records[0]
            assert record.asset_materialization is not None
            return {name: value.value for name, value in record.asset_materialization.metadata.items()}

    def raft(self, *arguments: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs the `raft` command to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.variables | dict(variables or {}),
            capture_output=True,
            text=True,
            check=False,
        )

    def raft_here(
        self, *arguments: str, variables: Mapping[str, str] | None = None, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """The `raft` command in this process: seconds faster, for commands that only look or delete."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        before = self.own_variables
        self.own_variables = before | dict(variables or {})
        try:
            with (
                self._as_this_process(),
                contextlib.chdir(self.folder),
                mock.patch.object(sys, "argv", ["raft", *arguments]),
                mock.patch.object(sys, "stdin", io.StringIO(typed)),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            self.own_variables = before
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts the `raft` command."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def kill(self, process: subprocess.Popen[str]) -> None:
        """kill -9 of the command and everything that it started, as a power cut would."""
        kill_tree(process.pid)
        process.communicate()

    def interrupt(self, process: subprocess.Popen[str]) -> None:
        """Ctrl-C, as a terminal sends it: to the whole group."""
        os.killpg(process.pid, signal.SIGINT)

    def digests(self, domain: str) -> dict[str, str]:
        """Digest of every table of the domain."""
        return {table: self.lake.digest(table, domain) for table in TABLES if self.lake.exists(table, domain)}

    def runs_of_command(self) -> int:
        """How many runs Dagster knows."""
        with self.instance() as instance:
            return instance.get_runs_count()

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """Command line of `raft` in this environment."""
        return [sys.executable, "-m", "raft_assets.cli.main", *arguments]

    @contextmanager
    def _as_this_process(self) -> Iterator[None]:
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.variables)
        try:
            activate_project(self.opened)
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

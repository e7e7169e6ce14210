"""What `raft run` does: it materializes domains in parallel, with a live view of Dagster's event log."""

import os
import re
import shlex
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click
import dagster as dg
from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from raft_assets.cli.estimate import fresh_assets, save_estimate
from raft_assets.cli.project import activate_project, open_instance, print_models, select_domains
from raft_assets.cli.worker import BUSY, FAILED, WAITS, worker_command
from raft_assets.core.errors import DataError
from raft_assets.core.near_misses import did_you_mean
from raft_assets.defs.dagster_internals import StaleResolver
from raft_assets.defs.lineage_asset import NOT_EVALUATED, ROLES_METADATA, WAITING
from raft_assets.defs.observation import observe
from raft_assets.defs.progress import read_progress
from raft_assets.defs.runs import close_killed_runs
from raft_assets.defs.staleness import AssetState, Graph, asset_states, assets_in_order, failure_message, with_upstream
from raft_assets.evaluation.wording import format_duration
from raft_assets.llm.clients import check_sign_in
from raft_assets.llm.ledger import is_unusable
from raft_assets.operations.chosen_presets import choose_preset
from raft_assets.operations.corpus import read_corpus
from raft_assets.operations.estimate import estimate_calls
from raft_assets.operations.languages import ROLES, check_languages, sampled_languages
from raft_assets.operations.life_cycles import check_student_model
from raft_assets.operations.local_models import serving_student
from raft_assets.operations.losses import Losses
from raft_assets.operations.model_clients import ModelClients, embedded_provider
from raft_assets.operations.process import COMMAND_TAG, PARTITION_TAG, WORKER_VARIABLES, check_coordination
from raft_assets.operations.ranges import CallEstimate
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore
from raft_assets.student.approval import APPROVAL_VARIABLE, APPROVE_FINE_TUNING

REPORT = "eval_report"
TRAINED = dg.AssetKey("finetuned_model")
PROGRESS_LINE_S = 30.0  # between two lines about a running domain where there is no terminal, on which one line changes
POLL_S = 1.0  # each look at a domain opens two of Dagster's databases: 20 ms of CPU


@dataclass
class DomainRun:
    """One domain's process and what the event log says of it."""

    domain: str
    due_assets: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    finished: int = 0
    asset: str = ""
    asset_started: float = 0.0  # by the clock of the events
    progress: str = ""
    told: float = 0.0  # when a line about the asset was printed last, or it began
    error: str = ""
    cursors: dict[str, str | None] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self.process is not None and self.process.poll() is not None

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self.process is not None and self.process.poll() not in (None, 0, WAITS)

    @property
    def waits(self) -> bool:
        """Whether it ended because a batch or job has no result yet."""
        return self.process is not None and self.process.poll() == WAITS


def materialize_domains(
    domains: Sequence[str],
    *,
    everything: bool = False,
    selected: Sequence[str] = (),
    preset: str | None = None,
    force: bool = False,
    retry_rejected: bool = False,
    approved: bool = False,
    budget: float | None = None,
) -> None:
    """Materialize what is stale or missing in the domains, and end the process: 0 done, 1 failed, 3 waiting.

    The approval of paid fine-tuning and the budget (US dollars) reach the domains' processes as environment variables.
    """
    if budget is not None:
        os.environ["RAFT_BUDGET_RUN"] = str(budget)  # for the domains' processes, too
    if approved:
        os.environ[APPROVAL_VARIABLE] = APPROVE_FINE_TUNING
    project = Project.load()
    names = select_domains(project, domains, everything=everything)
    for name in names if preset else []:
        choose_preset(project, name, str(preset))
    for name in names:
        project.settings(name)
    # a second or two: only once the other arguments are known to be right
    from raft_assets.definitions import definitions

    activate_project(project)
    graph: Graph = definitions().resolve_asset_graph()
    wanted = _selected_assets(graph, selected)
    with serving_student(project, click.echo) as served:
        _materialize(served, names, graph, wanted, force=force, retry_rejected=retry_rejected)


def _materialize(
    project: Project,
    names: Sequence[str],
    graph: Graph,
    wanted: Sequence[dg.AssetKey],
    *,
    force: bool,
    retry_rejected: bool,
) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    print_models(console, project)
    if left := _lake_left_behind(project):
        console.print(f"the lake is {project.lake}; {left} stays behind and isn't read: delete it, or unset RAFT_LAKE")
    if retry_rejected:
        console.print(f"{_delete_unusable_answers(project, names)} rejected answers are asked for again")
        force = True
    Lake.of(project).check_writable()
    check_coordination(project)
    with open_instance(project) as instance:
        for closed in close_killed_runs(instance):
            console.print(f"closed run {closed[:8]}, whose process had been killed")
        problems = observe(instance, project).problems
        for name in names:
            if name in problems:
                raise problems[name]
        command, work, asked = uuid.uuid4().hex, list[DomainRun](), set[Role]()
        ResultsStore.of(project).sync(names)
        resolver, losses = StaleResolver(instance, graph), Losses.find(project)
        for name in names:
            now = asset_states(instance, graph, name, losses, resolver)
            due = [key for key in wanted if force or now[key].state != "fresh"]
            if due:
                _check_encoder(project, graph, wanted, due)
                _check_languages(project, graph, name, due)
                _check_student(project, now, name, due)
                asked |= _asked_roles(_save_estimate(instance, project, graph, now, name), due)
                work.append(DomainRun(name, len(due), project.home / "logs" / f"{name}.log"))
            else:
                console.print(f"{name}: everything is fresh")
        for role in sorted(asked):  # or others would be paid before a missing key shows
            check_sign_in(project.endpoints[role])
        _run_domains(console, instance, project, work, wanted, force=force, command=command)
        failed = {item.domain for item in work if item.failed or item.waits}
        _print_verdicts(console, project, [name for name in names if name not in failed])
    raise SystemExit(_exit_code(work))


def _lake_left_behind(project: Project) -> Path | None:
    """Return the project's own lake, where it holds something and another one is used."""
    own = project.home / "lake"
    return own if project.lake != str(own) and own.is_dir() and any(own.iterdir()) else None


def _exit_code(work: Sequence[DomainRun]) -> int:
    if any(item.failed for item in work):
        return FAILED
    return WAITS if any(item.waits for item in work) else 0


def _check_encoder(project: Project, graph: Graph, wanted: Sequence[dg.AssetKey], due: Sequence[dg.AssetKey]) -> None:
    """Raise WeightsError where the run calls the embedded provider and its encoder is not installed.

    What follows from the assets that are due counts as well: nothing is read or paid for a run that can't end.
    """
    affected = set(due)
    for key in wanted:  # upstream first
        if affected & graph.get(key).parent_keys:
            affected.add(key)
    called = _called_roles(graph, affected)
    if any(role in called and endpoint.provider == "embedded" for role, endpoint in project.endpoints.items()):
        embedded_provider(project).find_weights()


def _check_languages(project: Project, graph: Graph, domain: str, due: Sequence[dg.AssetKey]) -> None:
    """Raise SettingsError where a model that one of the assets calls doesn't know the language of the documents."""
    called = _called_roles(graph, due)
    roles = [role for role in ROLES if role in called and project.endpoints[role].knows_english_only]
    if roles:
        check_languages(project, domain, sampled_languages(project, domain), roles)


def _check_student(
    project: Project, now: Mapping[dg.AssetKey, AssetState], domain: str, due: Sequence[dg.AssetKey]
) -> None:
    """Raise SettingsError where a student is to be trained that can't be; a job that was submitted is collected."""
    is_own = project.settings(domain).values.student.finetuned_model is not None
    if TRAINED in due and now[TRAINED].state != "waiting" and not is_own:
        check_student_model(project, datetime.now(UTC).date())


def _called_roles(graph: Graph, keys: Iterable[dg.AssetKey]) -> set[str]:
    return {role for key in keys for role in str(graph.get(key).metadata.get(ROLES_METADATA, "")).split()}


def _save_estimate(
    instance: dg.DagsterInstance,
    project: Project,
    graph: Graph,
    now: Mapping[dg.AssetKey, AssetState],
    domain: str,
) -> list[CallEstimate]:
    """Store the expected cost of the run, if anything may cost money, for comparison with the actual costs."""
    models = ModelClients(project)
    if all(endpoint.is_free for endpoint in models.endpoints.values()):
        return []
    try:
        fresh = fresh_assets(graph, now)
        corpus = read_corpus(models, domain, fresh=fresh)
        estimates = estimate_calls(models, domain, corpus, fresh=fresh)
    except DataError:
        return []  # the run itself reports what is wrong with the documents
    save_estimate(instance, project, domain, estimates)
    return estimates


def _asked_roles(estimates: Sequence[CallEstimate], due: Sequence[dg.AssetKey]) -> set[Role]:
    """Return the roles that the due assets will call; where every answer is stored nobody is called."""
    return {one.role for one in estimates if one.calls and dg.AssetKey(one.asset) in due}


def _delete_unusable_answers(project: Project, names: Sequence[str]) -> int:
    with open_call_store(project) as store:
        return store.forget(lambda call: is_unusable(call) and call.origin.domain in names)


def _selected_assets(graph: Graph, selected: Sequence[str]) -> list[dg.AssetKey]:
    known = {key.to_user_string(): key for key in assets_in_order(graph)}
    if unknown := [name for name in selected if name not in known]:
        meant = did_you_mean(unknown[0], known)
        raise click.UsageError(f"There is no asset {unknown[0]!r}.{meant} Assets: {', '.join(known)}.")
    return with_upstream(graph, [known[name] for name in selected]) if selected else list(known.values())


def _run_domains(
    console: Console,
    instance: dg.DagsterInstance,
    project: Project,
    work: list[DomainRun],
    wanted: Sequence[dg.AssetKey],
    *,
    force: bool,
    command: str,
) -> None:
    """Run the domains' processes, at most `max_concurrent_runs` at a time, and show what they do."""
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        try:
            while not all(item.has_ended for item in work):
                running = sum(item.process is not None and not item.has_ended for item in work)
                waiting = [item for item in work if item.process is None]
                for item in waiting[: project.max_concurrent_runs - running]:
                    _start_worker(item, worker_command(item.domain, wanted, force=force, command=command))
                time.sleep(POLL_S)
                for item in work:
                    _poll_events(instance, project, item, command, console)
                busy = [item for item in work if item.process and not item.has_ended]
                live.update(Group(*[_progress_line(item, console.width) for item in busy]))
                for item in busy if not console.is_terminal else ():
                    print_progress(item, console)
        except KeyboardInterrupt:
            for item in work:
                if item.process and not item.has_ended:
                    item.process.wait()  # the terminal interrupts the children too; they close their runs
            raise
    for item in work:
        _poll_events(instance, project, item, command, console)
        if item.process and item.process.returncode == BUSY:
            item.error = "another command is working on this domain; wait until it ends"
        if item.failed and not item.error:
            item.error = f"its process exited with code {item.process.poll() if item.process else '?'}; see {item.log}"
        if item.waits:
            console.print(f"{item.domain}: waiting: {item.error}", style="cyan")
        if item.failed:
            console.print(f"{item.domain}: failed: {item.error}", style="red")


def _start_worker(item: DomainRun, command: list[str]) -> None:
    item.log.parent.mkdir(parents=True, exist_ok=True)
    with item.log.open("wb") as log:
        item.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **WORKER_VARIABLES})
    item.started = time.monotonic()


def _poll_events(
    instance: dg.DagsterInstance, project: Project, item: DomainRun, command: str, console: Console
) -> None:
    """Read the new events in the event log of the domain's runs."""
    if item.process is None:
        return
    for run in instance.get_runs(filters=dg.RunsFilter(tags={COMMAND_TAG: command, PARTITION_TAG: item.domain})):
        connection = instance.get_records_for_run(run.run_id, cursor=item.cursors.get(run.run_id))
        item.cursors[run.run_id] = connection.cursor
        for record in connection.records:
            _handle_event(item, record.event_log_entry, console)
        if not run.is_finished:
            item.progress = read_progress(project, run.run_id)


def _handle_event(item: DomainRun, entry: dg.EventLogEntry, console: Console) -> None:
    event = entry.dagster_event
    if event is None:
        return
    if event.is_step_start:
        item.asset, item.asset_started, item.progress = event.step_key or "", entry.timestamp, ""
        item.told = time.monotonic()  # one that ends soon has a line of its own then
    elif event.is_asset_observation and (waits := event.asset_observation_data.asset_observation.metadata.get(WAITING)):
        item.error = f"{event.step_key}: {waits.value}"
    elif event.is_step_materialization and event.asset_key:
        item.finished += 1
        rows = event.step_materialization_data.materialization.metadata.get("dagster/row_count")
        count = f"{rows.value:,} rows" if rows is not None and rows.value is not None else ""
        took, elapsed = entry.timestamp - item.asset_started, time.monotonic() - item.started
        console.print(
            f"{item.domain}: {event.asset_key.to_user_string():<18}{count:>14}  took {took:6.1f} s, "
            f"{elapsed:.0f} s in all"
        )
    elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        check = event.asset_check_evaluation_data
        if not check.passed and not (check.description or "").startswith(NOT_EVALUATED):
            figures = ", ".join(f"{name}: {value.value}" for name, value in check.metadata.items())
            verb = "warns" if check.severity is dg.AssetCheckSeverity.WARN else "failed"
            console.print(
                f"{item.domain}: check {check.check_name} {verb}: {check.description or figures}", style="yellow"
            )
    elif event.is_step_failure and event.step_failure_data.error:
        item.error = f"{event.step_key}: {failure_message(event.step_failure_data.error)}"


def print_progress(item: DomainRun, console: Console) -> None:
    """Print how far a running asset is, where it was not told for a while."""
    now = time.monotonic()
    if item.progress and now - item.told >= PROGRESS_LINE_S:
        item.told = now
        console.print(f"{item.domain}: {item.asset}: {item.progress}", markup=False, soft_wrap=True)


def _progress_line(item: DomainRun, width: int) -> RenderableType:
    elapsed = format_duration(time.monotonic() - item.started)
    return Text(
        fit_progress(
            item.domain, f"{item.finished} of {item.due_assets} assets, {elapsed}", item.asset, item.progress, width
        ),
        style="cyan",
        overflow="ellipsis",
        no_wrap=True,
    )


def fit_progress(domain: str, done: str, asset: str, progress: str, width: int) -> str:
    """Return a line about a running domain that fits into `width` columns and keeps rate and time left.

    What is left out first: what is in brackets, what was done before, the end of the domain's name, and all of it but
    the progress.
    """
    short = re.sub(r" \([^)]*\)", "", progress)
    for what in (f"{done}  {asset}  {progress}", f"{done}  {asset}  {short}", f"{asset}  {short}"):
        line = f"{domain}: {what}".rstrip()
        if cell_len(line) <= width:
            return line
    room = width - cell_len(f"…: {asset}  {short}")
    return f"{set_cell_size(domain, room)}…: {asset}  {short}" if room > 0 else short


def _print_verdicts(console: Console, project: Project, names: Sequence[str]) -> None:
    results, lake = ResultsStore.of(project), Lake.of(project)
    verdicts = results.verdicts()
    for name in names:
        if name in verdicts:
            compared = results.comparison(name)
            sentences = [verdicts[name]["sentence"], *([compared["sentence"]] if compared else [])]
            console.print(
                f"\n{name}: {' '.join(sentences)}\n  report: {lake.path(REPORT, name, '.html')}", markup=False
            )
            if verdicts[name]["decision"] == "cannot tell":
                console.print(f"  what a verdict still needs: raft questions check {shlex.quote(name)}")

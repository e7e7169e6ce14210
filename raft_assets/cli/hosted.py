"""What commands do with a hosted platform: `raft run` submits a backfill and follows it, others ask for its states."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import click
import dagster as dg
from rich.console import Console

from raft_assets.cli.project import spell_domains
from raft_assets.cli.worker import FAILED, WAITS
from raft_assets.core.near_misses import did_you_mean
from raft_assets.defs.staleness import AssetState, State, tell_unsettled
from raft_assets.operations.platform import (
    BROKEN_BACKFILLS,
    ENDED_BACKFILLS,
    FAILED_RUNS,
    OPEN_RUNS,
    Platform,
    PlatformAsset,
    PlatformRun,
    RunEvent,
    UnreachableError,
    due_domains,
    with_parents,
)
from raft_assets.operations.process import BUDGET_TAG
from raft_assets.settings.hosted import HostedPlatform
from raft_assets.student.approval import APPROVAL_TAG, APPROVE_FINE_TUNING

POLL_S = 3.0  # each look is three queries, and one for each run that goes on
MAX_LOST_LOOKS = 40  # in a row: two minutes in which a webserver may be replaced
INTERRUPTED = 130
MAX_LISTED = 50
STATES: Mapping[str, State] = {"FRESH": "fresh", "STALE": "stale", "MISSING": "missing"}
STYLES = {"failed": "red", "waits": "cyan"}


@contextmanager
def open_platform(hosted: HostedPlatform) -> Iterator[Platform]:
    """Open the platform; raises PlatformError where it can't be used from here."""
    with closing(Platform(hosted)) as platform:
        platform.check()
        yield platform


def submit_domains(
    hosted: HostedPlatform,
    domains: Sequence[str],
    *,
    everything: bool,
    selected: Sequence[str],
    force: bool,
    approved: bool,
    budget: float | None,
) -> None:
    """Submit a backfill of what is stale or missing, follow it, and end the process: 0 done, 1 failed, 3 waiting.

    The queue, the pools and the budgets of the platform hold. `budget` (US dollars) can only lower its own.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    with open_platform(hosted) as platform:
        assets = platform.assets()
        wanted = with_parents(assets, _known_assets(assets, selected)) if selected else list(assets)
        names = select_hosted_domains(platform, assets, domains, everything=everything)
        running = open_runs(platform)
        busy, free = ([name for name in names if (name in running) == is_busy] for is_busy in (True, False))
        for name in busy:
            console.print(f"{name}: {running[name][0]}; wait until it ends", style="red")
        due = due_domains(assets, wanted, platform.states(wanted, free) if free else {}, force=force)
        for name in free:
            if not any(name in of_asset for of_asset in due.values()):
                console.print(f"{name}: everything is fresh")
        ended = 0
        if due:
            tags = {BUDGET_TAG: str(budget)} if budget is not None else {}
            tags |= {APPROVAL_TAG: APPROVE_FINE_TUNING} if approved else {}
            backfill = platform.launch(due, tags=tags, title="raft run")
            console.print(f"submitted as backfill {backfill}: {platform.link(backfill)}")
            ended = _follow(console, platform, backfill)
    raise SystemExit(FAILED if busy else ended)


def select_hosted_domains(
    platform: Platform, assets: Mapping[str, PlatformAsset], named: Sequence[str], *, everything: bool
) -> list[str]:
    """Return the domains that a command means. Raises UsageError if none or an unknown one is named."""
    known = platform.domains(next(iter(assets)))
    if everything:
        return known
    if not named:
        raise click.UsageError(f"Name a domain or pass --all. Domains of {platform.address}: {_listed(known)}.")
    wanted = spell_domains(named)
    if unknown := [name for name in wanted if name not in known]:
        raise click.UsageError(
            f"{platform.address} knows no domain {unknown[0]!r}.{did_you_mean(unknown[0], known)} Domains there: "
            f"{_listed(known)}. One is registered half a minute after its documents lie in the platform's RAFT_DATA."
        )
    return wanted


def hosted_states(
    platform: Platform, assets: Mapping[str, PlatformAsset], domains: Sequence[str]
) -> dict[str, dict[dg.AssetKey, AssetState]]:
    """Return the states of all assets by domain, as `asset_states` does for a project of this machine."""
    found: dict[str, dict[dg.AssetKey, AssetState]] = {}
    for domain, told in platform.states(list(assets), domains).items():
        is_settled = all(state.status == "FRESH" for state in told.values())
        last = _LastRuns(platform, [] if is_settled else platform.runs_of_domain(domain))
        of_domain = found[domain] = {}
        for name, state in told.items():
            key = dg.AssetKey.from_user_string(name)
            attempt = None if state.status == "FRESH" else last.attempt(key)
            of_domain[key] = attempt or AssetState(key, STATES[state.status], state.causes)
        tell_unsettled(of_domain, {key: _keys(assets[key.to_user_string()].parents) for key in of_domain})
    return found


class _LastRuns:
    """What the last runs of a domain say of assets that they didn't make."""

    def __init__(self, platform: Platform, runs: Sequence[PlatformRun]) -> None:
        self._platform, self._runs = platform, runs
        self._events: dict[str, list[RunEvent]] = {}

    def attempt(self, key: dg.AssetKey) -> AssetState | None:
        """Return that an asset waits, or why it failed; None where its last run ended otherwise."""
        name = key.to_user_string()
        run = next((run for run in self._runs if run.is_about(name)), None)
        if run is None or (name not in run.waiting and run.status != "FAILURE"):
            return None
        kind: State = "waiting" if name in run.waiting else "failed"
        if run.run_id not in self._events:
            self._events[run.run_id] = self._platform.events(run.run_id)[0]
        said = {"waiting": "waits", "failed": "failed"}[kind]
        own = tuple(one.text for one in self._events[run.run_id] if (one.kind, one.name) == (said, name))
        return AssetState(key, kind, own) if own else None


def open_runs(platform: Platform) -> dict[str, list[str]]:
    """Return, by domain, a line for each run that is queued or running on the platform."""
    found: dict[str, list[str]] = {}
    for run in platform.open_runs():
        line = f"run {run.run_id[:8]} is {run.status.lower()}: {platform.run_link(run.run_id)}"
        found.setdefault(run.domain, []).append(line)
    return found


def _keys(names: Iterable[str]) -> list[dg.AssetKey]:
    return [dg.AssetKey.from_user_string(name) for name in sorted(names)]


def _known_assets(assets: Mapping[str, PlatformAsset], selected: Sequence[str]) -> Sequence[str]:
    if unknown := [name for name in selected if name not in assets]:
        meant = did_you_mean(unknown[0], assets)
        raise click.UsageError(f"There is no asset {unknown[0]!r}.{meant} Assets: {', '.join(assets)}.")
    return selected


def _listed(names: Sequence[str]) -> str:
    return (
        ", ".join(names[:MAX_LISTED]) + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")
        or "none"
    )


def _follow(console: Console, platform: Platform, backfill: str) -> int:
    """Print what the runs of a backfill do until it has ended, and return the exit code."""
    follower, lost = _Follower(console, platform, backfill), 0
    try:
        while True:
            try:
                ended = follower.look()
                lost = 0
            except UnreachableError:
                lost += 1
                if lost > MAX_LOST_LOOKS:
                    raise
            else:
                if ended is not None:
                    return ended
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        click.echo(f"The backfill goes on at {platform.link(backfill)}, where it can be cancelled.", err=True)
        raise SystemExit(INTERRUPTED) from None


class _Follower:
    """Looks at a backfill again and again, and prints what is new."""

    def __init__(self, console: Console, platform: Platform, backfill: str) -> None:
        self._console, self._platform, self._backfill = console, platform, backfill
        self._told: dict[str, str] = {}
        self._cursors: dict[str, str | None] = {}

    def look(self) -> int | None:
        """Print what has happened since the last look; return the exit code once the backfill has ended."""
        status, wrong = self._platform.backfill_status(self._backfill)
        runs = self._platform.runs_of_backfill(self._backfill)
        for run in reversed(runs):
            self._tell(run)
        if status not in ENDED_BACKFILLS:
            return None
        if status in BROKEN_BACKFILLS:
            self._console.print(
                f"backfill {self._backfill} is {status.lower()}: {wrong or 'see its page'}", style="red"
            )
            return FAILED
        retried = {run.retries for run in runs}
        if any(run.status in FAILED_RUNS and run.run_id not in retried for run in runs):
            return FAILED
        last = {run.domain: run for run in reversed(runs)}  # one that resumes another is newer
        return WAITS if any(run.waiting for run in last.values()) else 0

    def _tell(self, run: PlatformRun) -> None:
        before = self._told.get(run.run_id)
        if before == run.status and run.status not in OPEN_RUNS:
            return  # all that it said has been read
        if run.status not in ("NOT_STARTED", "QUEUED", "STARTING"):
            events, self._cursors[run.run_id] = self._platform.events(run.run_id, self._cursors.get(run.run_id))
            for event in events:
                self._print(run.domain, event)
        if before != run.status:
            self._console.print(f"{run.domain}: run {run.run_id[:8]} is {run.status.lower()}")
        self._told[run.run_id] = run.status

    def _print(self, domain: str, event: RunEvent) -> None:
        lines = {
            "made": f"{domain}: {event.name:<18}{event.text:>14}",
            "waits": f"{domain}: waiting: {event.name}: {event.text}",
            "failed": f"{domain}: failed: {event.name}: {event.text}",
        }
        if event.kind in lines:
            self._console.print(lines[event.kind], style=STYLES.get(event.kind))

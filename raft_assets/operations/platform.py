"""A hosted platform as its webserver's GraphQL tells it: domains, states of assets, backfills and their runs.

The queue, the pools and the budget are the platform's; here is only what a laptop says and asks. Source of the queries:
https://docs.dagster.io/api/graphql, and the schema at `/graphql` of a webserver.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import httpx2

from raft_assets.core.errors import EndpointError
from raft_assets.core.terminal import strip_control_characters
from raft_assets.llm.azure_sign_in import AzureCredential
from raft_assets.operations.process import BACKFILL_TAG, PARTITION_TAG, RESUMED_BACKFILL_TAG, waiting_assets
from raft_assets.settings.hosted import CLIENT_VARIABLE, PACKAGE, TOKEN_VARIABLE, VARIABLE, HostedPlatform

TIMEOUT_S = 60.0  # the states of 30 domains take the webserver a few seconds
DOMAINS_AT_ONCE = 30  # in a query for states
SHOWN_RUNS = 20  # of a domain, newest first, among which the last one of an asset is looked for
ENDED_BACKFILLS = frozenset(("COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"))
BROKEN_BACKFILLS = frozenset(("FAILED", "CANCELED"))
RETRIES_TAG = "dagster/parent_run_id"  # of a run: the one that Dagster retries by it
OPEN_RUNS = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
FAILED_RUNS = frozenset(("FAILURE", "CANCELED"))
_ERROR = "... on PythonError { message }"
_LOCATIONS = f"""{{ workspaceOrError {{ __typename {_ERROR} ... on Workspace {{ locationEntries {{ name
  locationOrLoadError {{ __typename {_ERROR}
    ... on RepositoryLocation {{ dagsterLibraryVersions {{ name version }} }} }} }} }} }} }}"""
_ASSETS = "{ assetNodes { assetKey { path } dependencyKeys { path } isMaterializable isPartitioned } }"
_DOMAINS = """query($keys: [AssetKeyInput!]!) { assetNodes(assetKeys: $keys) {
  partitionKeysByDimension { partitionKeys } } }"""
_STATES = """query($keys: [AssetKeyInput!]!, $domains: [String!]!) { assetNodes(assetKeys: $keys) { assetKey { path }
  staleStatusByPartition(partitions: $domains)
  staleCausesByPartition(partitions: $domains) { key { path } category reason dependency { path } } } }"""
_LAUNCH = f"""mutation($params: LaunchBackfillParams!) {{ launchPartitionBackfill(backfillParams: $params) {{ __typename
  ... on LaunchBackfillSuccess {{ backfillId }} {_ERROR} ... on UnauthorizedError {{ message }}
  ... on PartitionKeysNotFoundError {{ message }} ... on RunConfigValidationInvalid {{ pipelineName }} }} }}"""
_BACKFILL = f"""query($id: String!) {{ partitionBackfillOrError(backfillId: $id) {{ __typename {_ERROR}
  ... on BackfillNotFoundError {{ message }} ... on PartitionBackfill {{ status error {{ message }} }} }} }}"""
_RUNS = f"""query($filter: RunsFilter!, $limit: Int) {{ runsOrError(filter: $filter, limit: $limit) {{ __typename
  {_ERROR} ... on Runs {{ results {{ runId status tags {{ key value }} assetSelection {{ path }} }} }} }} }}"""
_EVENTS = f"""query($run: ID!, $after: String) {{ logsForRun(runId: $run, afterCursor: $after) {{ __typename {_ERROR}
  ... on EventConnection {{ cursor hasMore events {{ __typename
    ... on MaterializationEvent {{ assetKey {{ path }}
      metadataEntries {{ label ... on IntMetadataEntry {{ intRepr }} }} }}
    ... on ObservationEvent {{ assetKey {{ path }} metadataEntries {{ label ... on TextMetadataEntry {{ text }} }} }}
    ... on ExecutionStepFailureEvent {{ stepKey error {{ message className cause {{ message }} }} }} }} }} }} }}"""


class PlatformError(EndpointError):
    """The platform can't be reached, refuses, or is of another kind or version."""


class UnreachableError(PlatformError):
    """Nothing answers, or a proxy does in the platform's place, or it failed to answer; it may come back."""


@dataclass(frozen=True)
class PlatformAsset:
    """An asset of the platform that can be materialized, and those of the others that it reads."""

    name: str
    parents: frozenset[str]


@dataclass(frozen=True)
class PlatformState:
    """What the platform says of an asset in one domain: `status` is FRESH, STALE or MISSING."""

    status: str
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlatformRun:
    """A run of the platform; `assets` are None where it is of all of its job."""

    run_id: str
    status: str
    tags: Mapping[str, str]
    assets: frozenset[str] | None

    @property
    def domain(self) -> str:
        """The domain that it works on."""
        return self.tags.get(PARTITION_TAG, "")

    @property
    def retries(self) -> str | None:
        """The run that it does again."""
        return self.tags.get(RETRIES_TAG)

    @property
    def waiting(self) -> set[str]:
        """The assets whose results are still to come."""
        return waiting_assets(self.tags)

    def is_about(self, asset: str) -> bool:
        """Return whether the asset was among those to make."""
        return self.assets is None or asset in self.assets


@dataclass(frozen=True)
class RunEvent:
    """What a run says of an asset: that it is made, that it waits, or that its step failed; `text` says more of it."""

    kind: Literal["made", "waits", "failed"]
    name: str
    text: str = ""


class Platform:
    """The GraphQL of a webserver. Every method raises PlatformError with what to do."""

    def __init__(self, hosted: HostedPlatform) -> None:
        """Open nothing yet; raises EndpointError where the sign-in needs a package that is not installed."""
        self.address = hosted.address
        self._hosted = hosted
        self._credential = (
            AzureCredential(f"{self.address} is behind Entra ID", f"set {TOKEN_VARIABLE}") if hosted.scope else None
        )
        is_plain = hosted.address.startswith("http://")  # on this machine, where no proxy stands between
        self._client = httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=not is_plain)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def link(self, backfill: str) -> str:
        """Return the address of a backfill's page."""
        return f"{self.address}/runs/b/{backfill}"

    def run_link(self, run_id: str) -> str:
        """Return the address of a run's page."""
        return f"{self.address}/runs/{run_id}"

    def check(self) -> None:
        """Raise PlatformError unless the platform's code location is loaded and of this version."""
        entries = _found(self._ask(_LOCATIONS)["workspaceOrError"], "Workspace")["locationEntries"]
        own, unloaded = version(PACKAGE), list[str]()
        for entry in entries:
            location = entry["locationOrLoadError"] or {}
            if location.get("__typename") == "PythonError":
                unloaded.append(f"{entry['name']}: {_first_line(location['message'])}")
            versions = {one["name"]: one["version"] for one in location.get("dagsterLibraryVersions") or ()}
            if theirs := versions.get(PACKAGE):
                if theirs != own:
                    raise PlatformError(
                        f"The platform at {self.address} runs {PACKAGE} {theirs}, and this is {own}: install the same "
                        f"version (pip install {PACKAGE}=={theirs})."
                    )
                return
        if unloaded:
            raise PlatformError(f"The platform at {self.address} can't load its code ({'; '.join(unloaded)}).")
        raise PlatformError(
            f"No code location of the webserver at {self.address} is one of {PACKAGE} {own}: check {VARIABLE}, or wait "
            "until its code server has started."
        )

    def assets(self) -> dict[str, PlatformAsset]:
        """Return the assets that can be materialized per domain, upstream first."""
        nodes = {_name(node["assetKey"]): node for node in self._ask(_ASSETS)["assetNodes"]}
        made = {name for name, node in nodes.items() if node["isMaterializable"] and node["isPartitioned"]}
        parents = {
            name: frozenset(_name(key) for key in node["dependencyKeys"]) & made
            for name, node in nodes.items()
            if name in made
        }
        found = dict[str, PlatformAsset]()
        while len(found) < len(parents):
            ready = sorted(name for name in parents.keys() - found.keys() if parents[name] <= found.keys())
            if not ready:
                raise PlatformError(f"The assets of {self.address} form a circle, which {PACKAGE} doesn't know.")
            found |= {name: PlatformAsset(name, parents[name]) for name in ready}
        return found

    def domains(self, asset: str) -> list[str]:
        """Return the domains that are registered, by the partitions of one asset."""
        (node,) = self._ask(_DOMAINS, keys=[_key(asset)])["assetNodes"]
        return [name for dimension in node["partitionKeysByDimension"] for name in dimension["partitionKeys"]]

    def states(self, assets: Sequence[str], domains: Sequence[str]) -> dict[str, dict[str, PlatformState]]:
        """Return, by domain and asset, what the platform's own resolver of staleness says."""
        found: dict[str, dict[str, PlatformState]] = {domain: {} for domain in domains}
        for first in range(0, len(domains), DOMAINS_AT_ONCE):
            some = list(domains[first : first + DOMAINS_AT_ONCE])
            for node in self._ask(_STATES, keys=[_key(asset) for asset in assets], domains=some)["assetNodes"]:
                told = zip(some, node["staleStatusByPartition"], node["staleCausesByPartition"], strict=True)
                for domain, status, causes in told:
                    reasons = dict.fromkeys(_reason(cause) for cause in causes)
                    found[domain][_name(node["assetKey"])] = PlatformState(status, tuple(reasons))
        return found

    def launch(self, domains_of: Mapping[str, Sequence[str]], *, tags: Mapping[str, str], title: str) -> str:
        """Submit a backfill of assets, each in its domains, and return its id."""
        params = {
            "partitionsByAssets": [
                # a list of partitions is said as ranges, each of one
                {"assetKey": _key(asset), "partitions": {"ranges": [{"start": name, "end": name} for name in domains]}}
                for asset, domains in domains_of.items()
            ],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
            "title": title,
        }
        answer = self._ask(_LAUNCH, params=params)["launchPartitionBackfill"]
        if answer["__typename"] == "UnauthorizedError":
            raise PlatformError(
                f"The platform at {self.address} lets you look and not start runs: use the address of those who may."
            )
        return str(_found(answer, "LaunchBackfillSuccess")["backfillId"])

    def backfill_status(self, backfill: str) -> tuple[str, str]:
        """Return the state of a backfill, and what is wrong with it or an empty text."""
        answer = _found(self._ask(_BACKFILL, id=backfill)["partitionBackfillOrError"], "PartitionBackfill")
        return str(answer["status"]), _first_line((answer["error"] or {}).get("message", ""))

    def runs_of_backfill(self, backfill: str) -> list[PlatformRun]:
        """Return the runs of a backfill, newest first; those that go on with another one are before it."""
        return [
            run
            for tag in (RESUMED_BACKFILL_TAG, BACKFILL_TAG)
            for run in self._runs({"tags": [{"key": tag, "value": backfill}]}, limit=None)
        ]

    def runs_of_domain(self, domain: str) -> list[PlatformRun]:
        """Return the last runs of a domain, newest first."""
        return self._runs({"tags": [{"key": PARTITION_TAG, "value": domain}]}, limit=SHOWN_RUNS)

    def open_runs(self) -> list[PlatformRun]:
        """Return all runs that are queued or running."""
        return self._runs({"statuses": list(OPEN_RUNS)}, limit=None)

    def events(self, run_id: str, after: str | None = None) -> tuple[list[RunEvent], str | None]:
        """Return what a run has said since `after`, and the cursor for what it says next."""
        found = list[RunEvent]()
        while True:
            answer = _found(self._ask(_EVENTS, run=run_id, after=after)["logsForRun"], "EventConnection")
            found += [event for one in answer["events"] if (event := _event(one))]
            after = answer["cursor"]
            if not answer["hasMore"]:
                return found, after

    def _runs(self, wanted: Mapping[str, Any], limit: int | None) -> list[PlatformRun]:
        answer = _found(self._ask(_RUNS, filter=wanted, limit=limit)["runsOrError"], "Runs")
        return [
            PlatformRun(
                run_id=run["runId"],
                status=run["status"],
                tags={tag["key"]: tag["value"] for tag in run["tags"]},
                assets=frozenset(map(_name, run["assetSelection"])) if run["assetSelection"] else None,
            )
            for run in answer["results"]
        ]

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Return the data that answers a query or mutation."""
        try:
            answer = self._client.post(
                f"{self.address}/graphql", json={"query": query, "variables": variables}, headers=self._headers()
            )
        except httpx2.HTTPError as error:
            reason = "no answer in time" if isinstance(error, httpx2.TimeoutException) else str(error)
            raise UnreachableError(
                f"The platform at {self.address} can't be reached ({reason}): check {VARIABLE} and that it runs."
            ) from None
        if answer.is_redirect or answer.status_code in (401, 403):
            raise PlatformError(f"The platform at {self.address} refuses ({answer.status_code}): {self._remedy()}.")
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict) or not content.keys() & {"data", "errors"}:
            kind = UnreachableError if answer.status_code >= 500 else PlatformError
            raise kind(
                f"What answers at {self.address} ({answer.status_code}) is no Dagster webserver: check {VARIABLE}."
            )
        if errors := content.get("errors"):
            if errors[0].get("path"):  # it was understood, and failed on the way, as with a busy database
                raise UnreachableError(
                    f"The platform at {self.address} failed: {_first_line(errors[0].get('message', ''))}"
                )
            raise PlatformError(
                f"The platform at {self.address} doesn't understand {PACKAGE} {version(PACKAGE)} "
                f"({_first_line(errors[0].get('message', ''))}): install the version that it runs."
            )
        return dict(content["data"])

    def _headers(self) -> dict[str, str]:
        token = self._hosted.token.get_secret_value() if self._hosted.token else None
        if self._credential and self._hosted.scope:
            token = self._credential.get_token(self._hosted.scope).token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _remedy(self) -> str:
        if self._hosted.token:
            return f"renew {TOKEN_VARIABLE}, or ask for access"
        if self._credential:
            return "run `az login` as somebody of the group that may use it, or ask for access"
        return f"set {CLIENT_VARIABLE} to sign in with Entra ID, or {TOKEN_VARIABLE} to the token of its proxy"


def due_domains(
    assets: Mapping[str, PlatformAsset],
    wanted: Sequence[str],
    states: Mapping[str, Mapping[str, PlatformState]],
    *,
    force: bool,
) -> dict[str, list[str]]:
    """Return, by asset, the domains in which it is to be made: where it is not fresh, and behind what is made.

    Nobody is there to look again after each wave, as `raft run` does on one machine; what turns out equal costs no
    call.
    """
    due: dict[str, list[str]] = {}
    for domain, of_domain in states.items():
        made = set[str]()
        for name in wanted:
            if force or of_domain[name].status != "FRESH" or assets[name].parents & made:
                made.add(name)
                due.setdefault(name, []).append(domain)
    return due


def with_parents(assets: Mapping[str, PlatformAsset], selected: Sequence[str]) -> list[str]:
    """Return the selected assets and all that they need, upstream first."""
    needed, queue = set(selected), list(selected)
    while queue:
        for parent in assets[queue.pop()].parents - needed:
            needed.add(parent)
            queue.append(parent)
    return [name for name in assets if name in needed]


def _event(event: Mapping[str, Any]) -> RunEvent | None:
    kind = event["__typename"]
    if kind == "MaterializationEvent":
        rows = next((one.get("intRepr") for one in _entries(event) if one["label"] == "dagster/row_count"), None)
        return RunEvent("made", _name(event["assetKey"]), f"{int(rows):,} rows" if rows else "")
    if kind == "ObservationEvent":
        text = next((one.get("text") for one in _entries(event) if one["label"] == "waiting"), None)
        return RunEvent("waits", _name(event["assetKey"]), strip_control_characters(text)) if text else None
    if kind == "ExecutionStepFailureEvent":
        error = event["error"] or {}
        raised = (
            (error.get("cause") or error) if error.get("className") == "DagsterExecutionStepExecutionError" else error
        )
        message = str(raised.get("message", "")).strip()
        text = strip_control_characters(message.partition(": ")[2] or message)
        return RunEvent("failed", event["stepKey"], text)
    return None


def _entries(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return iter(event["metadataEntries"])


def _reason(cause: Mapping[str, Any]) -> str:
    if cause["category"] == "CODE":
        return "its code changed"
    if not cause["dependency"]:
        return str(cause["reason"])
    happened = "changed" if cause["category"] == "DATA" else "is a new or removed input"
    return f"{_name(cause['dependency'])} {happened}"


def _found(answer: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return an answer of that type; raises PlatformError with the message of any other."""
    if answer["__typename"] == kind:
        return answer
    raise PlatformError(f"The platform refuses: {_first_line(answer.get('message') or answer['__typename'])}")


def _first_line(text: object) -> str:
    return strip_control_characters(next(iter(str(text).strip().splitlines()), ""))[:300]


def _name(key: Mapping[str, Any]) -> str:
    return "/".join(key["path"])


def _key(name: str) -> dict[str, list[str]]:
    return {"path": name.split("/")}

"""What `raft costs`, `raft calls` and `raft batches` do: the costs of paid calls, and the call store."""

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raft_assets.cli.confirming import confirm
from raft_assets.cli.output import iso_time, print_json, table_console
from raft_assets.cli.project import load_existing_project, select_domains
from raft_assets.core.csv_cells import neutralize
from raft_assets.core.errors import DataError
from raft_assets.core.identity import normalize
from raft_assets.core.near_misses import did_you_mean
from raft_assets.core.terminal import escape_control_characters
from raft_assets.llm.batches import read_batch_records
from raft_assets.llm.keys import TRAINING_KIND
from raft_assets.llm.ledger import Grouping, LedgerRow, LedgerTotal, is_unusable, ledger, total_by
from raft_assets.llm.prices import PriceList
from raft_assets.llm.store import StoredCall
from raft_assets.operations import asking, questions
from raft_assets.operations.batches import collect_batches
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import records_of
from raft_assets.operations.rebuilt_requests import rebuild_request
from raft_assets.settings.endpoints import Role
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.results import ResultsStore

MAX_SHOWN_CHARACTERS = 60  # of a call in a list
ASKED_BY_PEOPLE = (asking.ASSET, questions.ASSET)


def print_costs(domains: Sequence[str], *, by: Grouping, since: datetime | None, as_csv: bool, as_json: bool) -> None:
    """Print what was paid, summed by a column of the ledger, and store the ledger in the results store."""
    project = load_existing_project()
    names = select_domains(project, domains, everything=False) if domains else []
    with open_call_store(project) as store:
        rows = list(ledger(store, PriceList(project.folder, project.endpoints.values())))
    ResultsStore.of(project).replace_ledger(rows)
    start = since.replace(tzinfo=UTC) if since else None
    chosen = [row for row in rows if (not names or row.domain in names) and (start is None or row.created >= start)]
    sums = total_by(chosen, by)
    if as_json or as_csv:
        _print_rows(sums, as_csv=as_csv)
        return
    console = table_console()
    console.print(_table(sums, by))
    if estimated := sum(total.usage.estimated for total in sums):
        console.print(f"~ Calls whose tokens were counted here, because their service told none: {estimated:,}")
    _print_unpriced(console, chosen)


def _table(sums: Sequence[LedgerTotal], by: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(by)
    for column in ("calls", "input", "cached", "output", "US$"):
        table.add_column(column, justify="right")
    for total in [*sums, *([_total(sums)] if len(sums) > 1 else [])]:
        usage, mark = total.usage, "~" if total.usage.estimated else ""
        table.add_row(
            Text(total.name),
            f"{total.calls:,}",
            *(f"{mark}{count:,}" for count in (usage.input_tokens, usage.cached_tokens, usage.output_tokens)),
            mark + format_dollars(total.dollars, total.unpriced),
        )
    return table


def format_dollars(dollars: float, unpriced: int) -> str:
    """Format an amount, with a mark where some calls have no known price."""
    return f"{dollars:,.4f}" + ("" if not unpriced else " + ?")


def _total(sums: Sequence[LedgerTotal]) -> LedgerTotal:
    return sum(sums[1:], replace(sums[0], name="all"))


def _print_unpriced(console: Console, rows: Iterable[LedgerRow]) -> None:
    for service, model in sorted({(row.service, row.model) for row in rows if row.dollars is None}):
        console.print(
            Text(
                f"The price of {model} at {service} is unknown: add it to {PRICES_FILE} of the project, such as\n"
                f'- {{model: "{model}", service: "{service}", input: 0.15, output: 0.60, source: "our contract", '
                f"date: {datetime.now(UTC).date()}}}",
                style="yellow",
            )
        )


def _print_rows(sums: Sequence[LedgerTotal], *, as_csv: bool) -> None:
    rows = [
        {
            "name": total.name,
            "calls": total.calls,
            **asdict(total.usage),
            "dollars": total.dollars,
            "unpriced": total.unpriced,
        }
        for total in sums
    ]
    if not as_csv:
        for row in rows:
            print_json(row)
        return
    writer = csv.DictWriter(sys.stdout, rows[0] if rows else ["name"])
    writer.writeheader()
    writer.writerows({name: neutralize(value) for name, value in row.items()} for row in rows)


def print_calls(*, domain: str | None, role: str | None, rejected: bool, count: int, as_json: bool) -> None:
    """Print the newest stored calls, at most `count`, the newest last.

    Raises UsageError for a role that there isn't, and for a domain that neither is there nor has a call.
    """
    project = load_existing_project()
    roles = [one.value for one in Role]
    if role is not None and role.upper() not in roles:
        raise click.UsageError(f"There is no role {role!r}.{did_you_mean(role, roles)} Roles: {', '.join(roles)}.")
    with open_call_store(project) as store:
        if domain is not None:
            domain = normalize(domain)
        of_domain = [call for call in store.calls() if domain is None or call.origin.domain == domain]
    if domain is not None and not of_domain:
        select_domains(project, [domain], everything=False)  # raises for a domain that isn't there either
    chosen = [
        call
        for call in of_domain
        if (role is None or call.role == role.upper()) and (not rejected or is_unusable(call))
    ][-count:]
    if as_json:
        for call in chosen:
            print_json(_to_record(call))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("key", "when", "role", "model", "status", "asset", "answer"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for call in chosen:
        when = datetime.fromtimestamp(call.created, UTC).strftime("%Y-%m-%d %H:%M")
        cells = (call.key[:12], when, call.role, call.model, call.status, call.origin.asset, _abbreviate_answer(call))
        table.add_row(*map(Text, cells))
    table_console().print(table)


def _to_record(call: StoredCall) -> dict[str, Any]:
    """Return a stored call for scripts, without its answer: `raft calls show KEY` has it."""
    # its documents aren't read with it: the store has them by call and domain
    left_out = {"payload", "usage", "origin", "documents"}
    about = {name: value for name, value in vars(call).items() if name not in left_out}
    return about | vars(call.usage) | vars(call.origin)


def print_call(key: str) -> None:
    """Print the stored call whose key begins with `key`, with its request where that can be made again.

    Raises DataError where there are none or several.
    """
    project = load_existing_project()
    with open_call_store(project) as store:
        matches = [call for call in store.calls() if call.key.startswith(key)]
        if len(matches) != 1:
            raise DataError(f"{len(matches)} stored calls have a key that begins with {key}: see `raft calls list`.")
        (call,) = matches
        asked_for = sorted((one.domain, one.document) for one in store.sources() if one.key == call.key)
    documents = [{"domain": domain, "document": document} for domain, document in asked_for]
    answer = json.loads(call.payload) if call.kind != "embedding" else f"a vector of {len(call.payload) // 4} numbers"
    request = rebuild_request(project, call)
    told = {"request": request} if request else {"request": None, "request_detail": _why_no_request(call)}
    record = _to_record(call) | {"asked_for": documents} | told | {"answer": answer}
    click.echo(escape_control_characters(json.dumps(record, ensure_ascii=False, indent=2)))


def _why_no_request(call: StoredCall) -> str:
    if call.kind == TRAINING_KIND:
        return "A fine-tuning job: `raft jobs` lists them, and finetuned_model names its training files by hash."
    if call.origin.asset in ASKED_BY_PEOPLE:
        return f"Asked by `raft {call.origin.asset}`: the store keeps answers, and nothing else keeps what was asked."
    if call.status == "failed":
        return "The call brought nothing that could be used, and no request finds it."
    return "The documents, the settings or the model have changed since: its request can't be made again from the lake."


def print_size_of_calls(*, as_json: bool) -> None:
    """Print the number and size of stored calls."""
    project = load_existing_project()
    with open_call_store(project) as store:
        stats = store.stats()
    if as_json:
        print_json({"calls": stats.calls, "bytes": stats.size, "file": str(project.calls)})
        return
    click.echo(f"{stats.calls:,} calls, {stats.size / 1e6:,.1f} MB in {project.calls}")


def delete_calls(*, days: int | None, model: str | None, rejected: bool, confirmed: bool) -> None:
    """Delete the stored calls that meet every given condition: older than `days`, of the model, unusable."""
    before = (datetime.now(UTC) - timedelta(days=days)).timestamp() if days is not None else float("inf")

    def is_chosen(call: StoredCall) -> bool:
        return call.created < before and model in (None, call.model) and (not rejected or is_unusable(call))

    with open_call_store(load_existing_project()) as store:
        count = sum(map(is_chosen, store.calls()))
        if not confirmed:
            confirm(f"Delete {count:,} calls? Calls that are needed again will be paid for again.")
        click.echo(f"{store.forget(is_chosen):,} calls deleted")


def _abbreviate_answer(call: StoredCall) -> str:
    text = f"vector of {len(call.payload) // 4}" if call.kind == "embedding" else _answer_text(call)
    text = " ".join(text.split())
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 1] + "…"


def _answer_text(call: StoredCall) -> str:
    from raft_assets.llm.answers import MalformedResponseError, read_answer

    payload = json.loads(call.payload)
    try:
        reading = read_answer(payload)
    except MalformedResponseError:  # a fine-tuning job, or a call that failed
        return json.dumps(payload, ensure_ascii=False)
    return reading.text or reading.detail


def print_batches(*, collect: bool, as_json: bool) -> None:
    """Print the batches of calls, oldest first, after collecting the finished ones where `collect` is set."""
    project = load_existing_project()
    if collect:
        collect_batches(ModelClients(project))
    records = read_batch_records(records_of(project))
    if as_json:
        for record in records:
            print_json(
                {
                    "batch": record.batch or None,
                    "status": record.status,
                    "submitted": iso_time(record.submitted),
                    "calls": len(record.keys),
                    "lost": len(record.lost),
                    "model": record.model,
                    "asset": record.asset,
                    "domain": record.domain,
                }
            )
        return
    if not records:
        click.echo("There are no batches.")
    for record in records:
        lost = f", {len(record.lost)} of them lost" if record.lost else ""
        since = datetime.fromtimestamp(record.submitted, UTC)
        name = record.batch or "not submitted yet"
        click.echo(
            f"{name}  {record.status:<12} {since:%Y-%m-%d %H:%M}  {len(record.keys):,} calls{lost} to {record.model} "
            f"for {record.asset} of {record.domain}"
        )

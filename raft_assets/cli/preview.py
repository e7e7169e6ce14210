"""What `raft preview` does: it prints finished rows of a domain. `operations.preview` makes them."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from raft_assets.cli.output import print_json
from raft_assets.cli.paid_calls import confirm_paid_calls, show_progress
from raft_assets.cli.project import activate_project, print_models, select_domains
from raft_assets.core.delimiters import escape_delimiters
from raft_assets.core.languages import name_of_code
from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE, parse_answer
from raft_assets.core.tables import Chunk, QAPair, RaftRow, SourceDocument
from raft_assets.core.terminal import strip_control_characters
from raft_assets.core.text_search import SearchableText
from raft_assets.llm.requests import Origin
from raft_assets.pairs.gates import REASONS
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake

if TYPE_CHECKING:
    from raft_assets.operations.preview import Preview
    from raft_assets.operations.sources import DomainSources

MAX_DISTRACTOR_CHARACTERS = 160  # of a distractor that are shown
MAX_REJECTED = 20
QUOTE_STYLE, LABEL_STYLE = "black on yellow", "bold cyan"


def print_preview(domain: str, *, count: int, confirmed: bool, as_json: bool) -> None:
    """Print the rows and rejected pairs of `count` chunks; paid calls need a confirmation.

    Raises UsageError where there is no terminal to ask for it. Ends the process with 1 where no row came.
    """
    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    settings = project.settings(name).values
    console = Console(stderr=as_json, highlight=False, markup=False, emoji=False)  # scripts read stdout
    print_models(console, project)
    # a second or two: only once the arguments are known to be right
    from raft_assets.documents.document_languages import count_languages
    from raft_assets.operations import preview as operation
    from raft_assets.operations.chunk_form import recorded_chunk_form
    from raft_assets.operations.languages import check_languages
    from raft_assets.operations.model_clients import ModelClients
    from raft_assets.operations.pair_form import tells_languages
    from raft_assets.operations.sources import chunk_documents, read_sources

    activate_project(project)
    models = ModelClients(project)
    sources = read_sources(project, name)
    for file in sources.quarantined:
        console.print(
            Text(
                f"quarantined: {strip_control_characters(file.path)}: {strip_control_characters(file.detail)}",
                style="yellow",
            )
        )
    languages = count_languages(sources.pages)
    console.print(f"languages: {', '.join(f'{name_of_code(code)} {count:,}' for code, count in languages.items())}")
    check_languages(project, name, languages, [Role.TEACHER])
    _print_losses(console, sources.pages)
    semantic = settings.chunks.boundaries == "semantic"
    if semantic:
        vectors = "EMBEDDING: a vector of every sentence, for semantic boundaries"
        confirm_paid_calls(console, [vectors] if operation.is_embedding_paid(models) else [], confirmed=confirmed)
    documents = sources.documents
    with show_progress() as progress_of:
        chunks = chunk_documents(
            models,
            settings.chunks,
            documents,
            form=recorded_chunk_form(Lake.of(project), name, settings.chunks),
            origin=Origin(domain=name),
            on_progress=progress_of("cutting the documents"),
            has_languages=tells_languages(models, Lake.of(project), name),
        )
    plan = operation.preview_plan(chunks, settings, count)
    confirm_paid_calls(console, operation.describe_paid_calls(models, settings, len(chunks), plan), confirmed=confirmed)
    console.print(
        f"{name}: {len(documents):,} documents, {len(chunks):,} chunks, {len(plan):,} of them are asked about"
    )
    with show_progress() as progress_of:
        shown = operation.preview_rows(models, name, settings, chunks, plan, progress_of=progress_of)
    if as_json:
        print_json(_to_record(name, sources, languages, shown) | {"chunks": len(chunks), "asked_about": len(plan)})
    for number, row in enumerate(() if as_json else shown.rows, start=1):
        _print_row(console, row, shown.chunks, f"row {number} of {len(shown.rows)}")
    if not as_json:
        _print_rejected(console, shown.rejected, shown.call_details)
    for reason, refused in Counter(shown.refused.values()).most_common():
        console.print(Text(f"without a vector: {_count_chunks(refused)}: {strip_control_characters(reason)}"))
    console.print()
    for role, tally in shown.usage_stats.items():
        console.print(
            f"{role.value:<10}{tally.calls:,} calls, {tally.from_store:,} answers from the store, "
            f"{tally.usage.input_tokens:,} tokens in, {tally.usage.output_tokens:,} out"
        )
    if not shown.rows:
        click.echo(f"No row came of {_count_chunks(len(plan))}{_describe_failures(shown.call_details)}.", err=True)
        sys.exit(1)


def _to_record(name: str, sources: "DomainSources", languages: Mapping[str, int], shown: "Preview") -> dict[str, Any]:
    """Return a preview for scripts; rows and pairs have the columns of the lake's tables."""
    return {
        "domain": name,
        "documents": len(sources.documents),
        "quarantined": [file.model_dump() for file in sources.quarantined],
        "languages": dict(languages),
        "rows": [row.model_dump() for row in shown.rows],
        "rejected": [pair.model_dump() for pair in shown.rejected],
        "chunks_without_vector": dict(shown.refused),
        "usage": {
            role.value: {
                "calls": stats.calls,
                "from_store": stats.from_store,
                "input_tokens": stats.usage.input_tokens,
                "output_tokens": stats.usage.output_tokens,
            }
            for role, stats in shown.usage_stats.items()
        },
    }


def _print_losses(console: Console, pages: Sequence[SourceDocument]) -> None:
    """Print the words that the documents leave out, by reason, and a warning for each unusual share."""
    from raft_assets.documents.readers.left_out import (
        describe_ocr,
        describe_reason,
        left_out_by_reason,
        reading_losses,
    )

    losses = list(reading_losses(pages))
    reasons = left_out_by_reason(losses)
    words = sum(loss.words for loss in losses) + reasons.total()
    parts = ", ".join(
        f"{describe_reason(reason)} {count:,} ({count / words:.1%})" for reason, count in reasons.most_common()
    )
    console.print(f"left out of {words:,} words: {parts or 'nothing'}")
    if ocr := describe_ocr(losses):
        console.print(ocr)
    for loss in losses:
        if loss.warning:
            console.print(Text(strip_control_characters(loss.warning), style="yellow"))


def _count_chunks(number: int) -> str:
    return "1 chunk" if number == 1 else f"{number:,} chunks"


def _describe_failures(call_details: Mapping[str, str]) -> str:
    """Return what most calls that gave no usable answer have in common, with what to do."""
    if not call_details:
        return ": every pair was rejected, for the reasons above"
    reasons = Counter(call_details.values())
    reason, count = reasons.most_common(1)[0]
    return f": {reasons.total():,} calls gave no usable answer, {count:,} of them because: {reason.rstrip('.')}"


def _print_row(console: Console, row: RaftRow, chunks: dict[str, Chunk], title: str) -> None:
    console.print()
    console.print(Rule(Text(strip_control_characters(f"{title}, {row.kind}, {row.path}")), align="left"))
    console.print(Text.assemble(("question  ", LABEL_STYLE), strip_control_characters(row.question)))
    quotes = parse_answer(row.answer).quotes
    for position, text in enumerate(row.documents):
        oracle = position == row.oracle_index
        console.print(Text(f"document {position + 1}{', oracle' if oracle else ''}", style=LABEL_STYLE))
        shown = (
            _highlight_quotes(text, quotes)
            if oracle
            else Text(strip_control_characters(_abbreviate(text)), style="dim")
        )
        console.print(Padding(shown, (0, 0, 0, 2)))
    if not row.has_oracle:
        console.print(
            Text(
                "the oracle document was left out (setting dataset.p): the row teaches the model to abstain",
                style="dim",
            )
        )
        console.print(
            Padding(
                Text(strip_control_characters(_abbreviate(chunks[row.chunk_id].passage)), style="dim"), (0, 0, 0, 2)
            )
        )
    console.print(Text("answer", style=LABEL_STYLE))
    console.print(Padding(_render_answer(row.answer), (0, 0, 0, 2)))


def _highlight_quotes(passage: str, quotes: Sequence[str]) -> Text:
    """Return the passage with its quoted sentences highlighted."""
    passage = strip_control_characters(escape_delimiters(passage))
    text, searchable = Text(passage), SearchableText(passage)
    for quote in quotes:
        for start, end in searchable.find(strip_control_characters(escape_delimiters(quote))):
            text.stylize(QUOTE_STYLE, start, end)
    return text


def _render_answer(answer: str) -> Text:
    """Return the answer with its quotes highlighted, in quotation marks instead of the contract's."""
    text, quoted = Text(), False
    for part in _parts(answer):
        if part in (BEGIN_QUOTE, END_QUOTE):
            quoted = part == BEGIN_QUOTE
            text.append("“" if quoted else "”")
        else:
            text.append(strip_control_characters(part), style=QUOTE_STYLE if quoted else "")
    return text


def _parts(answer: str) -> Iterator[str]:
    before, mark, behind = answer.partition(BEGIN_QUOTE)
    while mark:
        yield before
        yield mark
        other = END_QUOTE if mark == BEGIN_QUOTE else BEGIN_QUOTE
        before, mark, behind = behind.partition(other)
        if not mark:
            break
    yield before


def _abbreviate(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_DISTRACTOR_CHARACTERS else line[: MAX_DISTRACTOR_CHARACTERS - 1] + "…"


def _print_rejected(console: Console, rejected: Sequence[QAPair], call_details: Mapping[str, str]) -> None:
    console.print()
    if not rejected:
        console.print("rejected: none")
        return
    table = Table(title=Text(f"rejected: {len(rejected)}"), title_justify="left", box=None, pad_edge=False)
    for column in ("question", "final answer", "reason"):
        table.add_column(column, overflow="fold")
    for pair in rejected[:MAX_REJECTED]:
        told = (call_details.get(pair.question_id), pair.call_detail, pair.judge_remark, pair.review_note)
        detail = next(filter(None, told), REASONS[pair.reason])
        why = f"{pair.reason}: {detail}"
        table.add_row(
            *(Text(strip_control_characters(text)) for text in (pair.question or "–", pair.final_answer, why))
        )
    console.print(table)

"""What `raft ask` does: it prints what models answer to a question, or serves a page. `operations.asking` asks."""

import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from raft_assets.cli.output import print_json
from raft_assets.cli.paid_calls import confirm_paid_calls
from raft_assets.cli.project import activate_project, select_domains
from raft_assets.core.errors import RaftError, describe_error
from raft_assets.core.tables import EvaluatedModel
from raft_assets.core.terminal import strip_control_characters
from raft_assets.settings.endpoints import EMBEDDED_LABEL
from raft_assets.settings.project import Project

if TYPE_CHECKING:
    from raft_assets.evaluation.examples import Excerpt
    from raft_assets.operations.asking import AskedQuestion, DomainAsker, Passage, Reply

Models = Literal["student", "baseline", "both"]
Form = Literal["curl", "python"]

MAX_UNQUOTED_CHARACTERS = 240  # of a passage that no answer quotes
MAX_PASSAGE_CHARACTERS = 900  # of one that is quoted: around the first quote
STYLES = {"": "", "quote": "black on yellow", "answer": "bold"}
LABEL_STYLE = "bold cyan"


def answer_questions(domain: str, question: str, models: Models | None, *, as_json: bool, confirmed: bool) -> None:
    """Print the answers to a question, or to one after the other where it is empty.

    Ends the process with 1 where a model gave no answer.
    """
    # what is said about the answers isn't one of them: scripts read stdout
    console, told = _console(), _console(stderr=True)
    asker, asked = _open_asker(told, domain, models)
    confirm_paid_calls(told, asker.describe_paid_calls(asked), confirmed=confirmed)
    if question:
        sys.exit(0 if _answer(console, told, asker, question, asked, as_json=as_json) else 1)
    failed = False
    for line in _typed_questions(told):
        try:
            failed |= not _answer(console, told, asker, line, asked, as_json=as_json)
        except (RaftError, OSError) as error:
            failed = True
            click.echo(f"Error: {describe_error(error)}", err=True)
    sys.exit(int(failed))


def print_request(domain: str, question: str, models: Models | None, form: Form, *, confirmed: bool) -> None:
    """Print the request of a question as a command or a script; only the question's vector may cost money."""
    from raft_assets.llm.snippets import to_curl, to_python

    told = _console(stderr=True)
    asker, (evaluated,) = _open_asker(told, domain, models)
    confirm_paid_calls(told, asker.describe_paid_calls(()), confirmed=confirmed)
    sent = asker.sent(question, evaluated)
    click.echo((to_curl if form == "curl" else to_python)(sent.endpoint, sent.kind, sent.body))


def serve_page(domain: str, models: Models | None, *, port: int, confirmed: bool) -> None:
    """Serve the page on 127.0.0.1 until the process is interrupted; both models answer where there are two."""
    from raft_assets.cli.ask_page import serve

    told = _console(stderr=True)
    asker, asked = _open_asker(told, domain, models or "both")
    confirm_paid_calls(told, asker.describe_paid_calls(asked), confirmed=confirmed)
    serve(asker, asked, port=port, on_ready=lambda url: click.echo(f"{url} (Ctrl-C ends it)"))


def _open_asker(told: Console, domain: str, models: Models | None) -> "tuple[DomainAsker, list[EvaluatedModel]]":
    """Return what asks, and the models that are asked; says where the student is missing or a newer one is on its way.

    Raises DataError where the student is wanted and there is none.
    """
    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    # a second: only once the arguments are known to be right
    from raft_assets.operations.asking import DomainAsker
    from raft_assets.operations.model_clients import ModelClients

    activate_project(project)
    asker = DomainAsker(ModelClients(project, command=f"ask {secrets.token_hex(4)}"), name)
    asked = asker.choose_models(models)
    if asker.deployed is None:
        told.print(Text(f"{name} has no student yet: the baseline answers.", style="yellow"))
    elif asker.is_newer_trained and models != "baseline":
        told.print(Text("A newer student is trained and not deployed yet: the one before answers.", style="yellow"))
    if asker.asks_embedded(asked):
        told.print(Text(EMBEDDED_LABEL, style="dim"))
    asker.check(asked)
    return asker, asked


def _typed_questions(told: Console) -> Iterator[str]:
    """Yield what is typed, or the lines of a pipe, until they end or one is empty on a terminal."""
    is_typed = sys.stdin.isatty()
    if is_typed:
        told.print("A question, then Enter; an empty line ends it.")
    while True:
        try:
            line = input("? ") if is_typed else sys.stdin.readline()
        except EOFError:
            return
        if line.strip():
            yield line.strip()
        elif is_typed or not line:
            return


def _answer(
    console: Console,
    told: Console,
    asker: "DomainAsker",
    question: str,
    asked: Sequence[EvaluatedModel],
    *,
    as_json: bool,
) -> bool:
    """Print the answers to a question and return whether every model gave one."""
    with told.status(f"asking the {' and the '.join(asked)}"):
        done = asker.ask(question, asked)
    if as_json:
        print_json(_to_record(done))
    else:
        _print_answers(console, done)
    return all(reply.answer.status == "ok" for reply in done.replies)


def _to_record(told: "AskedQuestion") -> dict[str, Any]:
    """Return a question with its answers for scripts."""
    return {
        "question": told.question,
        "answers": [
            {
                "evaluated": reply.answer.evaluated,
                "model": reply.answer.model,
                "final_answer": reply.answer.final_answer,
                "abstained": reply.answer.abstained,
                "answer": reply.answer.answer,
                "quotes": reply.answer.quotes,
                "well_formed": reply.answer.well_formed,
                "status": reply.answer.status,
                "detail": reply.answer.detail,
                "seconds": round(reply.seconds, 3),
                "dollars": reply.dollars,
                "from_store": reply.from_store,
                "call": reply.answer.call,
            }
            for reply in told.replies
        ],
        "passages": [
            {"document": passage.path, "place": passage.place, "chunk_id": passage.chunk_id, "text": passage.text}
            for passage in told.passages
        ],
        "dollars": told.dollars,
    }


def _print_answers(console: Console, told: "AskedQuestion") -> None:
    for reply in told.replies:
        console.print()
        _print_reply(console, reply)
    console.print()
    console.print(Text("passages, nearest first", style=LABEL_STYLE))
    finals = [reply.answer.final_answer for reply in told.replies if not reply.answer.abstained]
    for number, passage in enumerate(told.passages, start=1):
        _print_passage(console, number, passage, told.quotes, finals)


def _print_reply(console: Console, reply: "Reply") -> None:
    from raft_assets.evaluation.examples import split_answer

    answer, text = reply.answer, split_answer(reply.answer.answer)
    console.print(
        Text.assemble((answer.evaluated, LABEL_STYLE), "  ", _shown(answer.final_answer or "(no final answer)", "bold"))
    )
    if answer.status != "ok":
        console.print(Padding(_shown(f"{answer.status}: {answer.detail}", "yellow"), (0, 0, 0, 2)))
    console.print(Padding(_segments(text.reasoning, is_quoting=True), (0, 0, 0, 2)))
    console.print(Padding(Text(f"{answer.model}, {reply.cost}", style="dim"), (0, 0, 0, 2)))


def _print_passage(
    console: Console, number: int, passage: "Passage", quotes: Iterable[str], answers: Iterable[str]
) -> None:
    from raft_assets.evaluation.examples import make_excerpt, mark_spans

    segments = mark_spans(passage.text, quotes=quotes, answers=answers)
    is_quoted = any(segment.mark == "quote" for segment in segments)
    excerpt = make_excerpt(segments, MAX_PASSAGE_CHARACTERS if is_quoted else MAX_UNQUOTED_CHARACTERS)
    place = ", ".join(filter(None, (passage.path, passage.place)))
    console.print(Text.assemble(f"{number} ", _shown(place, "bold")))
    console.print(Padding(_segments(excerpt, is_quoting=console.color_system is None), (0, 0, 0, 2)))


def _segments(excerpt: "Excerpt", *, is_quoting: bool) -> Text:
    """Return the text with its marks, on as few lines as it takes; `is_quoting`: with quotation marks as well."""
    text = Text()
    for _, run in groupby(excerpt.segments, key=lambda segment: bool(segment.mark)):  # an answer may be in a quote
        marked = list(run)
        is_quote = is_quoting and any(segment.mark == "quote" for segment in marked)
        text.append("“" * is_quote)
        for segment in marked:
            shown = re.sub(r"\s+", " ", strip_control_characters(segment.text))
            text.append(shown, style=STYLES[segment.mark])
        text.append("”" * is_quote)
    return text + Text(" …", style="dim") if excerpt.left_out else text


def _shown(text: str, style: str) -> Text:
    return Text(strip_control_characters(text), style=style)


def _console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)

"""What `raft questions` does: sheets for golden questions, and what they come to. `operations.questions` does it."""

import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from raft_assets.cli.output import print_json
from raft_assets.cli.paid_calls import confirm_paid_calls
from raft_assets.cli.project import activate_project, select_domains
from raft_assets.cli.reading import show_reading
from raft_assets.core.errors import DataError
from raft_assets.core.terminal import strip_control_characters
from raft_assets.evaluation.wording import count_noun
from raft_assets.settings.domains import domain_folder
from raft_assets.settings.project import Project

if TYPE_CHECKING:
    from raft_assets.operations.questions import DomainQuestions, QuestionsCheck

MAX_LISTED = 10  # documents without a question, and rows, that are named


def write_sheet(domain: str, *, count: int, target: Path | None, suggest: bool, confirmed: bool) -> None:
    """Write the sheet; suggestions of a paid teacher need a confirmation.

    Raises DataError where no passage is left to ask about, or the sheet would be read as a document.
    """
    from raft_assets.dataset.question_sheet import check_target, write_question_sheet

    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    file = target or Path(f"{name}-questions.csv")
    check_target(file)
    if not target and _is_among_documents(project, name, file):
        file = project.folder / file
    if _is_among_documents(project, name, file):
        raise DataError(f"{file} would be read as a document: write the sheet outside of {project.data / name}.")
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    asked = _open(project, name)
    passages = asked.passages_to_ask_about(count)
    if not passages:
        raise DataError(f"Every passage of {name!r} is covered by a golden question or too short: add documents.")
    suggestions = None
    if suggest:
        confirm_paid_calls(console, asked.describe_paid_suggestions(passages), confirmed=confirmed)
        with console.status(f"suggestions about {len(passages):,} passages") as status:
            suggestions = asked.suggest(
                passages, on_progress=lambda progress: status.update(f"{progress.answered:,} answers")
            )
    write_question_sheet(file, passages, asked.places, suggestions)
    documents = len({chunk.path for chunk in passages})
    suggested = f", {len(suggestions):,} with a suggestion" if suggestions is not None else ""
    click.echo(f"{file}: {count_noun(len(passages), 'passage')} of {count_noun(documents, 'document')}{suggested}")
    click.echo(f"Next: fill in question, answer and evidence, then raft questions add {_words(name, file)}")


def add_sheet(domain: str, file: Path) -> None:
    """Append the questions of a sheet, and say what became of every row; ends with 1 where one was refused."""
    from raft_assets.dataset.question_sheet import read_question_sheet

    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    rows = read_question_sheet(file)
    asked = _open(project, name)
    done = asked.add(rows)
    for number, note in done.notes.items():
        click.echo(f"row {number}: {strip_control_characters(note)}")
    for number, reason in done.refused.items():
        click.echo(f"row {number} refused: {strip_control_characters(reason)}", err=True)
    known = f", {len(done.known):,} there already ({_list_rows(done.known)})" if done.known else ""
    click.echo(
        f"{count_noun(len(done.added), 'question')} added{known}, {len(done.refused):,} refused, "
        f"{count_noun(done.empty, 'row')} empty; {project.name_address(str(asked.file))} holds {done.total:,}"
    )
    if done.added:
        click.echo(asked.check().coverage.sentence)
        click.echo(f"Next: raft run {_words(name)}")
    sys.exit(1 if done.refused else 0)


def check_questions(domain: str, *, as_json: bool) -> None:
    """Print what the questions of a domain come to; ends with 1 where one of them or the domain can't be used."""
    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    found = _open(project, name).check()
    if as_json:
        coverage = found.coverage
        told = {
            **asdict(found),
            "missing_passages": found.missing_passages,
            "can_decide": bool(coverage.questions) and coverage.can_decide,
            "can_train": coverage.can_train,
            "sentence": coverage.sentence,
        }
        print_json({"domain": name, **told})
    else:
        _print_check(name, found)
    sys.exit(1 if found.unresolved or not found.coverage.can_train else 0)


def _print_check(name: str, found: "QuestionsCheck") -> None:
    click.echo(f"{name}: {found.coverage.sentence}")
    click.echo(
        f"unanswerable: {found.unanswerable:,}; without evidence, which the verdict doesn't count: "
        f"{found.without_evidence:,}"
    )
    without = [path for path, count in found.documents.items() if not count]
    named = ", ".join(map(strip_control_characters, without[:MAX_LISTED])) + ", …" * (len(without) > MAX_LISTED)
    asked = len(found.documents) - len(without)
    click.echo(
        f"documents with a question: {asked:,} of {len(found.documents):,}" + (f"; none: {named}" if named else "")
    )
    for question, reason in found.unresolved.items():
        click.echo(f"doesn't count: {question}: {strip_control_characters(reason)}")
    if found.missing_passages:
        sheet = f"raft questions sheet {_words(name)} --count {max(found.missing_passages * 2, 20)}"
        click.echo(
            f"Still needed for a verdict: questions about {count_noun(found.missing_passages, 'passage')}: {sheet}"
        )


def _open(project: Project, name: str) -> "DomainQuestions":
    # a second or two: only once the arguments are known to be right
    from raft_assets.operations.model_clients import ModelClients
    from raft_assets.operations.questions import DomainQuestions

    activate_project(project)
    with show_reading():
        return DomainQuestions(ModelClients(project, command=f"questions {secrets.token_hex(4)}"), name)


def _list_rows(numbers: Sequence[int]) -> str:
    listed = ", ".join(map(str, numbers[:MAX_LISTED])) + ", …" * (len(numbers) > MAX_LISTED)
    return f"row {listed}" if len(numbers) == 1 else f"rows {listed}"


def _is_among_documents(project: Project, domain: str, file: Path) -> bool:
    """Return whether a file would be read as a document, of a domain in `data/` or of this one where it is a link."""
    place = file.resolve()
    if place.is_relative_to(project.data.resolve()):
        return True
    return place.is_relative_to(domain_folder(project.data, domain).resolve()) and not place.is_relative_to(
        project.folder
    )


def _words(*names: object) -> str:
    return shlex.join(map(str, names))

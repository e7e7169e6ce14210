"""`raft ask`."""

from typing import TYPE_CHECKING

import click

from raft_assets.cli.commands.completion import complete_domains

if TYPE_CHECKING:
    from raft_assets.cli.ask import Form, Models


@click.command()
@click.argument("domain", shell_complete=complete_domains)
@click.argument("question", nargs=-1)
@click.option(
    "--model",
    "models",
    type=click.Choice(["student", "baseline", "both"]),
    help="Which model answers; by default the newest student, and the baseline before there is one.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per question.")
@click.option(
    "--show", "form", type=click.Choice(["curl", "python"]), help="Print the request for use elsewhere; asks no model."
)
@click.option("--serve", is_flag=True, help="Serve a page for questions on 127.0.0.1 until Ctrl-C.")
@click.option("--port", default=8322, show_default=True, type=click.IntRange(1, 65535), help="Of the page.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation before paid calls.")
def ask(
    domain: str,
    question: tuple[str, ...],
    *,
    models: "Models | None",
    as_json: bool,
    form: "Form | None",
    serve: bool,
    port: int,
    yes: bool,
) -> None:
    """Ask a domain's student a question; it answers from the passages that retrieval finds in the domain.

    Prints the final answer, the reasoning with its quotes marked, and the passages with document and page. Without a
    question it asks for one after the other. Answers are stored, so that the same question is paid once. Works as soon
    as the domain has vectors (`raft run DOMAIN --select chunk_embeddings`): before the first student the baseline
    answers. Ends with 1 where a model gave no answer.

    \b
    Examples:
      raft ask bats "What do vampire bats eat?"
      raft ask bats "What do vampire bats eat?" --model both --json
      raft ask bats                                  one question after the other
      raft ask bats "Where do bats sleep?" --show curl
      raft ask bats --serve                          a page in the browser
    """
    if serve and (question or as_json or form):
        raise click.UsageError("--serve takes no question: the page asks for it.")
    if form and (not question or as_json):
        raise click.UsageError("--show needs a question and prints a request: leave out --json.")
    if form and models == "both":
        raise click.UsageError("--show prints the request of one model: choose --model student or baseline.")
    from raft_assets.cli import ask as command

    if serve:
        command.serve_page(domain, models, port=port, confirmed=yes)
    elif form:
        command.print_request(domain, " ".join(question), models, form, confirmed=yes)
    else:
        command.answer_questions(domain, " ".join(question), models, as_json=as_json, confirmed=yes)

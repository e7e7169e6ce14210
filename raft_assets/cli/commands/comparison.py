"""`raft compare` and `raft evaluate`."""

import click

from raft_assets.cli.commands.completion import complete_domains


@click.command()
@click.argument("domain", shell_complete=complete_domains)
@click.argument("student", nargs=-1)
@click.option("--open", "in_browser", is_flag=True, help="Open the page in the web browser.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object.")
def compare(domain: str, student: tuple[str, ...], *, in_browser: bool, as_json: bool) -> None:
    """Compare students of a domain: scores with paired intervals, price and time, in a table and on a page.

    STUDENT is an id, the beginning of a training hash, or a model's name; the first one is what the others are compared
    with. Without any, the newest student is compared with those that answered the same questions. Students are compared
    on the questions that all of them answered from the same prompts; where presets cut differently, on people's
    questions in the retrieved arm. Asks no model.

    \b
    Examples:
      raft compare bats
      raft compare bats 6464fcb0 9a1c03de --open
      raft compare bats --json
    """
    from raft_assets.cli.comparison import print_comparison

    print_comparison(domain, student, in_browser=in_browser, as_json=as_json)


@click.command()
@click.argument("domain", shell_complete=complete_domains)
@click.option(
    "--student", required=True, metavar="STUDENT", help="Its id, the beginning of its training hash, or its model."
)
@click.option("--yes", is_flag=True, help="Don't ask for confirmation before paid calls.")
def evaluate(domain: str, *, student: str, yes: bool) -> None:
    """Ask an older student the questions of a domain's latest evaluation, so that `raft compare` can compare it.

    The student has to be reachable still: nothing is trained or deployed. Shows the number of calls and their price
    first. Answers are stored, so that none is paid twice. The report and the verdict stay those of the newest student.

    \b
    Examples:
      raft evaluate bats --student 6464fcb0
      raft evaluate bats --student 6464fcb0 --yes      in a script
    """
    from raft_assets.cli.comparison import evaluate_older_student

    evaluate_older_student(domain, student, confirmed=yes)

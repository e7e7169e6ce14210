"""`raft questions`."""

from pathlib import Path

import click

from raft_assets.cli.commands.completion import complete_domains


@click.group()
def questions() -> None:
    """Write golden questions in a spreadsheet: make the sheet, add what was written, check what it comes to.

    \b
    Examples:
      raft questions sheet bats --count 60
      raft questions add bats bats-questions.csv
      raft questions check bats
    """


@questions.command()
@click.argument("domain", shell_complete=complete_domains)
@click.option("--count", type=click.IntRange(1, 5000), default=60, show_default=True, help="Passages at most.")
@click.option(
    "--to",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="FILE.csv, or FILE.xlsx with the extra xlsx. Default: DOMAIN-questions.csv here.",
)
@click.option("--suggest", is_flag=True, help="Have the teacher suggest a question a passage, in columns of its own.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation before paid calls.")
def sheet(domain: str, *, count: int, target: Path | None, suggest: bool, yes: bool) -> None:
    """Write a sheet with a passage a row, over all documents, and empty cells for question, answer and evidence.

    Only passages that no golden question covers yet are in it. Write a question that somebody would ask who hasn't the
    passage before them, the answer as short as you expect it, and as evidence the sentence of the passage that holds
    it, copied. Rows may stay empty. A suggestion as it was is no golden question: it has to be asked in your own words.

    \b
    Examples:
      raft questions sheet bats
      raft questions sheet bats --count 20 --to /tmp/bats.xlsx
      raft questions sheet bats --suggest
    """
    from raft_assets.cli.questions import write_sheet

    write_sheet(domain, count=count, target=target, suggest=suggest, confirmed=yes)


@questions.command()
@click.argument("domain", shell_complete=complete_domains)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def add(domain: str, file: Path) -> None:
    """Check the rows of a sheet and append them to the domain's questions.jsonl.

    Evidence is found whatever its white space, case, ligatures, quotation marks and numbers of notes, and written as
    the document has it. A row that can't be used says why and changes nothing else; a question that is there already
    isn't added again, so that a sheet may be added again once it is mended. Ends with 1 where a row was refused.

    \b
    Examples:
      raft questions add bats bats-questions.csv
      raft questions add bats bats.xlsx
    """
    from raft_assets.cli.questions import add_sheet

    add_sheet(domain, file)


@questions.command()
@click.argument("domain", shell_complete=complete_domains)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object.")
def check(domain: str, *, as_json: bool) -> None:
    """Say what a domain's golden questions cover and hold out, which don't count, and what a verdict still needs.

    Ends with 1 where the evidence of a question was not found, or nothing is left to train on.

    \b
    Examples:
      raft questions check bats
      raft questions check bats --json
    """
    from raft_assets.cli.questions import check_questions

    check_questions(domain, as_json=as_json)

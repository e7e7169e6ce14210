"""The question before what can't be undone or may cost money."""

import click


class DeclinedError(click.ClickException):
    """The answer was no, or there was none."""

    def __init__(self) -> None:
        super().__init__("Nothing was done.")

    def show(self, file: object = None) -> None:
        """Say so; a no is no error."""
        click.echo(self.message, err=True)


def confirm(question: str, *, default: bool = False) -> None:
    """Ask, and raise DeclinedError unless the answer is yes."""
    try:
        agreed = click.confirm(question, default=default)
    except click.Abort:  # Ctrl-C, or the end of what is typed
        click.echo(err=True)
        raise DeclinedError from None
    if not agreed:
        raise DeclinedError

"""The cost of a fine-tuning job and its approval: no job that may cost money is submitted without approval."""

from dataclasses import dataclass

from raft_assets.core.errors import DataError
from raft_assets.llm.prices import PER_MILLION
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.settings.project import Budgets

APPROVAL_TAG = "raft/approve"  # of a run
APPROVAL_VARIABLE = "RAFT_APPROVE"
APPROVE_FINE_TUNING = "fine-tuning"  # the value of both
# how OpenAI chooses the number of epochs: AUTO_EPOCHS, but examples within these bounds (OpenAI cookbook, "data
# preparation and analysis for chat model fine-tuning")
AUTO_EPOCHS = 3
MIN_EXAMPLES, MAX_EXAMPLES, MAX_AUTO_EPOCHS = 100, 25_000, 25


@dataclass(frozen=True)
class TrainingCost:
    """The size and price of a fine-tuning job.

    `tokens` are those of one pass over the rows, `epochs` the passes: where the service chooses them, as many as are
    expected at most. `price` is in US dollars a million tokens, None where it is unknown.
    """

    rows: int
    valid_rows: int
    tokens: int
    epochs: float
    price: float | None
    is_chosen: bool = False  # by the service

    @property
    def dollars(self) -> float | None:
        """US dollars for all passes. None where the price is unknown."""
        return None if self.price is None else self.epochs * self.tokens * self.price / PER_MILLION

    @property
    def told(self) -> str:
        """Rows, tokens and cost in half a sentence."""
        passes = f"{self.epochs:.3g} passes{', which the service chooses' if self.is_chosen else ''}"
        cost = f"at an unknown price (add it to {PRICES_FILE})"
        if self.dollars is not None:
            cost = f"about US$ {self.dollars:,.2f} for {passes}"
        return f"{self.rows:,} rows, {self.valid_rows:,} to validate on, {self.tokens:,} tokens a pass, {cost}"

    def check_budget(self, budgets: Budgets) -> None:
        """Raise DataError if the job alone would exceed a budget, or might because its price is unknown."""
        for budget, most in (("this run", budgets.run), ("the month", budgets.month)):
            if most is not None and (self.dollars is None or self.dollars > most):
                raise DataError(
                    f"The budget of {budget} is US$ {most:,.2f}, but fine-tuning needs {self.told}. Raise the "
                    "budget, or reduce training (questions.target_pairs, training.n_epochs)."
                )


def auto_epochs(rows: int) -> float:
    """Return the epochs that OpenAI chooses for so many rows."""
    most, least = MAX_EXAMPLES // max(rows, 1), -(-MIN_EXAMPLES // max(rows, 1))
    return min(max(min(AUTO_EPOCHS, most), least, 1), MAX_AUTO_EPOCHS)

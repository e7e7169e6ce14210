"""The cost of a fine-tuning job and its approval: no job that may cost money is submitted without approval."""

from dataclasses import dataclass
from typing import Literal

from raft_assets.core.errors import DataError
from raft_assets.llm.prices import PER_MILLION
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.settings.project import Budgets

APPROVAL_TAG = "raft/approve"  # of a run
APPROVAL_VARIABLE = "RAFT_APPROVE"
APPROVE_FINE_TUNING = "fine-tuning"  # the value of both
AUTO_EPOCHS = 3  # what OpenAI chooses for a few hundred rows


@dataclass(frozen=True)
class TrainingCost:
    """The size and price of a fine-tuning job.

    `tokens` are those of one pass over the rows; `price` is in US dollars a million tokens, None where it is unknown.
    """

    rows: int
    valid_rows: int
    tokens: int
    epochs: int | Literal["auto"]
    price: float | None

    @property
    def dollars(self) -> float | None:
        """US dollars for all passes; automatic epochs count as `AUTO_EPOCHS`. None where the price is unknown."""
        passes = AUTO_EPOCHS if self.epochs == "auto" else self.epochs
        return None if self.price is None else passes * self.tokens * self.price / PER_MILLION

    @property
    def told(self) -> str:
        """Rows, tokens and cost in half a sentence."""
        passes = f"{AUTO_EPOCHS} passes, as services choose them" if self.epochs == "auto" else f"{self.epochs} passes"
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

"""What a fine-tuning job will cost, and who said yes to it: no job that may cost money is submitted unasked."""

from dataclasses import dataclass
from typing import Literal

from raft_assets.core.errors import DataError
from raft_assets.llm.prices import PER_MILLION, PRICES_FILE
from raft_assets.settings.project import Budgets

APPROVAL_TAG = "raft/approve"  # of a run
APPROVAL_VARIABLE = "RAFT_APPROVE"
APPROVE_FINE_TUNING = "fine-tuning"  # the value of both
AUTO_EPOCHS = 3  # what OpenAI chooses for a few hundred rows


@dataclass(frozen=True)
class TrainingCost:
    """What is trained on; `tokens` are those of one pass, `price` is in US dollars a million, None where unknown."""

    rows: int
    valid_rows: int
    tokens: int
    epochs: int | Literal["auto"]
    price: float | None

    @property
    def dollars(self) -> float | None:
        """Of all passes; with automatic epochs, of `AUTO_EPOCHS`."""
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
        """Raises DataError where the job alone would pass a budget, or nobody knows whether."""
        for budget, most in (("this run", budgets.run), ("the month", budgets.month)):
            if most is not None and (self.dollars is None or self.dollars > most):
                raise DataError(
                    f"The budget of {budget} is US$ {most:,.2f}, but fine-tuning needs {self.told}. Raise the "
                    "budget, or "
                    "reduce training (questions.target_pairs, training.n_epochs)."
                )

"""Fixtures of the reader: one encoder, and a training file small enough to learn from in seconds."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from raft_assets.core.prompt_contract import ABSTENTION_ANSWER, render_answer, render_messages
from raft_assets.embedded.encoder import Encoder
from raft_assets.embedded.reader.training import Step, TrainingHyperparameters, TrainingResult, train

PLACES = (
    "Alba",
    "Brisk",
    "Corran",
    "Dunmore",
    "Eskdale",
    "Farley",
    "Garrow",
    "Holm",
    "Inver",
    "Jarrow",
    "Kelso",
    "Larne",
)
KEEPERS = ("Ann Bell", "Ben Cole", "Cara Dunn", "Dan Eves", "Ella Ford", "Finn Gray")
STONES = ("grey granite", "red sandstone", "white marble", "black slate")


@dataclass(frozen=True)
class Case:
    """A question with its documents, the sentence and the answer."""

    question: str
    documents: list[str]
    sentence: str
    answer: str

    def row(self) -> dict[str, object]:
        """As a line of a training file."""
        answer = render_answer(f"##begin_quote##{self.sentence}##end_quote## says so.", self.answer)
        return {"messages": [*render_messages(self.question, self.documents), {"role": "assistant", "content": answer}]}

    def without_oracle(self) -> dict[str, object]:
        """As a line that teaches to abstain."""
        others = [text for text in self.documents if self.sentence not in text]
        message = {"role": "assistant", "content": ABSTENTION_ANSWER}
        return {"messages": [*render_messages(self.question, others), message]}


def describe(number: int) -> dict[str, tuple[str, str, str]]:
    """Questions about a lighthouse: (question, sentence, answer) by kind."""
    place, keeper, stone = PLACES[number], KEEPERS[number % 6], STONES[number % 4]
    return {
        "when": (
            f"In what year was the lighthouse of {place} built?",
            f"The lighthouse of {place} was built in {1801 + 7 * number} after a long dispute.",
            str(1801 + 7 * number),
        ),
        "who": (
            f"Who keeps the lamp of {place} burning?",
            f"{keeper} keeps the lamp of {place} burning through the night.",
            keeper,
        ),
        "what": (
            f"What is the tower of {place} made of?",
            f"The tower of {place} is made of {stone} from a nearby\nquarry.",
            stone,
        ),
        "how_many": (
            f"How many steps lead to the lantern of {place}?",
            f"Exactly {90 + number} steps lead to the lantern of {place}.",
            str(90 + number),
        ),
    }


def document(number: int) -> str:
    return " ".join(sentence for _, sentence, _ in describe(number).values())


def cases(numbers: range) -> list[Case]:
    """Four questions about each lighthouse, each with two other lighthouses as distractors."""
    return [
        Case(question, [document((number + 1) % 12), document(number), document((number + 5) % 12)], sentence, answer)
        for number in numbers
        for question, sentence, answer in describe(number).values()
    ]


def write_rows(file: Path, rows: list[dict[str, object]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The encoder of this machine."""
    return Encoder.load()


@pytest.fixture(scope="session")
def lighthouses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 rows: 32 to answer, 8 to abstain from."""
    taught = cases(range(8))
    rows = [case.row() for case in taught] + [case.without_oracle() for case in taught[::4]]
    return write_rows(tmp_path_factory.mktemp("lighthouses") / "train.jsonl", rows)


@pytest.fixture(scope="session")
def unseen() -> list[Case]:
    """16 questions about lighthouses that no training row asks about."""
    return cases(range(8, 12))


@pytest.fixture(scope="session")
def train_on(encoder: Encoder) -> Callable[..., TrainingResult]:
    """Trains for four epochs."""

    def run(file: Path, valid: Path | None = None, steps: list[Step] | None = None, seed: int = 0) -> TrainingResult:
        return train(
            encoder,
            file,
            valid,
            hyperparameters=TrainingHyperparameters(n_epochs=4, seed=seed),
            on_step=(steps if steps is not None else []).append,
            cancelled=lambda: False,
        )

    return run


@pytest.fixture(scope="session")
def trained(train_on: Callable[..., TrainingResult], lighthouses: Path) -> TrainingResult:
    """A reader that learned from the lighthouses."""
    return train_on(lighthouses)

"""Fine-tuning: held-out questions are answered better, the same file gives the same bytes, and bad rows are counted."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from raft_assets.core.errors import DataError
from raft_assets.embedded.encoder import Encoder
from raft_assets.embedded.reader import lessons
from raft_assets.embedded.reader.model import Model
from raft_assets.embedded.reader.read import Reader
from raft_assets.embedded.reader.training import (
    AUTO_EPOCHS,
    Step,
    TrainingCancelledError,
    TrainingHyperparameters,
    TrainingResult,
    train,
)
from raft_assets_tests.embedded.reader.conftest import PLACES, Case, cases, write_rows

Train = Callable[..., TrainingResult]


def right_answers(reader: Reader, asked: list[Case]) -> int:
    return sum(reader.read(case.question, case.documents).answer == case.answer for case in asked)


def test_training_answers_unseen_questions_better(
    encoder: Encoder, trained: TrainingResult, unseen: list[Case]
) -> None:
    assert right_answers(trained.reader, unseen) >= 14
    assert right_answers(Reader.initial(encoder), unseen) <= 10


def test_absent_answers_are_abstained_from_and_present_ones_are_not(
    trained: TrainingResult, unseen: list[Case]
) -> None:
    shown = [trained.reader.read(case.question, case.documents).answer for case in unseen]
    hidden = [
        trained.reader.read(case.question, ["Cheese ripens in cool caves.", "Bats sleep by day."]).answer
        for case in unseen
    ]
    assert shown.count(None) <= 2
    assert hidden.count(None) >= 14


def test_gaps_that_are_dates_dont_teach_that_which_asks_for_a_date(
    encoder: Encoder, train_on: Train, tmp_path: Path
) -> None:
    keepers = ("Ann Bell", "Ben Cole", "Cara Dunn", "Dan Eves")
    gaps = [
        Case(
            f"Which words complete this statement: “The lighthouse of {place} was lit by {keeper} in ____”?",
            [f"{sentence} It stands on a rock.", "Cheese ripens in cool caves. Bats sleep by day."],
            sentence,
            str(year),
        )
        for number, place in enumerate(PLACES)
        for keeper, year in [(keepers[number % len(keepers)], 1801 + 7 * number)]
        for sentence in [f"The lighthouse of {place} was lit by {keeper} in {year}."]
    ]
    reader = train_on(write_rows(tmp_path / "train.jsonl", [case.row() for case in gaps])).reader
    names = reader.model.spans.table.names()
    initial, learned = (ranker.categorical for ranker in (Model.initial().spans, reader.model.spans))
    learned_of = {kind: float((learned - initial)[names.index(f"{kind}:shape=date")]) for kind in ("which", "cloze")}
    assert learned_of["cloze"] > 0
    assert learned_of["which"] <= 0
    of_before = Reader(encoder, replace(reader.model, gaps_first=False))
    reader.save(tmp_path / "now")
    of_before.save(tmp_path / "before")
    kept = [Reader.load(encoder, tmp_path / name).model.gaps_first for name in ("now", "before")]
    assert kept == [True, False]  # a reader that was trained before reads as it learned


def test_without_rows_to_abstain_from_the_reader_always_answers(train_on: Train, tmp_path: Path) -> None:
    reader = train_on(write_rows(tmp_path / "train.jsonl", [case.row() for case in cases(range(2))])).reader
    assert reader.read("When was the lighthouse of Alba built?", ["Cheese ripens."]).answer


def test_the_same_file_gives_the_same_bytes(
    train_on: Train, trained: TrainingResult, lighthouses: Path, tmp_path: Path
) -> None:
    trained.reader.save(tmp_path / "one")
    train_on(lighthouses).reader.save(tmp_path / "two")
    train_on(lighthouses, seed=1).reader.save(tmp_path / "three")
    one, two, three = ((tmp_path / name / "head.safetensors").read_bytes() for name in ("one", "two", "three"))
    assert one == two
    assert one != three


def test_completion_rows_teach_the_same_as_chat_rows(
    train_on: Train, trained: TrainingResult, lighthouses: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line)["messages"] for line in lighthouses.read_text(encoding="utf-8").splitlines()]
    completions: list[dict[str, object]] = [
        {"prompt": f"{system['content']}\n\n{user['content']}\n\n", "completion": answer["content"]}
        for system, user, answer in rows
    ]
    train_on(write_rows(tmp_path / "train.jsonl", completions)).reader.save(tmp_path / "one")
    trained.reader.save(tmp_path / "two")
    assert (tmp_path / "one/head.safetensors").read_bytes() == (tmp_path / "two/head.safetensors").read_bytes()


def test_rows_that_teach_nothing_are_counted_by_reason(train_on: Train, tmp_path: Path) -> None:
    good = cases(range(1))
    case = good[0]
    bad = [
        ("{", lessons.NOT_JSON),
        ("[]", lessons.NO_CONVERSATION),
        (json.dumps({"messages": [{"role": "user", "content": 3}]}), lessons.NO_CONVERSATION),
        (json.dumps(_weighing_nothing(case.row())), lessons.WEIGHT_ZERO),
        (json.dumps({"prompt": "Who?", "completion": "<ANSWER>: Ann"}), lessons.NO_DOCUMENTS),
        (json.dumps({"prompt": "<DOCUMENT>Ann.</DOCUMENT>", "completion": "<ANSWER>: Ann"}), lessons.NO_QUESTION),
        (json.dumps({"prompt": "<DOCUMENT>Ann.</DOCUMENT> Who?", "completion": "Ann"}), lessons.NO_ANSWER),
        (json.dumps(Case(case.question, case.documents, "Nobody knows.", "Zoe").row()), lessons.QUOTE_NOT_FOUND),
        (json.dumps(Case(case.question, case.documents, case.sentence, "Zoe").row()), lessons.ANSWER_NOT_FOUND),
    ]
    file = write_rows(tmp_path / "train.jsonl", [case.row() for case in good])
    file.write_text(file.read_text(encoding="utf-8") + "\n".join(line for line, _ in bad), encoding="utf-8")
    result = train_on(file)
    expected: dict[str, int] = {}
    for _, reason in bad:
        expected[reason] = expected.get(reason, 0) + 1
    assert result.used_rows == len(good)
    assert result.skipped_rows == expected


def _weighing_nothing(row: dict[str, Any]) -> dict[str, Any]:
    *prompt, answer = row["messages"]
    return {"messages": [*prompt, answer | {"weight": 0}]}


def test_a_file_without_a_usable_row_is_an_error(train_on: Train, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not_json"):
        train_on(_lines(tmp_path, "{", "[1"))


def test_progress_has_every_step_and_validates_each_epoch(
    train_on: Train, lighthouses: Path, unseen: list[Case], tmp_path: Path
) -> None:
    steps: list[Step] = []
    valid = write_rows(tmp_path / "valid.jsonl", [case.row() for case in unseen])
    result = train_on(lighthouses, valid, steps)
    assert [step.step for step in steps] == list(range(1, result.steps + 1))
    validated = [step for step in steps if step.valid_loss is not None]
    assert len(validated) == result.epochs == 4
    best = min(validated, key=lambda step: step.valid_loss or 0)
    assert result.best_step == best.step
    assert (validated[-1].valid_accuracy or 0) >= (validated[0].valid_accuracy or 0)
    assert steps[-1].train_loss < steps[0].train_loss
    assert result.trained_tokens > 0


@pytest.mark.parametrize(("n_epochs", "trained_epochs"), [("auto", AUTO_EPOCHS), (5, 5)])
def test_a_training_whose_validation_only_gets_worse_goes_on_to_its_end_and_keeps_the_first_epoch(
    n_epochs: Literal["auto"] | int, trained_epochs: int, encoder: Encoder, lighthouses: Path, tmp_path: Path
) -> None:
    """What a training costs is known before it: it doesn't end early."""
    misled = [replace(case, answer=case.sentence.split()[0]).row() for case in cases(range(8))]
    steps: list[Step] = []
    result = train(
        encoder,
        lighthouses,
        write_rows(tmp_path / "valid.jsonl", misled),
        hyperparameters=TrainingHyperparameters(n_epochs=n_epochs),
        on_step=steps.append,
        cancelled=lambda: False,
    )
    losses = [step.valid_loss for step in steps if step.valid_loss is not None]
    assert min(losses) == losses[0]
    assert result.epochs == len(losses) == trained_epochs
    assert result.best_step * trained_epochs == result.steps  # the first epoch's weights are kept


def test_a_cancelled_training_stops_and_keeps_nothing(encoder: Encoder, lighthouses: Path) -> None:
    steps: list[Step] = []
    with pytest.raises(TrainingCancelledError):
        train(
            encoder,
            lighthouses,
            None,
            hyperparameters=TrainingHyperparameters(),
            on_step=steps.append,
            cancelled=lambda: len(steps) >= 3,
        )
    assert len(steps) == 3


def _lines(folder: Path, *lines: str) -> Path:
    file = folder / "train.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file

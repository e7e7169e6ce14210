"""Answers to test with: plain ones, of which a test changes what it is about."""

from typing import Any

from raft_assets.core.prompt_contract import ABSTENTION, parse_answer, render_answer
from raft_assets.core.tables import ANSWERS, ModelAnswer

ORACLE = "The crane on quay 2 lifts 42 tonnes. It was built in 1907."
DISTRACTOR = "The ferry terminal has four berths and a café."


def model_answer(final_answer: str = "42 tonnes", **changes: Any) -> ModelAnswer:
    """An answer in RAFT's form to a question whose oracle is the first of two documents."""
    text = changes.pop("answer", render_answer("It says so.", final_answer))
    parsed = parse_answer(text)
    row = {
        "question_id": "q1",
        "source": "generated",
        "arm": "main",
        "evaluated": "student",
        "model": "embedded-reader",
        "question": "How much does the crane lift?",
        "documents": [ORACLE, DISTRACTOR],
        "document_chunk_ids": ["oracle", "distractor"],
        "oracle_chunk_ids": ["oracle"],
        "golden_answers": ["42 tonnes"],
        "answerable": True,
        "kind": "how",
        "cluster": "oracle",
        "answer": text,
        "final_answer": parsed.final_answer,
        "quotes": list(parsed.quotes),
        "abstained": parsed.abstained,
        "well_formed": parsed.well_formed,
        "status": "ok",
        "detail": "",
        "call": "key",
    }
    return ANSWERS[changes.get("evaluated", "student")].model_validate(row | changes)


def both(name: str, baseline: str, student: str, **changes: Any) -> list[ModelAnswer]:
    """Both models' final answers to one question, which is a cluster of its own unless `cluster` is given."""
    shared = {"question_id": name, "cluster": name, "question": f"How much does crane {name} lift?"} | changes
    return [
        model_answer(baseline, evaluated="baseline", **shared),
        model_answer(student, evaluated="student", **shared),
    ]


def unanswerable(name: str, baseline: str, student: str, **changes: Any) -> list[ModelAnswer]:
    """Both models' final answers where only distractors were shown; `ABSTENTION` is right."""
    shown = {"documents": [DISTRACTOR], "document_chunk_ids": ["distractor"], "golden_answers": [], "answerable": False}
    return both(name, baseline, student, **({"arm": "distractors_only"} | shown | changes))


RIGHT, WRONG, ABSTAINED = "42 tonnes", "eight hours", ABSTENTION

"""How well every gate tells spoilt pairs from sound ones, on `gate_pairs.jsonl`.

The pairs are written by hand, of kinds that models produce. The third that is `held_out` was looked at only once the
gates had been tuned on the others. That look found two faults, both of the lexical support gate, which were then
mended ("carried" of "carries", "left" of "leave": its precision was 4 of 5, and on fresh pairs 6 of 7): for that gate
the third is no longer unseen. Rows whose kind names a model follow what SmolLM2 135M Instruct and Gemma 3 270M (a base
model) wrote about shipped documents under llama.cpp: seven hold their words, some with another question or an added
quotation, the others their shape. They were labelled by somebody who knew the gates. Retrieval runs with the embedded
encoder over the pairs' own chunks.
"""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from raft_assets.core.identity import question_id
from raft_assets.core.tables import QAPair
from raft_assets.documents.retrieval import RetrievalRanks, VectorIndex
from raft_assets.embedded.encoder import Encoder
from raft_assets.pairs.gates import REASONS, apply_gates
from raft_assets.pairs.questions import Draft
from raft_assets.settings.domain import QuestionSettings
from raft_assets_tests.builders import a_chunk

SOUND = "sound"
LEAST = 0.95
# what no text can show: it stands in the call, in the domain's other files, or is said by a model or a person
ELSEWHERE = {
    *("oracle_not_found", "judged_unsupported", "judge_failed", "rejected_by_reviewer", "no_vector"),
    "other_language",  # test_gates_of_languages
}


class Written(BaseModel):
    """A line of the fixture."""

    held_out: bool
    expected: str
    kind: str
    chunk_id: str
    chunk: str
    question: str
    answer: str
    status: str


LINES = (Path(__file__).parent / "gate_pairs.jsonl").read_text("utf-8").splitlines()
ROWS = [Written.model_validate_json(line) for line in LINES]


@cache
def judged_rows() -> list[QAPair]:
    """A pair per line, judged among all others."""
    chunks = {row.chunk_id: a_chunk(row.chunk_id, row.chunk) for row in ROWS}
    encoder = Encoder.load()
    index = VectorIndex(list(chunks), encoder.encode([chunk.text for chunk in chunks.values()]))
    ranks = RetrievalRanks(index, lambda texts: encoder.encode(list(texts)), QuestionSettings().retrieval_top_k)
    ranks.look_up((row.question, row.chunk_id) for row in ROWS if row.question)
    drafts = [
        Draft(
            chunk=chunks[row.chunk_id],
            question=row.question,
            question_call="call",
            answer=row.answer,
            answer_call="call",
            call_status=row.status,
            call_detail="",
        )
        for row in ROWS
    ]
    pairs = apply_gates(drafts, settings=QuestionSettings(), rank_of=ranks.rank_of)
    by_id = {pair.question_id: pair for pair in pairs}
    return [by_id[question_id(row.chunk_id, row.question)] for row in ROWS]


def quality(held_out: bool) -> dict[str, tuple[float, float, int]]:
    """Precision, recall and number of spoilt pairs by reason code."""
    told = [
        (row.expected, pair.reason or SOUND)
        for row, pair in zip(ROWS, judged_rows(), strict=True)
        if row.held_out == held_out
    ]
    expected, given = Counter(one for one, _ in told), Counter(other for _, other in told)
    right = Counter(one for one, other in told if one == other)
    return {
        reason: (right[reason] / max(given[reason], 1), right[reason] / count, count)
        for reason, count in expected.items()
    }


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned on", "held out"])
def test_every_gate_has_precision_and_recall_of_at_least_95_percent(held_out: bool) -> None:
    for reason, (precision, recall, count) in quality(held_out).items():
        assert min(precision, recall) >= LEAST, f"{reason}: precision {precision:.2f}, recall {recall:.2f} of {count}"


def test_the_fixture_holds_enough_of_everything() -> None:
    counts = Counter(row.expected for row in ROWS)
    assert counts[SOUND] >= 80
    assert counts.total() - counts[SOUND] >= 80
    assert counts.keys() == {SOUND} | (REASONS.keys() - ELSEWHERE)
    assert min(counts.values()) >= 3
    held_out = Counter(row.expected for row in ROWS if row.held_out)
    assert held_out.keys() == counts.keys()
    assert len(ROWS) * 0.25 < held_out.total() < len(ROWS) * 0.4
    assert len({(row.chunk_id, row.question) for row in ROWS}) == len(ROWS)

"""Scores by slice: question type, oracle position, document and distractors.

Dimensions of the main arm group its questions. The arms of robustness ask the same questions among other distractors,
so that their slices can be compared with one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, get_args

from raft_assets.core.tables import ModelAnswer, QuestionSource, RobustnessArm, Score
from raft_assets.evaluation.summary import SUMMARY_COLUMNS, score_frame, summarize
from raft_assets.evaluation.verdict import PRIMARY_ARM

if TYPE_CHECKING:
    import pandas as pd

# name of a dimension and what its slices are
SLICE_TITLES = {
    "question_type": "by type of question",
    "oracle_position": "by place of the oracle",
    "document": "by document",
    "distractors": "by number of distractors, same questions",
    "distractor_kind": "by kind of distractors, same questions",
}
SLICED_METRICS = ("token_f1", "exact_match", "abstained_right")
MAX_PARTS = 50  # of a dimension, the largest: a corpus may have a thousand documents
SLICE_DRAWS = 1000
SLICE_COLUMNS = ["cut", "part", *SUMMARY_COLUMNS]

_PART_OF_ARM: Mapping[str, tuple[str, str]] = {
    "distractors_1": ("distractors", "1"),
    "distractors_3": ("distractors", "3"),
    "distractors_5": ("distractors", "5"),
    "distractors_10": ("distractors", "10"),
    "random_distractors": ("distractor_kind", "random"),
    "hard_distractors": ("distractor_kind", "hard"),
}
assert tuple(_PART_OF_ARM) == get_args(RobustnessArm)


def slice_scores(
    scores: Iterable[Score] | pd.DataFrame,
    answers: Iterable[ModelAnswer],
    *,
    source: QuestionSource,
    path_of: Mapping[str, str],
) -> pd.DataFrame:
    """Return one row per dimension, slice and metric, over the questions of the source.

    A row contains the means of both models and the 95 % interval of their difference, see `summarize`. `path_of` gives
    the document of every question. Columns: `SLICE_COLUMNS`.
    """
    import pandas as pd

    frame = score_frame(scores)
    frame = frame[frame["metric"].isin(SLICED_METRICS)]
    asked = {answer.question_id: answer for answer in answers if answer.arm == PRIMARY_ARM and answer.source == source}
    main = frame[(frame["arm"] == PRIMARY_ARM) & (frame["source"] == source)]
    part_of: dict[str, dict[str, str]] = {
        "question_type": {name: answer.kind for name, answer in asked.items()},
        "oracle_position": {name: _oracle_position(answer) for name, answer in asked.items()},
        "document": {name: path_of.get(name, "") for name in asked},
    }
    found = [part for cut, of in part_of.items() for part in _parts(cut, main, main["question_id"].map(of))]
    found += [_part(cut, part, frame[frame["arm"] == arm]) for arm, (cut, part) in _PART_OF_ARM.items()]
    filled = [part for part in found if not part.empty]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=SLICE_COLUMNS)


def _parts(cut: str, frame: pd.DataFrame, part_of_row: pd.Series) -> Iterator[pd.DataFrame]:
    for part in sorted(part_of_row.value_counts().index[:MAX_PARTS]):
        yield _part(cut, part, frame[part_of_row == part])


def _part(cut: str, part: str, frame: pd.DataFrame) -> pd.DataFrame:
    return summarize(frame, draws=SLICE_DRAWS).assign(cut=cut, part=part)[SLICE_COLUMNS]


def _oracle_position(answer: ModelAnswer) -> str:
    places = [place for place, chunk in enumerate(answer.document_chunk_ids, 1) if chunk in answer.oracle_chunk_ids]
    return f"document {places[0]}" if places else "not shown"

from collections.abc import Sequence
from typing import Any

import pytest

from raft_assets.core.prompt_contract import (
    ABSTENTION,
    BEGIN_QUOTE,
    CLOSED_BOOK_INSTRUCTIONS,
    END_QUOTE,
    INSTRUCTIONS,
)
from raft_assets.core.tables import Chunk, GoldenQuestion, RaftRow
from raft_assets.evaluation.arms import (
    EvaluationItem,
    build_items,
    item_request,
    max_prompt_tokens,
    recall_by_source,
    to_model_answer,
)
from raft_assets.evaluation.metrics import score_answer
from raft_assets.llm.requests import Answer, Usage
from raft_assets.settings.domain import DatasetSettings, DomainSettings, EvaluationSettings
from raft_assets_tests.builders import a_chunk

TOPICS = ["cranes", "ferries", "pilots", "tides", "customs", "fishing", "cargo", "ropes", "storms", "lamps"]
TEXTS = {
    f"c{number}": f"About {topic}: rule {number} was written by officer {topic[::-1]}."
    for number, topic in enumerate(TOPICS)
}
ASKING = EvaluationSettings(max_answer_tokens=100)


def chunk(name: str, text: str) -> Chunk:
    start = 1000 * int(name[1:]) if name[1:].isdigit() else 10**9  # chunks stand apart
    return a_chunk(name, text, start=start)


CHUNKS = [chunk(name, text) for name, text in TEXTS.items()]


def row(question: str, oracle: str, *distractors: str, **changes: Any) -> RaftRow:
    shown = [*distractors[:1], oracle, *distractors[1:]]
    values = {
        "question_id": question,
        "question": f"{question}?",
        "documents": [TEXTS[chunk] for chunk in shown],
        "document_chunk_ids": shown,
        "oracle_index": shown.index(oracle),
        "has_oracle": True,
        "answer": "...",
        "final_answer": "an answer",
        "split": "eval",
        "unit": "u",
        "chunk_id": oracle,
        "doc_id": "d",
        "path": "d.md",
        "kind": "what",
    }
    return RaftRow.model_validate(values | changes)


def golden(
    question: str, *oracles: str, answers: Sequence[str] = ("an answer",), answerable: bool = True
) -> GoldenQuestion:
    status = "resolved" if oracles else "no_evidence" if answerable else "unanswerable"
    return GoldenQuestion(
        question_id=question,
        question=f"Who {question}?",
        answers=list(answers),
        answerable=answerable,
        path="",
        oracle_chunk_ids=list(oracles),
        status=status,
    )


def first_chunks(_question: str, k: int) -> list[str]:
    return list(TEXTS)[:k]


def made(
    rows: Sequence[RaftRow] = (),
    questions: Sequence[GoldenQuestion] = (),
    chunks: Sequence[Chunk] = CHUNKS,
    *,
    evaluation: EvaluationSettings | None = None,
    dataset: DatasetSettings | None = None,
) -> dict[tuple[str, str], EvaluationItem]:
    found = build_items(
        rows,
        questions,
        chunks,
        nearest=first_chunks,
        evaluation=evaluation or EvaluationSettings(robustness_rows=0),
        dataset=dataset or DatasetSettings(),
    )
    assert found == sorted(found, key=lambda item: (item.arm, item.source, item.question_id))
    return {(item.arm, item.question_id): item for item in found}


def test_a_generated_question_is_shown_its_own_documents_in_their_order() -> None:
    item = made([row("q", "c1", "c5", "c7")])["main", "q"]
    assert item.document_chunk_ids == ("c5", "c1", "c7")
    assert item.documents == tuple(TEXTS[chunk] for chunk in item.document_chunk_ids)
    assert (item.answerable, item.golden_answers, item.cluster, item.source) == (
        True,
        ("an answer",),
        "c1",
        "generated",
    )


def test_distractors_only_is_the_main_arm_without_its_oracle_and_abstaining_is_right() -> None:
    item = made([row("q", "c1", "c5", "c7")])["distractors_only", "q"]
    assert item.document_chunk_ids == ("c5", "c7")
    assert (item.answerable, item.golden_answers) == (False, ())


def test_a_row_without_distractors_has_no_distractors_only_arm() -> None:
    assert ("distractors_only", "q") not in made([row("q", "c1")])


@pytest.mark.parametrize(("oracle", "answerable"), [("c1", True), ("c9", False)])
def test_the_retrieved_arm_shows_the_nearest_chunks_whatever_they_hold(oracle: str, answerable: bool) -> None:
    item = made([row("q", oracle, "c5")])["retrieved", "q"]
    assert item.document_chunk_ids == ("c0", "c1", "c2", "c3")
    assert (item.answerable, bool(item.golden_answers)) == (answerable, answerable)


def test_the_closed_book_shows_nothing_and_has_instructions_of_its_own() -> None:
    item = made([row("q", "c1", "c5")])["closed_book", "q"]
    assert (item.documents, item.answerable) == ((), True)
    body = item_request(item, "chat", ASKING).body
    assert body["messages"][0]["content"] == CLOSED_BOOK_INSTRUCTIONS
    assert "DOCUMENT" not in body["messages"][1]["content"]


def test_train_and_valid_rows_are_not_evaluated() -> None:
    found = made([row("t", "c1", split="train"), row("v", "c2", split="valid"), row("e", "c3")])
    assert {question for _, question in found} == {"e"}


def test_a_golden_question_is_shown_all_its_oracles_among_distractors_that_hold_no_accepted_answer() -> None:
    question = golden("g", "c3", "c4", answers=["officer seirref", "rule 7"])
    item = made(questions=[question], dataset=DatasetSettings(distractors=6))["main", "g"]
    assert {"c3", "c4"} < set(item.document_chunk_ids)
    assert len(item.document_chunk_ids) == len(set(item.document_chunk_ids)) == 8
    assert not {"c1", "c7"} & set(item.document_chunk_ids)  # they hold an accepted answer each
    assert item.cluster == "c3"
    without = made(questions=[question], dataset=DatasetSettings(distractors=6))["distractors_only", "g"]
    assert set(without.document_chunk_ids) == set(item.document_chunk_ids) - {"c3", "c4"}


def test_a_near_duplicate_of_the_oracle_is_no_distractor() -> None:
    twin = chunk("twin", TEXTS["c3"].upper())
    item = made(questions=[golden("g", "c3")], chunks=[*CHUNKS, twin], dataset=DatasetSettings(distractors=50))[
        "main", "g"
    ]
    assert len(item.document_chunk_ids) == len(CHUNKS)
    assert "twin" not in item.document_chunk_ids


def test_hard_distractors_of_a_golden_question_are_the_nearest_chunks() -> None:
    dataset = DatasetSettings(distractors=3, distractor_kind="hard")
    item = made(questions=[golden("g", "c1")], dataset=dataset)["main", "g"]
    assert set(item.document_chunk_ids) == {"c0", "c1", "c2", "c3"}


def test_the_oracle_of_a_golden_question_stands_in_no_fixed_place() -> None:
    found = made(questions=[golden(f"g{number}", "c1") for number in range(40)])
    places = {item.document_chunk_ids.index("c1") for (arm, _), item in found.items() if arm == "main"}
    assert places == {0, 1, 2, 3}


def test_golden_questions_without_evidence_and_unanswerable_ones_are_asked_in_the_retrieved_arm_only() -> None:
    found = made(questions=[golden("open"), golden("void", answers=[], answerable=False)])
    assert set(found) == {("retrieved", "open"), ("retrieved", "void")}
    assert found["retrieved", "open"].answerable
    assert not found["retrieved", "void"].answerable
    assert found["retrieved", "open"].cluster == "open"


def test_max_rows_takes_the_same_questions_in_every_arm_and_leaves_golden_ones() -> None:
    rows = [row(f"q{number}", "c1", "c5", "c6") for number in range(20)]
    limited = EvaluationSettings(max_rows=5)
    found = made(rows, [golden("g", "c2")], evaluation=limited)
    of_arm = {arm: {question for other, question in found if other == arm} for arm in limited.arms}
    assert all(questions == of_arm["main"] for questions in of_arm.values())
    assert len(of_arm["main"]) == 6
    more = made([*rows, row("new", "c3", "c8")], evaluation=limited)
    assert len({question for _, question in more} & of_arm["main"]) >= 4  # a new row takes the place of one at most


def test_only_the_arms_of_the_settings_are_made() -> None:
    assert {
        arm for arm, _ in made([row("q", "c1", "c5")], evaluation=EvaluationSettings(arms=("main",), robustness_rows=0))
    } == {"main"}


def varied(
    *rows: RaftRow, dataset: DatasetSettings | None = None, most: int = 30
) -> dict[tuple[str, str], EvaluationItem]:
    return made(rows, evaluation=EvaluationSettings(arms=("main",), robustness_rows=most), dataset=dataset)


def test_robustness_asks_the_main_questions_among_more_and_fewer_distractors() -> None:
    found = varied(row("q", "c3", "c5", "c7", "c8"))
    shown = {arm: item.document_chunk_ids for (arm, _), item in found.items()}
    few, some, many, all_others = (set(shown[f"distractors_{count}"]) for count in (1, 3, 5, 10))  # type: ignore[index]
    assert [len(few), len(some), len(many), len(all_others)] == [2, 4, 6, len(CHUNKS)]  # there are no ten others
    assert {"c3"} < few < some < many < all_others
    assert shown["random_distractors"] == shown["distractors_3"]
    assert set(shown["hard_distractors"]) == {"c0", "c1", "c2", "c3"}
    assert all(item.answerable and item.cluster == "c3" for item in found.values())


def test_what_the_main_arm_shows_is_asked_only_once() -> None:
    found = made(
        questions=[golden(f"g{number}", "c4") for number in range(31)], evaluation=EvaluationSettings(arms=("main",))
    )
    asked = [name for arm, name in found if arm == "distractors_3"]
    assert len(asked) == 30
    for name in asked:
        assert item_request(found["distractors_3", name], "chat", ASKING) == item_request(
            found["main", name], "chat", ASKING
        )
        assert found["random_distractors", name].documents == found["main", name].documents


def test_robustness_takes_the_same_few_questions_whatever_others_there_are() -> None:
    rows = [row(f"q{number}", f"c{number}", "c9") for number in range(8)]
    names = [{name for arm, name in varied(*some, most=3) if arm == "distractors_1"} for some in (rows, rows[:-1])]
    assert [len(name) for name in names] == [3, 3]
    assert len(names[0] & names[1]) >= 2


def test_a_retrieved_twin_of_the_oracle_makes_a_question_answerable_if_it_holds_the_answer() -> None:
    twin = chunk("twin", TEXTS["c9"].upper())
    for final, answerable in (("officer spmal", True), ("nowhere to be read", False)):
        found = build_items(
            [row("q", "c9", "c5", final_answer=final)],
            [],
            [*CHUNKS, twin],
            nearest=lambda *_: ["twin", "c1"],
            evaluation=EvaluationSettings(arms=("main", "retrieved"), robustness_rows=0),
            dataset=DatasetSettings(),
        )
        (item,) = (item for item in found if item.arm == "retrieved")
        assert item.answerable == answerable
        assert ("twin" in item.oracle_chunk_ids) == answerable


def test_a_prompt_is_the_same_for_baseline_and_student_in_both_forms() -> None:
    item = made([row("q", "c1", "c5")])["main", "q"]
    chat, completion = item_request(item, "chat", ASKING), item_request(item, "completion", ASKING)
    assert (chat.kind, chat.body["max_completion_tokens"]) == ("chat", 100)
    for asked in (chat, completion):
        assert (asked.body["temperature"], asked.body["seed"]) == (0, 0)
    defaults = item_request(item, "chat", EvaluationSettings(temperature=None, seed=None))
    assert not {"temperature", "seed"} & defaults.body.keys()
    assert chat.body["messages"][0]["content"] == INSTRUCTIONS
    assert completion.kind == "completion"
    assert chat.body["messages"][1]["content"] in completion.body["prompt"]


def test_the_longest_prompt_is_that_of_the_arm_with_the_most_documents() -> None:
    def tokens(**sections: Any) -> int:
        return max_prompt_tokens(DomainSettings.model_validate({"chunks": {"chunk_size": 1000}, **sections})) // 1000

    assert tokens() == 12  # an oracle among ten distractors, and a thousand for the answer
    assert tokens(evaluation={"robustness_rows": 0}) == 5
    assert tokens(evaluation={"robustness_rows": 0, "top_k": 20}) == 21
    assert tokens(dataset={"distractors": 30}) == 32


def test_an_answer_is_read_by_the_contract_and_keeps_what_was_shown() -> None:
    item = made([row("q", "c1", "c5")])["main", "q"]
    text = f"{BEGIN_QUOTE}rule 1{END_QUOTE}\n<ANSWER>: officer"
    found = to_model_answer(item, Answer("key", text, "ok", "", Usage(), 0.1, False), evaluated="student", model="m")
    assert (found.final_answer, found.quotes, found.well_formed, found.abstained) == (
        "officer",
        ["rule 1"],
        True,
        False,
    )
    assert (found.documents, found.call, found.status) == (list(item.documents), "key", "ok")


def test_a_failed_call_is_a_row_with_its_status() -> None:
    item = made([row("q", "c1", "c5")])["main", "q"]
    found = to_model_answer(
        item, Answer("key", "", "failed", "no answer", Usage(), 0, False), evaluated="baseline", model="m"
    )
    assert (found.status, found.answer, found.well_formed, found.abstained) == ("failed", "", False, False)


def test_an_abstention_is_recognised() -> None:
    item = made([row("q", "c1", "c5")])["distractors_only", "q"]
    answer = Answer("key", f"None holds it.\n<ANSWER>: {ABSTENTION}", "ok", "", Usage(), 0, False)
    assert to_model_answer(item, answer, evaluated="baseline", model="m").abstained


@pytest.mark.parametrize("arm", ["main", "distractors_only"])
def test_a_model_that_repeats_its_prompt_has_given_no_answer_and_scores_nothing(arm: str) -> None:
    item = made([row("q", "c1", "c5")])[arm, "q"]
    for text in (item_request(item, "completion", ASKING).body["prompt"], INSTRUCTIONS):
        found = to_model_answer(item, Answer("key", text, "ok", "", Usage(), 0, False), evaluated="baseline", model="m")
        assert (found.status, found.abstained, found.final_answer) == ("echo", False, "")
        assert "repeated its prompt" in found.detail
        scores = {score.metric: score.value for score in score_answer(found)}
        assert (scores["abstained_right"], scores["token_f1"], scores["well_formed"]) == (0, 0, 0)


def test_recall_counts_retrieved_questions_whose_oracle_is_known() -> None:
    found = made([row("q1", "c1", "c5"), row("q2", "c9", "c5")], [golden("open")])
    assert recall_by_source(found.values()) == {"generated": 0.5}
    assert recall_by_source(item for (arm, _), item in found.items() if arm == "main") == {}

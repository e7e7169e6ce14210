"""Where the questions of an evaluation came from."""

from raft_assets.core.tables import GoldenQuestion, QAPair, QuestionProvenance
from raft_assets.evaluation.provenance import trace_questions
from raft_assets_tests.builders import a_chunk, a_golden_question, a_pair

CHUNK = a_chunk("c", document="bats").model_copy(update={"page_from": 2, "page_to": 3, "start": 40, "end": 90})
OTHER = a_chunk("other", document="waves")
CHUNKS = {chunk.chunk_id: chunk for chunk in (CHUNK, OTHER)}
PAIR = a_pair(CHUNK).model_copy(update={"question_call": "asked", "answer_call": "answered"})


def trace(
    asked: list[tuple[str, str]], pairs: dict[str, QAPair], golden: dict[str, GoldenQuestion]
) -> list[QuestionProvenance]:
    found = trace_questions(asked, pairs, golden, CHUNKS, paged={CHUNK.doc_id}, model_of={"answered": "gpt"})
    return list(found)


def test_a_generated_question_came_from_its_chunk_and_two_calls_of_the_teacher() -> None:
    (origin,) = trace([("generated", PAIR.question_id)], {PAIR.question_id: PAIR}, {})
    assert origin.model_dump() == {
        "question_id": PAIR.question_id,
        "source": "generated",
        "chunk_id": "c",
        "path": "bats.md",
        "page_from": 2,
        "page_to": 3,
        "section_from": None,
        "section_to": None,
        "first_character": 40,
        "end_character": 90,
        "question_call": "asked",
        "teacher_call": "answered",
        "teacher_model": "gpt",
    }


def test_a_golden_question_came_from_a_person_and_the_first_of_its_chunks() -> None:
    (origin,) = trace([("golden", "golden")], {}, {"golden": a_golden_question("other", "c")})
    assert (origin.source, origin.chunk_id, origin.path) == ("golden", "other", "waves.md")
    assert (origin.first_character, origin.end_character) == (OTHER.start, OTHER.end)
    assert (origin.question_call, origin.teacher_call, origin.teacher_model) == ("", "", "")


def test_the_parts_of_a_document_without_pages_are_sections() -> None:
    (origin,) = trace([("golden", "golden")], {}, {"golden": a_golden_question("other")})
    assert (origin.page_from, origin.page_to) == (None, None)
    assert (origin.section_from, origin.section_to) == (OTHER.page_from, OTHER.page_to)


def test_a_question_without_known_evidence_came_from_nowhere() -> None:
    golden = {"unresolved": a_golden_question(), "gone": a_golden_question("a chunk that was deleted")}
    asked = [("golden", "unresolved"), ("golden", "gone"), ("golden", "a question that was deleted")]
    for origin, (_, name) in zip(trace(asked, {}, golden), asked, strict=True):
        assert (origin.question_id, origin.source) == (name, "golden")
        assert (origin.chunk_id, origin.path) == ("", "")
        assert {origin.page_from, origin.page_to, origin.first_character, origin.end_character} == {None}


def test_a_pair_and_a_golden_question_of_one_id_are_kept_apart() -> None:
    pairs, golden = {"q": PAIR}, {"q": a_golden_question("other")}
    found = list(trace([("golden", "q"), ("generated", "q")], pairs, golden))
    assert [(origin.source, origin.chunk_id) for origin in found] == [("golden", "other"), ("generated", "c")]
    assert [origin.teacher_call for origin in found] == ["", "answered"]

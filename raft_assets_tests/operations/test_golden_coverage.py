"""What is known of golden questions before a teacher is paid."""

import json
from pathlib import Path

import pytest

from raft_assets.core.errors import DataError
from raft_assets.core.tables import Chunk, GoldenQuestion
from raft_assets.operations.corpus import read_corpus
from raft_assets.operations.golden_coverage import (
    GoldenCoverage,
    coverage_of_questions,
    golden_coverage,
    refuse_without_training,
)
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.domain import DatasetSettings
from raft_assets.settings.domains import domain_names
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.builders import a_corpus, a_golden_question
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import SHIPPED, ProjectHarness

CORPUS = {chunk.chunk_id: chunk for chunk in a_corpus(10)}
NAMES = list(CORPUS)


def questions(passages: int, *, each: int = 1) -> list[GoldenQuestion]:
    return [
        a_golden_question(name).model_copy(
            update={"question_id": f"{name} {number}", "question": f"What is {name} number {number}?"}
        )
        for name in NAMES[:passages]
        for number in range(each)
    ]


def coverage(golden: list[GoldenQuestion], chunks: dict[str, Chunk] = CORPUS, **settings: object) -> GoldenCoverage:
    return golden_coverage(golden, chunks, DatasetSettings().model_copy(update=settings))


def test_twenty_passages_decide_and_nineteen_do_not() -> None:
    enough, short = coverage(questions(20)), coverage(questions(19))
    assert (enough.can_decide, short.can_decide) == (True, False)
    assert "20 questions about 20 passages: enough for a verdict" in enough.sentence
    assert "write questions about 1 more" in short.sentence
    assert enough.held_out == 20
    assert "20 of 40 chunks are held out of training" in enough.sentence


def test_many_questions_about_few_passages_that_are_all_there_is_leave_nothing_to_train_on() -> None:
    chunks = {name: CORPUS[name] for name in NAMES[:15]}
    found = coverage(questions(15, each=3), chunks)
    assert (found.questions, found.passages, found.held_out, found.can_decide, found.can_train) == (
        45,
        15,
        15,
        False,
        False,
    )
    assert "fewer than 20 passages, so no verdict on people's questions is possible" in found.sentence
    assert "All 15 chunks are held out, so nothing is left to train on: add documents, or set dataset.protocol" in (
        found.sentence
    )
    with pytest.raises(DataError, match="No pairs are generated"):
        refuse_without_training(found)


def test_the_papers_own_protocol_holds_nothing_out() -> None:
    found = coverage(questions(40), protocol="seen_passages")
    assert (found.held_out, found.can_train) == (0, True)
    assert "Training may show all 40 chunks" in found.sentence


def test_a_question_under_two_ids_and_one_without_evidence_count_for_nothing_more() -> None:
    (question,) = questions(1)
    again = question.model_copy(update={"question_id": "again", "question": question.question.upper()})
    without = question.model_copy(update={"question_id": "none", "oracle_chunk_ids": [], "status": "no_evidence"})
    found = coverage([question, again, without])
    assert (found.questions, found.passages) == (1, 1)


def test_a_domain_without_golden_questions_is_told_whose_questions_decide() -> None:
    found = coverage([])
    assert (found.can_decide, found.can_train) == (True, True)
    assert "the verdict will be on questions that the teacher wrote" in found.sentence


def test_a_corpus_that_its_questions_hold_out_whole_asks_the_teacher_nothing(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path)
    project.write("data/tiny/a.md", "# Piers\n\nThe pier at Halden has 14 piles of oak. It was built in 1907.")
    project.write(
        "data/tiny/questions.jsonl",
        '{"id": "q", "question": "How many piles has the pier?", "answers": ["14"], "document": "a.md", '
        '"evidence": ["The pier at Halden has 14 piles of oak."]}',
    )
    told = project.raft("estimate", "tiny")
    assert "1 question about 1 passage: fewer than 20 passages" in told.stdout
    checked = project.raft("doctor", "tiny")
    assert checked.returncode == 1
    first = checked.stdout.splitlines()[0]
    assert first.startswith("tiny: 1 MD: about 1 min, US$ 0, a verdict is not possible, because golden questions leave")
    assert "golden questions tiny: 1 question about 1 passage" in checked.stdout
    ran = project.raft("run", "tiny")
    assert ran.returncode != 0
    assert "No pairs are generated, because none of them could train" in ran.stdout + ran.stderr
    with open_call_store(project.opened) as store:
        assert {call.kind for call in store.calls()} <= {"embedding"}


@pytest.mark.parametrize("domain", domain_names(SHIPPED))
def test_a_shipped_domain_can_decide_by_peoples_questions_and_has_chunks_to_train_on(
    tmp_path: Path, domain: str
) -> None:
    project = ProjectHarness(tmp_path)
    project.copy_domain(domain)
    corpus = read_corpus(ModelClients(project.opened), domain)
    found = coverage_of_questions(project.opened, domain, corpus.documents, corpus.chunks)
    assert found.questions >= 90
    assert found.passages >= 70
    assert found.chunks - found.held_out >= 70


def test_questions_follow_a_document_that_was_renamed_since_the_last_run(copied: ProjectHarness) -> None:
    documents = read_corpus(ModelClients(copied.opened), SMALL).documents
    asked = [
        {
            "id": document.path,
            "question": "What is it?",
            "answers": ["it"],
            "document": document.path,
            "evidence": [document.pages[0].text.splitlines()[-1]],
        }
        for document in documents
    ]
    copied.write(f"data/{SMALL}/questions.jsonl", "".join(f"{json.dumps(one)}\n" for one in asked))

    def found() -> GoldenCoverage:
        corpus = read_corpus(ModelClients(copied.opened), SMALL)
        return coverage_of_questions(copied.opened, SMALL, corpus.documents, corpus.chunks)

    before = found()
    assert before.questions == len(documents)
    path = copied.folder / "data" / SMALL / documents[0].path
    path.rename(path.with_stem("called otherwise"))
    assert found() == before

"""Rows in the terminal before a corpus is processed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from raft_assets.core.tables import QAPair
from raft_assets.core.terminal import strip_control_characters
from raft_assets_tests.builders import an_answer
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Reply, Seen, Service, chat, error

BATS = "bats"


@pytest.fixture(scope="module")
def previewed(tmp_path_factory: pytest.TempPathFactory) -> tuple[ProjectHarness, str]:
    project = ProjectHarness(tmp_path_factory.mktemp("previewed"))
    project.copy_domain(BATS, documents=2)
    done = project.raft_here("preview", BATS, "-n", "3", variables={"COLUMNS": "60"})
    assert done.returncode == 0, done.stderr
    return project, done.stdout


def test_a_preview_shows_models_rows_rejected_pairs_and_tokens(previewed: tuple[ProjectHarness, str]) -> None:
    _, said = previewed
    assert said.startswith("TEACHER")
    for part in ("left out of ", "question  ", ", oracle", "document 4", "<ANSWER>:", "rejected: ", "tokens in"):
        assert part in " ".join(said.split()) or part in said
    assert "##begin_quote##" not in said
    assert max(len(line) for line in said.splitlines() if "http" not in line) <= 100


def test_a_preview_makes_nothing_and_the_run_does_not_ask_again(previewed: tuple[ProjectHarness, str]) -> None:
    project, said = previewed
    assert not project.lake.exists("qa_pairs", BATS)
    asked = int(said.split("TEACHER")[-1].split(" calls")[0])
    assert project.materialize(BATS, "qa_pairs")
    assert project.metadata("qa_pairs", BATS)["calls_from_store"] == asked > 3
    questions = {pair.question for pair in project.lake.rows(QAPair, BATS) if pair.accepted}
    assert any(" ".join(question.split())[:40] in " ".join(said.split()) for question in questions)


@pytest.fixture
def teacher() -> Iterator[Service]:
    service = Service()
    yield service
    service.stop()


SECRET = "The Halden bridge was opened in 1907 by Marit Lund."


def test_a_paid_teacher_is_asked_only_on_yes_and_its_text_commands_no_terminal(
    tmp_path: Path, teacher: Service
) -> None:
    def answers(seen: Seen) -> Reply:
        if "Write 4 questions" in seen.question:
            return chat(
                "When was the \x1b[31m\u202eHalden bridge opened?\nWho opened the Halden bridge according to the text?"
            )
        return chat(an_answer(SECRET, "1907"))

    teacher.rule = answers
    project = ProjectHarness(tmp_path)
    project.own_variables.clear()
    project.write(".env", f"TEACHER_OPENAI_BASE_URL={teacher.url}\nTEACHER_OPENAI_DEPLOYMENT=dear\n")
    project.write("prices.yaml", "- {model: dear, input: 1, output: 1, source: ours, date: 2026-11-28}\n")
    project.write("data/bridges/a.txt", f"{SECRET} It is 80 metres long and stands on five piers of granite.\n")
    refused = project.raft_here("preview", "bridges")
    assert refused.returncode == 2
    assert "at most 6 calls (1 for questions, 4 answers, 1 to find out the form)" in " ".join(refused.stdout.split())
    assert "--yes" in refused.stderr
    assert teacher.seen == []
    done = project.raft_here("preview", "bridges", "--yes", variables={"FORCE_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    assert len(teacher.seen) == 4
    assert "points_at_text" in done.stdout
    assert "\x1b[31m" not in done.stdout
    assert "\u202e" not in done.stdout


@pytest.fixture
def bridges(tmp_path: Path, teacher: Service) -> ProjectHarness:
    """A project of one document whose teacher is the test's service."""
    project = ProjectHarness(tmp_path)
    project.own_variables = {"TEACHER_OPENAI_BASE_URL": teacher.url, "TEACHER_OPENAI_DEPLOYMENT": "m"}
    project.write("data/bridges/a.txt", f"{SECRET} It is 80 metres long and stands on five piers of granite.\n")
    return project


def test_a_preview_without_the_retrieval_gate_embeds_nothing_and_shows_rows(
    bridges: ProjectHarness, teacher: Service
) -> None:
    bridges.write("data/bridges/domain.yaml", "questions: {retrieval_top_k: 0}\n")
    bridges.own_variables |= {"EMBEDDING_OPENAI_BASE_URL": teacher.url, "EMBEDDING_OPENAI_DEPLOYMENT": "e"}
    teacher.rule = lambda seen: (
        chat("When was the Halden bridge opened?")
        if "Write 4 questions" in seen.question
        else chat(an_answer(SECRET, "1907"))
    )
    done = bridges.raft_here("preview", "bridges", "--yes")
    assert done.returncode == 0, done.stderr
    assert "row 1 of 1" in done.stdout
    assert not any("embeddings" in seen.path for seen in teacher.seen)


def test_a_preview_asks_at_once_where_the_roles_use_batches(bridges: ProjectHarness, teacher: Service) -> None:
    bridges.own_variables |= {"TEACHER_BATCH": "1", "JUDGE_BATCH": "1"}
    bridges.own_variables |= {"JUDGE_OPENAI_BASE_URL": teacher.url, "JUDGE_OPENAI_DEPLOYMENT": "j"}

    def rule(seen: Seen) -> Reply | None:
        if seen.body["model"] == "j":
            return chat('{"supported": true, "reason": "it says so"}')
        asks = "Write 4 questions" in seen.question
        return chat("When was the Halden bridge opened?" if asks else an_answer(SECRET, "1907"))

    teacher.rule = rule
    done = bridges.raft_here("preview", "bridges", "--yes")
    assert done.returncode == 0, done.stderr
    assert "row 1 of 1" in done.stdout
    assert not any("batches" in seen.path or "files" in seen.path for seen in teacher.seen)


def test_a_preview_says_what_it_is_doing_where_no_row_disturbs_it(bridges: ProjectHarness) -> None:
    done = bridges.raft_here("preview", "bridges", "--yes")
    assert "vectors of 1 chunks" in done.stderr
    assert "questions and answers about 1 of 1 chunks" in done.stderr
    assert "questions and answers about" not in done.stdout


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            error(500, message="out of memory", retry_after="0"),
            "TEACHER gave no answer: it answered 500 (out of memory)",
        ),
        (error(400, code="content_filter", message="flagged as violent"), "flagged as violent"),
    ],
)
def test_where_every_call_fails_the_preview_says_why_and_fails(
    bridges: ProjectHarness, teacher: Service, reply: Reply, said: str
) -> None:
    teacher.rule = lambda _: reply
    ended = bridges.raft_here("preview", "bridges", "--yes", variables={"COLUMNS": "400"})
    assert ended.returncode == 1
    assert f"call_failed: {said}" in ended.stdout or said in ended.stdout
    assert "No row came of 1 chunk: 1 calls gave no usable answer" in ended.stderr
    assert said in ended.stderr


def test_where_every_pair_is_rejected_the_preview_fails(bridges: ProjectHarness, teacher: Service) -> None:
    teacher.rule = lambda seen: chat("When was the Halden bridge opened?" if "Write 4" in seen.question else "In 1907.")
    ended = bridges.raft_here("preview", "bridges", "--yes")
    assert ended.returncode == 1
    assert "no_answer_tag" in ended.stdout
    assert "every pair was rejected" in ended.stderr


def test_what_a_terminal_would_obey_is_shown_as_a_sign() -> None:
    assert strip_control_characters("a\x1b]0;b\x07\r\nc\td\u202e") == "a\ufffd]0;b\ufffd\nc d\ufffd"
    # marks of direction that Arabic texts hold are never seen; what turns other text is shown as a sign
    assert strip_control_characters("عام\u200f 1932\u200e.\u061c \u2067x\u2069") == "عام 1932. \ufffdx\ufffd"


@pytest.mark.parametrize(
    ("settings", "said"), [("questions: {questions_per_chunk: 0}", "raise it to preview rows"), ("chunks: 3", "chunks")]
)
def test_what_can_not_be_previewed_is_one_sentence(tmp_path: Path, settings: str, said: str) -> None:
    project = ProjectHarness(tmp_path)
    project.write("data/bridges/a.txt", f"{SECRET}\n")
    project.write("data/bridges/domain.yaml", settings)
    ended = project.raft_here("preview", "bridges")
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr

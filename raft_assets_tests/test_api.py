"""The door for Python: `import raft_assets`, from a folder to rows, without Dagster."""

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import raft_assets
from raft_assets import api
from raft_assets.core.errors import DataError, SettingsError
from raft_assets.core.tables import BaselineAnswer, Chunk, GoldenQuestion, QAPair, RaftRow, StudentAnswer
from raft_assets.llm.budget import BudgetReachedError
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import REPOSITORY, ProjectHarness
from raft_assets_tests.llm.service import Reply, Seen, Service, chat

HEAVY = ("dagster", "pandas", "duckdb", "openai", "numpy", "pyarrow", "pydantic")
SURFACE = {
    "Chunks": "(rows: 'Iterable[T]', corpus: '_Corpus') -> 'None'",
    "Documents": (
        "(rows: 'Iterable[ReadDocument]', corpus: '_Corpus', quarantined: 'Sequence[QuarantinedFile]') -> 'None'"
    ),
    "Evaluation": "(answers: 'Sequence[ModelAnswer]', scores: 'Sequence[Score]', verdict: 'Verdict | None') -> None",
    "Pairs": "(rows: 'Iterable[QAPair]', chunks: 'Chunks') -> 'None'",
    "Rows": "(rows: 'Iterable[RaftRow]', pairs: 'Pairs') -> 'None'",
    "Session": (
        "(project: 'str | Path | None' = None, *, variables: 'Mapping[str, str] | None' = None, "
        "budget: 'float | None' = None, on_progress: 'OnProgress | None' = None) -> 'None'"
    ),
    "ask": (
        "(passages: 'Chunks | str', question: 'str', *, model: 'Model | None' = None, "
        "session: 'Session | None' = None) -> 'AskedQuestion'"
    ),
    "assemble": "(pairs: 'Pairs', *, splits: 'bool' = True) -> 'Rows'",
    "chunk": "(documents: 'Documents') -> 'Chunks'",
    "evaluate": "(rows: 'Rows', *, model: 'Model' = 'baseline') -> 'Evaluation'",
    "export": (
        "(rows: 'Rows', target: 'str | Path', *, form: 'ExportFormat' = 'hf', container: 'Container' = 'jsonl') "
        "-> 'list[Path]'"
    ),
    "generate_pairs": "(chunks: 'Chunks', *, limit: 'int | None' = None) -> 'Pairs'",
    "read_documents": "(documents: 'str | Path', *, session: 'Session | None' = None) -> 'Documents'",
}


def modules_after(code: str) -> set[str]:
    """The top-level modules that a new interpreter has loaded after some code."""
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in shown.stdout.split()}


def test_importing_the_package_loads_nothing_and_its_api_no_dagster() -> None:
    assert modules_after("import raft_assets").isdisjoint(HEAVY)
    loaded = modules_after("from raft_assets import read_documents, evaluate")
    assert "pydantic" in loaded
    assert loaded.isdisjoint({"dagster", "dagster_shared", "pandas", "duckdb", "openai"})


def test_the_public_surface_is_what_the_docs_promise() -> None:
    """A change of it breaks notebooks: it belongs into the changelog."""
    assert set(raft_assets.__all__) == set(api.__all__) == {*SURFACE, "RaftError"}
    assert set(raft_assets.__all__) <= set(dir(raft_assets))
    assert {name: str(inspect.signature(getattr(raft_assets, name))) for name in SURFACE} == SURFACE
    text = (REPOSITORY / "docs" / "python-api.md").read_text("utf-8")
    for name in raft_assets.__all__:
        assert getattr(raft_assets, name).__doc__
        assert f"`{name}" in text
    with pytest.raises(AttributeError, match="no attribute 'generate_pears'"):
        _ = raft_assets.generate_pears


def session_of(project: ProjectHarness, **options: object) -> raft_assets.Session:
    return raft_assets.Session(project.folder, variables=project.own_variables, **options)  # type: ignore[arg-type]


def stored_calls(project: ProjectHarness) -> int:
    with open_call_store(project.opened) as store:
        return store.stats().calls


def test_a_notebook_makes_the_rows_and_scores_of_a_run_and_pays_for_nothing_that_the_run_paid(
    finished: ProjectHarness,
) -> None:
    before, lake, seen = stored_calls(finished), finished.lake, dict[str, int]()
    session = session_of(finished, on_progress=lambda what, done, _: seen.update({what: done}))

    async def cells() -> tuple[raft_assets.Rows, raft_assets.Evaluation]:  # a notebook's loop is running already
        chunks = raft_assets.chunk(raft_assets.read_documents(SMALL, session=session))
        assert list(chunks) == list(lake.rows(Chunk, SMALL))
        pairs = raft_assets.generate_pairs(chunks)
        assert list(pairs) == list(lake.rows(QAPair, SMALL))
        assert chunks.golden == list(lake.rows(GoldenQuestion, SMALL))
        rows = raft_assets.assemble(pairs)
        return rows, raft_assets.evaluate(rows, model="both")

    rows, evaluation = asyncio.run(cells())
    assert list(rows) == list(lake.rows(RaftRow, SMALL))
    answers = [*lake.rows(BaselineAnswer, SMALL), *lake.rows(StudentAnswer, SMALL)]
    assert [answer.model_dump() for answer in evaluation.answers] == [answer.model_dump() for answer in answers]
    assert evaluation.verdict is not None
    assert evaluation.verdict.sentence == finished.results.verdicts()[SMALL]["sentence"]
    assert {"baseline", "student"} <= set(evaluation.summary().columns)
    assert stored_calls(finished) == before
    assert seen["answers of the student"] > 0


@pytest.fixture
def teacher() -> Iterator[Service]:
    """A service of OpenAI's form that writes one question about each passage."""
    service = Service()

    def answers(seen: Seen) -> Reply | None:
        if "messages" not in seen.body:
            return None
        asked = json.dumps(seen.body["messages"])
        if "<ANSWER>" in asked:
            return chat("##begin_quote##The crane was tested on 4 May.##end_quote##\n<ANSWER>: on 4 May")
        return chat("1. When was the crane tested?")

    service.rule = answers
    yield service
    service.stop()


def test_any_folder_and_any_openai_shaped_service_will_do_within_a_budget_and_each_call_once(
    tmp_path: Path, teacher: Service
) -> None:
    folder = tmp_path / "elsewhere" / "cranes"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("The crane was tested on 4 May. It lifts nine tons at most.\n", "utf-8")
    (folder / "b.bin").write_bytes(bytes(range(256)))
    (tmp_path / "prices.yaml").write_text("- {model: m, input: 10, output: 20, source: ours, date: 2026-11-28}")
    variables = {
        "TEACHER_OPENAI_BASE_URL": teacher.url,
        "TEACHER_OPENAI_DEPLOYMENT": "m",
        "TEACHER_OPENAI_API_KEY": "sk-canary",
    }

    def pairs_within(budget: float) -> raft_assets.Pairs:
        session = raft_assets.Session(tmp_path, variables=variables, budget=budget)
        assert "canary" not in repr(session) + repr(session.project)
        documents = raft_assets.read_documents(folder, session=session)
        assert [file.path for file in documents.quarantined] == ["b.bin"]
        return raft_assets.generate_pairs(raft_assets.chunk(documents), limit=1)

    with pytest.raises(BudgetReachedError):
        pairs_within(0.0000001)
    assert teacher.seen == []
    (pair,) = pairs_within(5)
    assert (pair.question, pair.final_answer) == ("When was the crane tested?", "on 4 May")
    paid = len(teacher.seen)
    assert paid > 0
    again = pairs_within(5)
    assert len(teacher.seen) == paid
    (row,) = raft_assets.assemble(again, splits=False)
    assert "The crane was tested" in row.documents[row.oracle_index or 0]
    assert "When was the crane tested?" in again._repr_html_()
    (file,) = raft_assets.export(raft_assets.assemble(again, splits=False), tmp_path / "out", form="chat")
    assert json.loads(file.read_text("utf-8"))["messages"]


def test_wrong_input_is_the_sentence_that_the_command_line_says(finished: ProjectHarness, tmp_path: Path) -> None:
    session = session_of(finished)
    chunks = raft_assets.chunk(raft_assets.read_documents(SMALL, session=session))
    (tmp_path / SMALL).mkdir()
    (tmp_path / "empty").mkdir()
    cases = {
        "Did you mean 'small'?": lambda: raft_assets.read_documents("smal", session=session),
        "has the name of a domain": lambda: raft_assets.read_documents(tmp_path / SMALL, session=session),
        "No document of 'empty' could be read": lambda: raft_assets.read_documents(tmp_path / "empty", session=session),
        "takes what chunk() returned, not a list": lambda: raft_assets.generate_pairs(list(chunks)),  # type: ignore[arg-type]
        "limit is 0": lambda: raft_assets.generate_pairs(chunks, limit=0),
        "The question is empty": lambda: raft_assets.ask(chunks, " "),
        "Did you mean 'student'?": lambda: raft_assets.ask(chunks, "Why?", model="studnet"),  # type: ignore[arg-type]
    }
    for sentence, wrong in cases.items():
        with pytest.raises(DataError) as raised:
            wrong()
        assert sentence in str(raised.value)
    with pytest.raises(SettingsError, match="TEACHER is half configured"):
        _ = raft_assets.read_documents(
            SMALL, session=raft_assets.Session(finished.folder, variables={"TEACHER_OPENAI_API_KEY": "sk-canary"})
        ).corpus.models.endpoints


def test_a_question_is_answered_about_chunks_as_about_the_domain_of_a_run(finished: ProjectHarness) -> None:
    session = session_of(finished)
    chunks = raft_assets.chunk(raft_assets.read_documents(SMALL, session=session))
    row = next(row for row in finished.lake.rows(StudentAnswer, SMALL) if row.arm == "retrieved" and row.quotes)
    for passages in (chunks, SMALL):
        asked = raft_assets.ask(passages, row.question, session=session)
        assert (asked.final_answer, asked.replies[0].from_store) == (row.final_answer, True)
        assert [passage.chunk_id for passage in asked.passages] == row.document_chunk_ids


NOTEBOOKS = sorted((REPOSITORY / "examples").glob("*.ipynb"))
RUN_CELLS = """
import ast, asyncio, json, sys
names = {}
async def run_cells():
    for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
asyncio.run(run_cells())
print(len(names["rows"]), names["asked"].final_answer)
"""


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_of_the_examples_runs_from_documents_to_rows(notebook: Path, tmp_path: Path) -> None:
    """Its cells run in one interpreter with a running loop, as in a kernel, which would be 20 packages more."""
    project = ProjectHarness(tmp_path)
    project.copy_domain("bats", documents=4)
    ran = subprocess.run(
        [sys.executable, "-c", RUN_CELLS, str(notebook)],
        cwd=tmp_path,
        env=project.variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    rows, _, answer = ran.stdout.splitlines()[-1].partition(" ")
    assert int(rows) >= 4
    assert answer.strip()

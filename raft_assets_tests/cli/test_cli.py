"""`raft` as a person types it: what it says, what it writes, how it ends."""

import json
import os
import shlex
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from raft_assets.cli.main import raft
from raft_assets.cli.project import activate_project
from raft_assets.core.errors import RaftError
from raft_assets.core.tables import Chunk, RaftRow
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.requests import Usage
from raft_assets.llm.store import StoredCall
from raft_assets.operations.process import records_of
from raft_assets.settings.blob import KEY_VARIABLE
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> ProjectHarness:
    return ProjectHarness(tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize("command", raft.commands)
def test_every_command_has_help_with_examples(empty: ProjectHarness, command: str) -> None:
    shown = empty.raft_here(command, "--help")
    assert shown.returncode == 0
    assert "Examples:" in shown.stdout
    assert f"raft {command}" in shown.stdout.split("Examples:")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run",), 2, "Name a domain or pass --all"),
        (("run", "--all"), 2, "There is no domain in"),
        (("run", "nowhere"), 2, "There is no domain 'nowhere'"),
        (("report",), 2, "There is no report"),
        (("nonsense",), 2, "No such command"),
        (("doctr",), 2, "'doctor'"),
        (("run", "--all", "--preset", "nowhere"), 2, "There is no domain"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_two(
    empty: ProjectHarness, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = empty.raft_here(*arguments)
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_that_can_be_no_domain_stops_nobody_else(copied: ProjectHarness) -> None:
    copied.write("data/a,b/x.txt", "The harbour of Marrow Bay was dredged in 1931.\n")
    everything = copied.raft("run", "--all")
    assert everything.returncode == 0
    assert "left out: The folder name 'a,b' can't be a domain" in everything.stderr
    named = copied.raft("run", "a,b")
    assert named.returncode == 2
    assert "Rename the folder" in named.stderr


@pytest.mark.parametrize("home", ["/proc/nowhere", "/etc/passwd"])
def test_a_home_that_cannot_be_written_is_one_sentence(copied: ProjectHarness, home: str) -> None:
    copied.own_variables["RAFT_HOME"] = home
    for command in (("run", "--all"), ("status",)):
        ended = copied.raft(*command)
        assert ended.returncode == 2
        assert "Set RAFT_HOME" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_wrong_question_is_told_with_file_line_and_field(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/questions.jsonl", '{"id": "a", "question": "Why?", "answers": "no list"}\n')
    ended = copied.raft("run", SMALL, "--select", "golden_questions")
    assert ended.returncode == 1
    assert "questions.jsonl, line 1" in ended.stdout
    assert "answers" in ended.stdout
    seen = json.loads(copied.raft_here("status", SMALL, "--json").stdout)["assets"]
    assert seen["golden_questions"]["state"] == "failed"
    assert "line 1" in seen["golden_questions"]["reasons"][0]
    assert seen["qa_dataset"]["state"] == "will follow"


def test_wrong_settings_stop_a_run_before_anything_is_made(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", "chunks: {chunk_size: 3}")
    ended = copied.raft("run", "--all")
    assert ended.returncode == 2
    assert "chunks.chunk_size is 3" in ended.stderr
    assert copied.runs_of_command() == 1


def test_an_unknown_asset_is_refused_with_the_known_ones(copied: ProjectHarness) -> None:
    ended = copied.raft("run", SMALL, "--select", "chunk")
    assert ended.returncode == 2
    assert "There is no asset 'chunk'. Did you mean 'chunks'?" in ended.stderr
    assert "chunk_embeddings" in ended.stderr


def test_selecting_an_asset_stops_there_and_a_preset_is_remembered(copied: ProjectHarness) -> None:
    ended = copied.raft("run", SMALL, "--select", "qa_dataset", "--preset", "hard_distractors")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert set(copied.not_fresh(SMALL)) >= {"training_files"}
    assert "qa_dataset" not in copied.not_fresh(SMALL)
    assert "hard_distractors" in copied.raft_here("domains").stdout
    assert "presets/hard_distractors.yaml" in copied.raft_here("config", SMALL).stdout


def test_status_says_the_state_of_every_asset_for_people_and_for_scripts(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2}")
    seen = json.loads(copied.raft_here("status", SMALL, "--json").stdout)
    assert seen["assets"]["qa_dataset"] == {"state": "stale", "reasons": ["domain_settings/dataset changed"]}
    assert seen["assets"]["chunks"] == {"state": "fresh", "reasons": []}
    assert seen["verdict"] == copied.results.verdicts()[SMALL]["sentence"]
    shown = copied.raft_here("status").stdout
    assert "domain_settings/dataset changed" in shown


def test_config_prints_values_with_their_sources_and_no_key(copied: ProjectHarness) -> None:
    copied.own_variables.clear()
    copied.write(".env", "TEACHER_OPENAI_API_KEY=sk-canary\nTEACHER_OPENAI_DEPLOYMENT=big\n")
    shown = copied.raft_here("config", SMALL).stdout
    assert "chunks.chunk_size = 160  # presets/default.yaml" in shown
    assert "TEACHER = big" in shown
    assert "canary" not in shown


def test_compute_logs_follow_the_lake_and_the_rest_of_dagster_yaml_stays_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DAGSTER_HOME", "RAFT_PROJECT"):
        monkeypatch.setenv(name, "")  # and is put back afterwards
    file = tmp_path / ".raft" / "dagster_home" / "dagster.yaml"

    def entered(lake: str) -> str:
        activate_project(Project.load(tmp_path, {"RAFT_PROJECT": str(tmp_path), "RAFT_LAKE": lake}))
        return file.read_text("utf-8")

    there = entered("abfs://lake@one.dfs.core.windows.net/raft")
    assert "storage_account: one\n" in there
    file.write_text(there.replace("start_timeout_seconds: 180", "start_timeout_seconds: 240"))
    moved = entered("abfs://lake@two.dfs.core.windows.net/raft")
    assert "storage_account: two\n" in moved
    assert "start_timeout_seconds: 240" in moved
    assert "compute_logs:" not in entered(str(tmp_path / "lake"))
    for own in ("telemetry:\n  enabled: false\n", ""):
        file.write_text(own)
        assert entered("abfs://lake@two.dfs.core.windows.net/raft") == own


def test_a_dagster_yaml_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    opened = Project.load(tmp_path, {"RAFT_PROJECT": str(tmp_path)})
    opened.dagster_home.mkdir(parents=True)
    (opened.dagster_home / "dagster.yaml").write_bytes(b"# \xff")
    with pytest.raises(RaftError, match=r"dagster\.yaml can't be used .* fix it, or delete it"):
        activate_project(opened)


def test_a_dagster_yaml_that_cannot_be_read_is_one_sentence(copied: ProjectHarness) -> None:
    (copied.opened.dagster_home / "dagster.yaml").write_text("telemetry: [")
    ended = copied.raft_here("status")
    assert ended.returncode == 2
    assert "dagster.yaml can't be used (" in ended.stderr
    assert "fix it, or delete it and it is created again." in ended.stderr


def test_a_storage_key_of_the_project_reaches_dagster(copied: ProjectHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "")  # and is put back afterwards
    copied.write(".env", f"{KEY_VARIABLE}=a-key\n")
    for name in ("DAGSTER_HOME", "RAFT_PROJECT"):
        monkeypatch.setenv(name, "")
    activate_project(copied.opened)
    assert os.environ[KEY_VARIABLE] == "a-key"


def test_doctor_proves_a_sound_project_and_names_what_is_wrong(copied: ProjectHarness) -> None:
    sound = copied.raft_here("doctor")
    assert sound.returncode == 0, sound.stdout
    assert "role TEACHER: embedded-teacher" in sound.stdout
    copied.own_variables = {"STUDENT_OPENAI_API_KEY": "sk-canary"}
    wrong = copied.raft_here("doctor")
    assert wrong.returncode == 1
    assert wrong.stdout.count("STUDENT is half configured") == 1  # what several checks find is told once
    assert "canary" not in wrong.stdout + wrong.stderr


def test_a_run_signs_in_to_azure_before_anything_is_paid_and_says_in_a_sentence_what_is_missing(
    copied: ProjectHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAFT_PROVIDER", raising=False)
    copied.own_variables |= {
        "RAFT_PROVIDER": "",
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",  # asks nobody
        "TEACHER_AZURE_OPENAI_ENDPOINT": "https://nowhere.openai.azure.com",
        "TEACHER_AZURE_OPENAI_DEPLOYMENT": "teacher",
    }
    copied.write(f"data/{SMALL}/more.md", "# Roosts\n\nThe roost at Alba mill was found in 1931 by Ann Bell.\n")
    with open_call_store(copied.opened) as store:
        before = store.stats().calls
    ended = copied.raft("run", SMALL)
    assert ended.returncode != 0
    (said,) = ended.stderr.splitlines()
    assert said.startswith("Error: TEACHER is on Azure without a key, and signing in failed (")
    assert said.endswith("run `az login`, or set TEACHER_AZURE_OPENAI_API_KEY.")
    with open_call_store(copied.opened) as store:
        assert store.stats().calls == before


def test_without_weights_doctor_and_run_say_what_to_install_and_no_model_is_asked(
    copied: ProjectHarness, tmp_path: Path
) -> None:
    copied.own_variables["RAFT_ENCODER_DIR"] = str(tmp_path / "nothing")
    ended = copied.raft_here("doctor")
    assert ended.returncode == 1
    assert "remove RAFT_ENCODER_DIR and install it with `raft embedded install`" in ended.stdout
    assert "problem  role EMBEDDING: embedded-encoder needs the encoder weights" in ended.stdout
    copied.write(f"data/{SMALL}/new.txt", "The harbour of Marrow Bay was dredged in 1931.\n")
    asked = stored_calls(copied)
    ran = copied.raft_here("run", "--all")
    assert ran.returncode == 2
    assert "install it with `raft embedded install`" in ran.stderr
    assert copied.not_fresh(SMALL)["source_documents"] == "stale"  # nothing was begun
    assert stored_calls(copied) == asked


def stored_calls(project: ProjectHarness) -> int:
    with open_call_store(project.opened) as store:
        return store.stats().calls


def test_doctor_reports_an_endpoint_that_does_not_answer(copied: ProjectHarness) -> None:
    copied.own_variables = {"TEACHER_OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "TEACHER_OPENAI_DEPLOYMENT": "m"}
    ended = copied.raft_here("doctor")
    assert ended.returncode == 1
    assert "TEACHER (m at http://127.0.0.1:9/v1) does not respond" in ended.stdout


def test_doctor_says_where_a_prompt_does_not_fit_into_the_model(copied: ProjectHarness) -> None:
    copied.own_variables = {
        "BASELINE_OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "BASELINE_OPENAI_DEPLOYMENT": "meta-llama/Llama-2-7b",
    }
    assert "ok       context BASELINE: meta-llama/Llama-2-7b takes 4,096 tokens" in copied.raft_here("doctor").stdout
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 40}\n")
    told = copied.raft_here("doctor").stdout
    assert "problem  context BASELINE: meta-llama/Llama-2-7b takes 4,096 tokens, and a prompt of " in told


def test_doctor_tells_what_services_have_taught_and_forgets_it_on_demand(copied: ProjectHarness) -> None:
    taught = "ok       learned http://127.0.0.1:9/v1 m: seed is left out"
    Capabilities(records_of(copied.opened), "http://127.0.0.1:9/v1", "m", family="m").learn("seed", None)
    assert taught in copied.raft_here("doctor").stdout
    assert taught not in copied.raft_here("doctor", "--relearn").stdout
    assert taught not in copied.raft_here("doctor").stdout


@pytest.mark.parametrize("form", ["hf", "chat", "completion", "eval"])
@pytest.mark.parametrize("container", ["jsonl", "parquet"])
def test_an_export_holds_every_row_of_its_split(
    finished: ProjectHarness, tmp_path: Path, form: str, container: str
) -> None:
    ended = finished.raft_here("export", SMALL, "--format", form, "--container", container, "--to", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    read = pd.read_parquet if container == "parquet" else lambda file: pd.read_json(file, lines=True)
    rows = list(finished.lake.rows(RaftRow, SMALL))
    files = {file.stem: file for file in map(Path, ended.stdout.split())}
    for name, split in {"train": "train", "validation": "valid", "test": "eval"}.items():
        assert len(read(files[name])) == sum(row.split == split for row in rows)


def test_the_lake_opens_with_pandas(finished: ProjectHarness) -> None:
    frame = pd.read_parquet(str(finished.lake.path("chunks", SMALL)))
    assert len(frame) == len(list(finished.lake.rows(Chunk, SMALL)))


def test_report_says_where_it_is(finished: ProjectHarness) -> None:
    shown = finished.raft_here("report", SMALL).stdout.strip()
    assert Path(shown).read_text("utf-8").startswith("<!doctype html>")
    assert Path(finished.raft_here("report").stdout.strip()).is_file()


def test_costs_are_told_by_asset_and_stand_in_duckdb(copied: ProjectHarness) -> None:
    told = copied.raft_here("costs", SMALL, "--by", "asset", "--json")
    lines = {line["name"]: line for line in map(json.loads, told.stdout.splitlines())}
    assert {"chunk_embeddings", "qa_pairs", "baseline_answers", "student_answers"} <= lines.keys()
    assert all(line["dollars"] == line["unpriced"] == 0 for line in lines.values())  # the embedded provider is free
    assert lines["qa_pairs"]["output_tokens"] > 0
    table = copied.results.query("SELECT asset, sum(calls) AS calls FROM costs GROUP BY asset")
    assert dict(zip(table["asset"], table["calls"], strict=True)) == {n: line["calls"] for n, line in lines.items()}
    assert "qa_pairs" in copied.raft_here("costs").stdout


ANSWERED = b'{"choices": [{"message": {"content": "It is."}, "finish_reason": "stop"}]}'


def test_costs_say_which_tokens_are_estimated_and_what_failed_calls_cost(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path)
    project.write("prices.yaml", "- {model: m, input: 10, output: 20, source: ours, date: 2026-11-28}")
    told = StoredCall(
        "a", "https://llm.invalid", "m", "chat", "ok", Usage(1000, 0, 100), 1.0, 1.8e9, ANSWERED, role="JUDGE"
    )
    counted = replace(told, key="b", role="TEACHER", usage=Usage(2000, 0, 200, estimated=1))
    failed = replace(told, key="c", role="TEACHER", status="failed", payload=b'{"error": {"message": "it broke off"}}')
    with open_call_store(project.opened) as store:
        store.put([told, counted, failed])
    told_costs = project.raft_here("costs", "--by", "role").stdout
    lines = {line.split()[0]: line.split()[1:] for line in told_costs.splitlines() if line}
    assert lines["TEACHER"] == ["2", "~3,000", "~0", "~300", "~0.0360"]
    assert lines["JUDGE"] == ["1", "1,000", "0", "100", "0.0120"]
    assert "tokens were counted here, because their service told none: 1" in told_costs
    rows = [json.loads(line) for line in project.raft_here("costs", "--by", "role", "--json").stdout.splitlines()]
    assert {row["name"]: row["estimated"] for row in rows} == {"TEACHER": 1, "JUDGE": 0}
    table = project.results.query("SELECT role, sum(estimated) AS estimated FROM costs GROUP BY role ORDER BY role")
    assert list(table["estimated"]) == [0, 1]
    assert "it broke off" in project.raft_here("calls", "list").stdout
    assert (
        len(project.raft_here("calls", "list", "--rejected").stdout.splitlines()) == 1
    )  # its header: none is unusable


def test_stored_calls_can_be_listed_shown_and_pruned(copied: ProjectHarness) -> None:
    listed = copied.raft_here("calls", "list", "--role", "teacher", "-n", "3").stdout.splitlines()
    assert len(listed) == 4
    key = listed[1].split()[0]
    shown = json.loads(copied.raft_here("calls", "show", key).stdout)
    assert shown["role"] == "TEACHER"
    assert shown["asset"] == "qa_pairs"
    assert shown["answer"]["choices"]
    assert copied.raft_here("calls", "show", "zz").returncode == 2
    before = calls_in(copied)
    for answer in ("n\n", ""):
        declined = copied.raft_here("calls", "prune", "--model", shown["model"], typed=answer)
        assert (declined.returncode, declined.stderr.strip()) == (1, "Nothing was done.")
        assert calls_in(copied) == before
    pruned = copied.raft_here("calls", "prune", "--model", shown["model"], "--yes")
    assert "calls deleted" in pruned.stdout
    assert calls_in(copied) < before
    assert copied.raft_here("calls", "prune").returncode == 2


def calls_in(project: ProjectHarness) -> int:
    return int(project.raft_here("calls", "size").stdout.split()[0].replace(",", ""))


def test_results_answer_sql_and_are_not_changed_by_it(copied: ProjectHarness) -> None:
    assert "current_verdicts" in copied.raft_here("sql").stdout
    query = "SELECT domain, decision, n FROM current_verdicts"
    (verdict,) = map(json.loads, copied.raft_here("sql", query, "--json").stdout.splitlines())
    assert verdict["domain"] == SMALL
    table = copied.raft_here("sql", query, "--csv").stdout.splitlines()
    assert table == ["domain,decision,n", f"{SMALL},{verdict['decision']},{verdict['n']}"]
    assert verdict["decision"] in copied.raft_here("sql", query).stdout
    formulas = copied.raft_here("sql", "SELECT '=1+1' AS \"=x\", -5 AS y, '@SUM(A1)' AS z", "--csv").stdout.splitlines()
    assert formulas == ["'=x,y,z", "'=1+1,-5,'@SUM(A1)"]
    joined = copied.raft_here("sql", "SELECT 1 AS a, 2 AS a_1, 3 AS a", "--json").stdout
    assert json.loads(joined) == {"a": 1, "a_1": 2, "a_2": 3}


@pytest.mark.parametrize(
    "command",
    ["sql 'SELECT 1'", "costs", "calls list", "calls size", "batches", "purge bats --yes", "status", "doctor"],
)
def test_where_there_is_no_project_a_question_creates_none(command: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    asked = ProjectHarness(tmp_path).raft(*shlex.split(command), variables={"RAFT_PROJECT": str(empty)})
    assert asked.returncode == 2
    assert "raft init" in asked.stderr
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("query", "limit", "said"),
    [  # DuckDB counts no memory of a single function, and can't interrupt it
        ("length(repeat('x', 1500000000))", "MEMORY_GB", "needs more than 1 GB of memory"),
        ("levenshtein(repeat('a', 300000), repeat('b', 300000))", "TIMEOUT_S", "took longer than 1 s"),
    ],
)
def test_a_single_function_passes_no_limit_of_a_query_either(
    query: str, limit: str, said: str, copied: ProjectHarness
) -> None:
    ended = copied.raft("sql", f"SELECT {query}", variables={f"RAFT_SQL_{limit}": "1"})
    assert ended.returncode == 2
    assert said in ended.stderr
    assert f"RAFT_SQL_{limit}" in ended.stderr


def test_a_query_that_is_wrong_or_reaches_further_is_refused_in_one_sentence(copied: ProjectHarness) -> None:
    refused = "DuckDB rejected the query"
    for query, said in {
        "SELECT nothing FROM current_verdicts": refused,
        "DELETE FROM runs": "Only one query that reads is allowed",
        "SELECT * FROM read_text('/etc/passwd')": refused,
        "SELECT * FROM sqlite_scan('a', 'b')": "it exists in the sqlite_scanner extension",  # which isn't installed
        "SELECT 'infinity'::DATE AS a": "Write the column as text: CAST(name AS VARCHAR)",
        "SELECT INTERVAL 3 DAY AS a": "Write the column as text: CAST(name AS VARCHAR)",
    }.items():
        ended = copied.raft_here("sql", query, "--json")
        assert ended.returncode == 2
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr

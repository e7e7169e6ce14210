"""The command line for scripts and shells: JSON, exit codes, completion, and what fits into 80 columns."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from rich.cells import cell_len
from rich.console import Console

from raft_assets.cli.commands.completion import ASSETS, ROLES
from raft_assets.cli.main import raft
from raft_assets.cli.run import PROGRESS_LINE_S, DomainRun, fit_progress, print_progress
from raft_assets.defs.staleness import assets_in_order
from raft_assets.evaluation.wording import format_rate
from raft_assets.settings.endpoints import Role
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

READING = {
    ("azure", "status"): (),
    ("ask",): (SMALL, "What do bats eat?"),
    ("batches",): (),
    ("calls", "list"): ("-n", "3"),
    ("calls", "size"): (),
    ("compare",): (SMALL,),
    ("config",): (),
    ("costs",): (),
    ("doctor",): (SMALL,),
    ("domains",): (),
    ("estimate",): ("--all",),
    ("jobs",): (),
    ("preview",): (SMALL, "-n", "1"),
    ("questions", "check"): (SMALL,),
    ("report",): (SMALL,),
    ("sql",): ("SELECT domain, n FROM current_verdicts",),
    ("status",): (),
    ("student",): (SMALL,),
    ("teardown",): ("--all", "--dry-run"),
}
SILENT = {("batches",), ("estimate",), ("teardown",)}  # nothing to tell of a finished project without deployments
REFUSED = {("azure", "status"), ("compare",)}  # nothing was made with azd; one student is none to compare
ALWAYS_JSON = {("calls", "show")}
ACTING = {
    *(("init",), ("embedded", "install"), ("local", "install"), ("local", "pull"), ("azure", "configure")),
    *(("azure", "export"), ("azure", "preflight"), ("azure", "predown")),
    *(("azure-evaluation",), ("calls", "prune"), ("domains", "forget"), ("evaluate",), ("export",), ("import",)),
    *(("purge",), ("questions", "add"), ("questions", "sheet"), ("rebuild",), ("review", "export")),
    *(("review", "import"), ("run",), ("serve",), ("ui",)),
}


def leaves(command: click.Command, *names: str) -> dict[tuple[str, ...], click.Command]:
    """The commands that do something, by their words."""
    if not isinstance(command, click.Group):
        return {names: command}
    own = {names: command} if command.invoke_without_command else {}
    return own | {
        line: one for name, part in command.commands.items() for line, one in leaves(part, *names, name).items()
    }


def test_every_command_that_reads_has_json() -> None:
    takes_json = {line for line, command in leaves(raft).items() if any("--json" in one.opts for one in command.params)}
    assert takes_json == READING.keys()
    assert leaves(raft).keys() == READING.keys() | ALWAYS_JSON | ACTING


def test_json_is_an_object_a_line_and_nothing_else_is_on_stdout(copied: ProjectHarness) -> None:
    copied.write(".env", "JUDGE_OPENAI_API_KEY=sk-canary\nJUDGE_OPENAI_DEPLOYMENT=m\n")
    told = dict[tuple[str, ...], list[dict[str, object]]]()
    for line, arguments in READING.items():
        shown = copied.raft_here(*line, *arguments, "--json")
        assert shown.returncode in ({2} if line in REFUSED else {0, 1}), (line, shown.stderr)
        told[line] = [json.loads(one) for one in shown.stdout.splitlines()]
        assert all(isinstance(one, dict) for one in told[line]), line
        assert "canary" not in shown.stdout + shown.stderr
    assert {line for line, objects in told.items() if not objects} <= SILENT | REFUSED
    copied.own_variables.clear()
    config = json.loads(copied.raft_here("config", "--json").stdout)
    assert config["roles"]["JUDGE"]["has_key"] is True
    assert "canary" not in json.dumps(config)
    assert config["settings"]["chunks.chunk_size"] == {"value": 160, "source": "presets/default.yaml"}
    assert told[("domains",)] == [
        {"domain": SMALL, "documents": 4, "bytes": told[("domains",)][0]["bytes"], "preset": "default"}
    ]
    assert {finding["level"] for finding in told[("doctor",)]} <= {"ok", "warning", "problem"}
    assert told[("doctor",)][0]["subject"] == f"outlook {SMALL}"
    (preview,) = told[("preview",)]
    assert (preview["documents"], preview["asked_about"]) == (4, 1)
    assert preview["rows"][0]["documents"]  # type: ignore[index]
    assert len(told[("calls", "list")]) == 3
    assert told[("calls", "size")][0]["calls"] > 3  # type: ignore[operator]
    assert told[("jobs",)][0]["status"] == "succeeded"
    assert told[("report",)][0]["domain"] == SMALL


def test_status_has_a_word_for_what_will_follow_and_a_script_asks_by_exit_code(copied: ProjectHarness) -> None:
    assert copied.raft_here("status", "--exit-code").returncode == 0
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2}")
    asked = copied.raft_here("status", "--exit-code", "--json")
    assert asked.returncode == 1
    states = {name: asset["state"] for name, asset in json.loads(asked.stdout)["assets"].items()}
    assert states["qa_dataset"] == "stale"
    assert states["training_files"] == states["eval_report"] == "will follow"
    assert states["chunks"] == "fresh"
    shown = copied.raft_here("status")
    assert shown.returncode == 0
    assert "will follow" in shown.stdout


def completed(*words: str) -> list[str]:
    """What a shell offers for the last word."""
    found = ShellComplete(raft, {}, "raft", "_RAFT_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found]


def test_domains_presets_assets_and_roles_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = ProjectHarness(tmp_path)
    for name in ("bats", "harbor handbook"):
        project.write(f"data/{name}/a.txt", "A.\n")
    monkeypatch.setenv("RAFT_PROJECT", str(tmp_path))
    assert completed("run", "") == ["bats", "harbor handbook"]
    assert completed("run", "bats", "") == ["harbor handbook"]
    assert completed("calls", "list", "--domain", "B") == ["bats"]
    assert "hard_distractors" in completed("run", "--preset", "h")
    assert completed("run", "--select", "eval_s") == ["eval_scores"]
    assert completed("calls", "list", "--role", "te") == ["TEACHER"]
    assert completed("qu") == ["questions"]
    monkeypatch.setenv("RAFT_PROJECT", str(tmp_path / "nowhere"))
    assert completed("run", "") == []
    assert tuple(key.to_user_string() for key in assets_in_order(project.graph)) == ASSETS
    assert tuple(Role) == ROLES


def test_bash_gets_a_domain_of_two_words_as_one_word(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path)
    project.write("data/harbor handbook/a.txt", "A.\n")
    command = tmp_path / "bin" / "raft"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom raft_assets.cli.main import main\nmain()\n", "utf-8")
    command.chmod(0o755)
    script = (
        'eval "$(_RAFT_COMPLETE=bash_source raft)"; COMP_WORDS=(raft run har); COMP_CWORD=2; _raft_completion raft; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{command.parent}:/usr/bin:/bin"
    shown = subprocess.run(
        ["bash", "-c", script],
        env=project.variables | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == ["harbor\\ handbook"], shown.stderr


@pytest.mark.parametrize("domain", ["bats", "the harbour handbook of Marrow Bay, 1931 edition", "港" * 60])
@pytest.mark.parametrize(
    "progress",
    [
        "123,456 of 1,234,567 calls (120,000 from store), 1,234/s, 12 min 3 s left",
        "pairs checked: 9 of 10, 3/s, 0 s left",
    ],
)
def test_a_line_of_progress_fits_into_80_columns_and_keeps_rate_and_time_left(domain: str, progress: str) -> None:
    line = fit_progress(domain, "11 of 15 assets, 1 h 12 min", "student_answers", progress, 80)
    assert cell_len(line) <= 80
    assert "/s, " in line
    assert line.endswith(" left")


def test_a_long_asset_is_told_now_and_then_where_there_is_no_terminal() -> None:
    printed = io.StringIO()
    item = DomainRun("bats", 15, Path("bats.log"), asset="baseline_answers", told=time.monotonic())
    for calls, seconds_later in ((3, 0.0), (4, PROGRESS_LINE_S), (5, 0.0)):
        item.progress, item.told = f"{calls} of 26 calls, 6/min", item.told - seconds_later
        print_progress(item, Console(file=printed))
    assert printed.getvalue() == "bats: baseline_answers: 4 of 26 calls, 6/min\n"


@pytest.mark.parametrize(
    ("per_second", "said"), [(1234.4, "1,234/s"), (1, "1/s"), (0.1, "6/min"), (1 / 60, "1/min"), (0.01, "36/h")]
)
def test_what_is_slow_is_counted_by_the_minute_or_hour(per_second: float, said: str) -> None:
    assert format_rate(per_second) == said


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("staus",), "'status'"),
        (("calls", "lst"), "'list'"),
        (("config", "smal"), f"'{SMALL}'"),
        (("run", SMALL, "--preset", "hard_distractor"), "'hard_distractors'"),
        (("calls", "list", "--role", "techer"), "'TEACHER'"),
        (("calls", "list", "--domain", "smal"), f"'{SMALL}'"),
        (("domains", "forget", "smal"), f"'{SMALL}'"),
    ],
)
def test_who_mistypes_a_name_is_told_what_was_meant(
    finished: ProjectHarness, arguments: tuple[str, ...], meant: str
) -> None:
    told = finished.raft_here(*arguments)
    assert told.returncode == 2
    assert meant in told.stderr.partition("Did you mean")[2]

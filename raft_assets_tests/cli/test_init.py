"""`raft init`: what it makes, that it changes nothing that is there, and where it refuses."""

import io
import os
import re
import stat
import sys
from pathlib import Path

import pytest
import yaml

from raft_assets.cli.main import raft
from raft_assets.core.errors import RaftError
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.domains import domain_folder, domain_names, list_documents
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project

PARTS = [".env", ".gitignore", "presets/default.yaml", "workspace.yaml"]


class Terminal(io.StringIO):
    """Standard input or output that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a person types; nothing of the tester's own project is known there."""
    for name in [name for name in os.environ if name.startswith(("RAFT_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def init(*arguments: str) -> None:
    raft.main(["init", *arguments], standalone_mode=False)


def texts(folder: Path) -> dict[str, bytes]:
    """Content of the files of a folder, by path; what a link leads to is left out."""
    return {
        Path(parent, name).relative_to(folder).as_posix(): Path(parent, name).read_bytes()
        for parent, _, names in os.walk(folder)
        for name in names
    }


def documents_of(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "a.md").write_text("# Cranes\n\nEvery lift above 20 tonnes is released by the duty engineer.\n" * 9)
    (folder / "old").mkdir()
    (folder / "old" / "b.html").write_text("<p>The quay was dredged in 1931.</p>")
    return folder


def test_a_new_project_has_all_parts_and_says_what_to_do_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init("mine")
    assert sorted(texts(here / "mine")) == PARTS
    assert stat.S_IMODE((here / "mine" / ".env").stat().st_mode) == 0o600
    assert {".raft/", ".env"} <= set((here / "mine" / ".gitignore").read_text().splitlines())
    project = Project.load(here / "mine", {})
    assert all(endpoint.provider == "embedded" for endpoint in project.endpoints.values())
    told = capsys.readouterr().out
    assert "cd mine\n" in told
    assert told.index("mkdir data/mine") < told.index("raft doctor mine") < told.index("raft run mine")


def test_the_templates_hold_settings_that_are_read_as_they_stand(here: Path) -> None:
    init(".")
    template = (here / ".env").read_text("utf-8")
    chosen = {}
    for block in template.split("# ---")[1:]:
        (here / ".env").write_text(re.sub(r"(?m)^#(?=[A-Z])", "", f"#{block}").replace("API_KEY=\n", "API_KEY=x\n"))
        project = Project.load(here, {})
        chosen[block.split()[0]] = project.endpoints[Role.TEACHER].service
        settings_of_others = (project.budget.run, project.endpoints[Role.TEACHER].limits.requests_per_minute)
    assert (chosen["The"], chosen["OpenAI:"]) == ("http://127.0.0.1:8000/v1", "https://api.openai.com/v1")
    assert chosen["Azure"] == "https://my-resource.openai.azure.com"
    assert settings_of_others == (None, 500)  # of the last block
    preset = re.sub(r"(?m)^#(?=\w|  )", "", (here / "presets" / "default.yaml").read_text("utf-8"))
    values = yaml.safe_load(preset)
    assert len(values) > 5
    assert DomainSettings.model_validate(values) == DomainSettings()


def test_a_second_init_changes_nothing_and_says_what_is_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init("mine", "--example")
    for name in PARTS:
        with (here / "mine" / name).open("a") as file:
            file.write("# my own line\n")
    (here / "mine" / "data" / "bats" / "questions.jsonl").write_text("")
    before = texts(here / "mine")
    capsys.readouterr()
    init("mine", "--example")
    assert texts(here / "mine") == before
    told = capsys.readouterr().out
    assert [line.split()[1] for line in told.splitlines() if line.startswith("  kept")] == [
        "data/",
        "workspace.yaml",
        "presets/default.yaml",
        ".env",
        ".gitignore",
        "data/bats",
    ]
    assert "Everything was there already" in told


def test_wrong_settings_are_not_taken_for_a_missing_encoder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".env").write_text("TEACHER_OPENAI_BASE_URL=https://user:password@example.com/v1\n", "utf-8")
    init()
    told = capsys.readouterr().out
    assert "raft doctor mine" in told
    assert "raft embedded install" not in told


def test_the_example_is_asked_for_on_a_terminal_alone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    init("by-a-script")
    assert not any((here / "by-a-script" / "data").iterdir())
    for typed, copied in (("y\n", ["bats"]), ("n\n", [])):
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        with monkeypatch.context() as terminal:
            terminal.setattr(sys, "stdout", out := Terminal())
            init(f"by-hand-{typed.strip()}")
        assert "10 articles and 103 questions" in out.getvalue()
        assert domain_names(here / f"by-hand-{typed.strip()}" / "data") == copied


def test_what_is_said_of_the_example_is_so(here: Path) -> None:
    init(".", "--example")
    folder = domain_folder(here / "data", "bats")
    assert len(list_documents(folder)) == 10
    assert len((folder / "questions.jsonl").read_text("utf-8").splitlines()) == 103


def test_documents_become_a_domain_where_they_are(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = documents_of(here / "manuals")
    before = texts(documents)
    monkeypatch.chdir(documents)
    init()
    assert "is the domain manuals: 2 documents, none moved or changed" in capsys.readouterr().out
    assert {path: text for path, text in texts(documents).items() if not path.startswith("raft/")} == before
    for folder in (documents, documents / "raft"):  # raft works in both
        monkeypatch.chdir(folder)
        project = Project.load()
        assert project.folder == documents / "raft"
        assert domain_names(project.data) == ["manuals"]
        assert [file.path for file in list_documents(domain_folder(project.data, "manuals"))] == ["a.md", "old/b.html"]
        init()
        assert "Everything was there already" in capsys.readouterr().out
    monkeypatch.chdir(here)
    documents.rename(here / "moved")  # the project goes with them
    moved = Project.load(here / "moved" / "raft", {})
    assert len(list_documents(domain_folder(moved.data, "manuals"))) == 2


def test_a_sheet_of_questions_is_not_written_among_the_documents(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = documents_of(here / "manuals")
    monkeypatch.chdir(documents)
    init()
    raft.main(["questions", "sheet", "manuals"], standalone_mode=False)
    assert (documents / "raft" / "manuals-questions.csv").is_file()
    with pytest.raises(RaftError, match="would be read as a document"):
        raft.main(["questions", "sheet", "manuals", "--to", "mine.csv"], standalone_mode=False)
    assert len(list_documents(domain_folder(documents / "raft" / "data", "manuals"))) == 2


def test_documents_elsewhere_are_linked(here: Path) -> None:
    documents = documents_of(here / "manuals")
    init("mine", "--documents", "manuals")
    assert (here / "mine" / "data" / "manuals").resolve() == documents
    assert len(list_documents(domain_folder(here / "mine" / "data", "manuals"))) == 2


def test_a_readme_alone_makes_no_folder_of_documents(here: Path) -> None:
    (here / "README.md").write_text("# Mine\n")
    init()
    assert (here / "workspace.yaml").is_file()


def test_the_ui_of_no_project_says_how_to_make_one_and_writes_nothing(here: Path) -> None:
    with pytest.raises(RaftError, match=r"here is no project, as it has no workspace.yaml: raft init"):
        raft.main(["ui"], standalone_mode=False)
    assert not any(here.iterdir())


def in_a_project(here: Path) -> list[str]:
    init("mine")
    return ["mine/sub"]


def in_a_file(here: Path) -> list[str]:
    (here / "mine").write_text("")
    return ["mine"]


def below_a_file(here: Path) -> list[str]:
    (here / "mine").write_text("")
    return ["mine/sub"]


def with_a_file_for_data(here: Path) -> list[str]:
    (here / "data").write_text("")
    return ["."]


def with_a_folder_for_a_file(here: Path) -> list[str]:
    (here / ".env").mkdir()
    return ["."]


def where_nothing_can_be_written(here: Path) -> list[str]:
    return ["/proc/mine"]


def in_another_dagster_project(here: Path) -> list[str]:
    (here / "workspace.yaml").write_text("load_from: [{python_module: theirs}]\n")
    return ["."]


def with_documents_that_are_none(here: Path) -> list[str]:
    return ["mine", "--documents", "nowhere"]


def with_everything_as_documents(here: Path) -> list[str]:
    return ["mine", "--documents", "/"]


def with_a_folder_raft_of_another(here: Path) -> list[str]:
    documents_of(here / "manuals")
    (here / "manuals" / "raft").mkdir()
    (here / "manuals" / "raft" / "boat.txt").write_text("A raft floats.")
    return ["manuals"]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (in_a_project, r"is inside the project .*mine \(workspace.yaml\).* name a folder outside of it"),
        (in_a_file, "mine is a file, and the project needs a folder there: rename it"),
        (below_a_file, "mine is a file, and the project needs a folder there: rename it"),
        (with_a_file_for_data, "data is a file, and the project needs a folder there: rename it"),
        (with_a_folder_for_a_file, r"\.env is a folder, and the project needs a file there: rename it"),
        (where_nothing_can_be_written, "can't be written .*: name a folder that you may write"),
        (in_another_dagster_project, "is of another Dagster project: add the python_module raft_assets.definitions"),
        (with_documents_that_are_none, "nowhere is no folder: name the folder that holds the documents"),
        (with_everything_as_documents, "/ holds everything, not only documents"),
        (with_a_folder_raft_of_another, r"is there and is none: name another place, such as raft init \.\./my-project"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_stands_in_the_way_is_said_before_anything_is_written(here: Path, prepare: object, said: str) -> None:
    assert callable(prepare)
    arguments = prepare(here)
    before = texts(here)
    with pytest.raises(RaftError, match=said):
        init(*arguments)
    assert texts(here) == before

"""How many tokens a text has to the student."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from raft_assets.core.errors import SettingsError
from raft_assets.defs.observation import observe_domain
from raft_assets.operations.student_tokens import student_tokenizer
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets_tests.harness import ProjectHarness

GROUP = "training_files"


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    found = ProjectHarness(tmp_path)
    found.write("data/mine/a.txt", "A bat is no bird.")
    return found


def tokenizer(folder: Path, unknown: str = "[UNK]") -> Path:
    """A tokenizer that knows two words and takes any other for one token."""
    made = Tokenizer(models.WordLevel({unknown: 0, "bat": 1, "bird": 2}, unk_token=unknown))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return folder


def counted(project: Project, chosen: str = "auto") -> tuple[str, int]:
    name, count = student_tokenizer(project, project.endpoints[Role.STUDENT], chosen)
    return name, count("A bat is no bird, bats aren't.")


def group_version(project: ProjectHarness) -> str:
    """Data version of the settings that training files depend on."""
    (found,) = (one for one in observe_domain(project.opened, "mine") if one.key.path[-1] == GROUP)
    return found.data_version


def test_rows_are_counted_by_the_students_own_tokenizer_where_it_is_named(project: ProjectHarness) -> None:
    before = group_version(project)
    assert counted(project.opened)[0] == "wordpiece"
    project.own_variables["STUDENT_TOKENIZER"] = "own"
    folder = tokenizer(project.folder / "own")
    name, tokens = counted(project.opened)
    assert (name.split()[0], tokens) == ("tokenizer.json", 11)  # words and marks
    assert counted(project.opened, "o200k_base")[0] == "o200k_base"  # domain.yaml says otherwise
    named = group_version(project)
    assert named != before
    folder.rename(project.folder / "elsewhere")
    project.own_variables["STUDENT_TOKENIZER"] = "elsewhere"
    assert group_version(project) == named  # a path is no part of it
    tokenizer(project.folder / "other", unknown="[NONE]")
    project.own_variables["STUDENT_TOKENIZER"] = "other/tokenizer.json"
    assert group_version(project) != named


def test_a_tokenizer_that_is_none_says_so(project: ProjectHarness) -> None:
    project.own_variables["STUDENT_TOKENIZER"] = "nowhere"
    with pytest.raises(SettingsError, match="STUDENT_TOKENIZER is nowhere"):
        counted(project.opened)
    project.write("broken/tokenizer.json", "{}")
    project.own_variables["STUDENT_TOKENIZER"] = "broken"
    with pytest.raises(SettingsError, match="can't be read as a tokenizer"):
        counted(project.opened)

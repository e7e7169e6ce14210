"""What the sensor, `raft run` and `raft status` see of folders, settings and models."""

import json
import multiprocessing
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.synchronize import Barrier
from pathlib import Path

import dagster as dg
import pytest

from raft_assets.core import prompt_contract
from raft_assets.core.errors import DataError
from raft_assets.core.prompt_contract import INSTRUCTIONS
from raft_assets.defs.automation import observe_domains
from raft_assets.defs.lineage_asset import settings_key
from raft_assets.defs.observation import DOCUMENTS, QUESTIONS, REVIEWS, observe, observe_domain, register_domains
from raft_assets.operations.process import DOMAIN_PARTITIONS
from raft_assets_tests.harness import ProjectHarness

TEXT = "The harbour of Marrow Bay was dredged in 1931. The dredger was called Constance.\n"
PROCESSES, ROUNDS = 4, 20  # without a second try, some process is refused in nearly every round


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    project = ProjectHarness(tmp_path)
    project.write("data/mine/a.txt", TEXT)
    project.write("data/other one/b.md", "# Other\n\n" + TEXT)
    return project


def versions(project: ProjectHarness, domain: str) -> dict[dg.AssetKey, str]:
    return {seen.key: seen.data_version for seen in observe_domain(project.opened, domain)}


def changed(before: dict[dg.AssetKey, str], after: dict[dg.AssetKey, str]) -> set[dg.AssetKey]:
    return {key for key in before if before[key] != after[key]}


def test_domains_appear_and_disappear_with_their_folders(project: ProjectHarness) -> None:
    assert project.look() == ["mine", "other one"]
    (project.folder / "data" / "mine" / "a.txt").unlink()
    (project.folder / "data" / "mine").rmdir()
    assert project.look() == ["other one"]
    with project.instance() as instance:
        assert instance.get_dynamic_partitions(DOMAIN_PARTITIONS) == ["other one"]


def registered(project: ProjectHarness) -> list[str]:
    with project.instance() as instance:
        return sorted(instance.get_dynamic_partitions(DOMAIN_PARTITIONS))


def observed(project: ProjectHarness) -> str:
    """What a tick of the observing sensor, which runs by default, says."""
    with project.instance() as instance:
        ticked = observe_domains(dg.build_sensor_context(instance=instance, resources={"project": project.opened}))
    return str(ticked)


def empty_the_root(project: ProjectHarness) -> None:
    (project.folder / "data").rename(project.folder / "away")
    (project.folder / "data").mkdir()


def leave_a_file(project: ProjectHarness) -> None:
    empty_the_root(project)
    project.write("data/README.md", "Mount the disk here.\n")


def remove_the_root(project: ProjectHarness) -> None:
    (project.folder / "data").rename(project.folder / "away")


def make_the_root_unreadable(project: ProjectHarness) -> None:
    project.own_variables["RAFT_DATA"] = f"/{'x' * 300}"  # as any path that the system refuses, whoever asks


@pytest.mark.parametrize(
    ("lose", "said"),
    [
        (empty_the_root, "raft domains forget mine"),
        (leave_a_file, "raft domains forget mine"),
        (remove_the_root, "There is no folder"),
        (make_the_root_unreadable, "can't be read"),
    ],
)
def test_a_data_folder_that_is_empty_or_cannot_be_read_unregisters_no_domain(
    project: ProjectHarness, lose: Callable[[ProjectHarness], None], said: str
) -> None:
    project.look()
    lose(project)
    assert said in observed(project)
    with suppress(DataError):
        project.look()
    assert registered(project) == ["mine", "other one"]


def test_a_domain_whose_link_leads_nowhere_stays_registered_and_one_that_is_gone_does_not(
    project: ProjectHarness,
) -> None:
    project.look()
    for name in ("mine", "other one"):
        (project.folder / "data" / name).rename(project.folder / name)
    (project.folder / "data" / "mine").symlink_to("/mnt/a disk that is not there")
    project.write("data/third/a.txt", TEXT)
    project.look()
    assert registered(project) == ["mine", "third"]


def test_the_last_domain_is_forgotten_by_name_and_what_was_made_from_it_stays(project: ProjectHarness) -> None:
    project.look()
    refused = project.raft_here("domains", "forget", "mine")
    assert refused.returncode == 2
    assert "is there: delete or move the folder first" in refused.stderr
    assert project.materialize("mine", "source_documents")
    empty_the_root(project)
    for _ in range(2):
        project.look()
    told = project.raft_here("domains", "forget", "mine", "other one")
    assert told.returncode == 0, told.stderr
    assert registered(project) == []
    assert project.lake.exists("source_documents", "mine")
    assert "No domain 'mine' is registered" in project.raft_here("domains", "forget", "mine").stderr


@pytest.mark.parametrize("lose", [empty_the_root, remove_the_root])
def test_the_last_domain_is_purged_by_name(project: ProjectHarness, lose: Callable[[ProjectHarness], None]) -> None:
    project.look()
    assert project.materialize("mine", "source_documents")
    lose(project)
    purged = project.raft_here("purge", "mine", "--yes")
    assert purged.returncode == 0, purged.stderr
    assert registered(project) == ["other one"]
    assert not project.lake.exists("source_documents", "mine")


def _register(folder: Path, barrier: Barrier) -> None:
    with ProjectHarness(folder).instance() as instance:
        for number in range(ROUNDS):
            barrier.wait()
            register_domains(instance, [f"one {number}", f"two {number}"])


def test_processes_that_see_new_domains_at_the_same_moment_all_register_them(project: ProjectHarness) -> None:
    started = multiprocessing.get_context("spawn")
    barrier = started.Barrier(PROCESSES, timeout=60)
    processes = [started.Process(target=_register, args=(project.folder, barrier)) for _ in range(PROCESSES)]
    with project.instance():  # creates the databases
        for process in processes:
            process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert len(registered(project)) == 2 * ROUNDS


def test_looking_twice_reports_once(project: ProjectHarness) -> None:
    project.look()
    project.look()
    with project.instance() as instance:
        filters = dg.AssetRecordsFilter(asset_key=DOCUMENTS, asset_partitions=["mine"])
        assert len(instance.fetch_materializations(filters, limit=10).records) == 1


def test_a_changed_modification_time_changes_nothing(project: ProjectHarness) -> None:
    before = versions(project, "mine")
    os.utime(project.folder / "data" / "mine" / "a.txt", (1, 1))
    assert versions(project, "mine") == before


@pytest.mark.parametrize(
    ("file", "text", "reached"),
    [
        ("data/mine/a.txt", TEXT + "One more sentence.\n", {DOCUMENTS}),
        ("data/mine/sub/c.txt", "A new one.\n", {DOCUMENTS}),
        ("data/mine/questions.jsonl", "{}\n", {QUESTIONS}),
        ("data/mine/reviews.jsonl", "{}\n", {REVIEWS}),
        ("data/mine/domain.yaml", "questions: {style: llama}", {settings_key("questions")}),
        ("data/mine/.hidden", "not a document", set()),
        ("data/mine/domain.yaml", "chunks: {chunk_size: 99}", {settings_key("chunks")}),
        ("data/mine/domain.yaml", "dataset: {distractors: 5}", {settings_key("dataset")}),
        ("data/mine/domain.yaml", "chunks: {chunk_size: 160}", set()),  # what holds anyway
        ("data/other one/domain.yaml", "dataset: {p: 0.5}", set()),  # another domain's
    ],
)
def test_a_change_reaches_exactly_what_it_is_about(
    project: ProjectHarness, file: str, text: str, reached: set[dg.AssetKey]
) -> None:
    before = versions(project, "mine")
    project.write(file, text)
    assert changed(before, versions(project, "mine")) == reached


def test_another_model_of_a_role_reaches_that_role_only(project: ProjectHarness) -> None:
    project.own_variables.clear()
    before = versions(project, "mine")
    project.write(".env", "TEACHER_OPENAI_BASE_URL=http://127.0.0.1:9/v1\nTEACHER_OPENAI_DEPLOYMENT=some-model\n")
    assert changed(before, versions(project, "mine")) == {settings_key("questions")}


def test_a_judge_and_prompts_are_part_of_what_questions_depend_on(project: ProjectHarness) -> None:
    project.own_variables.clear()

    def told() -> Mapping[str, str]:
        return next(
            seen.metadata for seen in observe_domain(project.opened, "mine") if seen.key == settings_key("questions")
        )

    before = versions(project, "mine")
    assert {name for name in told() if name.startswith("prompt ")} == {
        "prompt general/questions",
        "prompt general/api_questions",
    }
    assert "JUDGE" not in told()
    project.write(".env", "JUDGE_OPENAI_BASE_URL=http://127.0.0.1:9/v1\nJUDGE_OPENAI_DEPLOYMENT=some-judge\n")
    assert changed(before, versions(project, "mine")) == {settings_key("questions"), settings_key("judging")}
    assert "some-judge" in told()["JUDGE"]
    assert "prompt judge" in told()


@pytest.mark.parametrize(
    ("instructions", "settings", "is_hosted", "stale"),
    [
        ("INSTRUCTIONS", "", False, {"prompt"}),
        ("INSTRUCTIONS", f"prompt: {{instructions: {json.dumps(INSTRUCTIONS + ' Be kind.')}}}", False, set()),
        ("CLOSED_BOOK_INSTRUCTIONS", "", False, {"evaluation"}),
        ("CLOSED_BOOK_INSTRUCTIONS", "evaluation: {arms: [main]}", False, set()),
        ("STRUCTURED_INSTRUCTIONS", "", False, set()),  # the embedded teacher answers in text
        ("STRUCTURED_INSTRUCTIONS", "", True, {"questions"}),
        ("STRUCTURED_INSTRUCTIONS", "questions: {structured: off}", True, set()),
    ],
)
def test_edited_instructions_of_the_contract_make_stale_what_is_made_with_them(
    project: ProjectHarness,
    monkeypatch: pytest.MonkeyPatch,
    *,
    instructions: str,
    settings: str,
    is_hosted: bool,
    stale: set[str],
) -> None:
    if is_hosted:
        project.own_variables.clear()
        project.write(".env", "TEACHER_OPENAI_BASE_URL=http://127.0.0.1:9/v1\nTEACHER_OPENAI_DEPLOYMENT=some-model\n")
    project.write("data/mine/domain.yaml", settings)
    before = versions(project, "mine")
    monkeypatch.setattr(prompt_contract, instructions, getattr(prompt_contract, instructions) + "\nBe brief.")
    assert changed(before, versions(project, "mine")) == {settings_key(group) for group in stale}


def test_the_hash_of_the_instructions_is_shown_with_the_settings(project: ProjectHarness) -> None:
    (shown,) = [seen.metadata for seen in observe_domain(project.opened, "mine") if seen.key == settings_key("prompt")]
    assert shown["prompt contract"] == prompt_contract.instruction_hashes()["contract"]


def test_wrong_settings_of_one_domain_are_told_and_the_others_go_on(project: ProjectHarness) -> None:
    project.write("data/other one/domain.yaml", "chunks: {chunk_size: 3}")
    with project.instance() as instance:
        seen = observe(instance, project.opened)
        assert "chunk_size is 3" in str(seen.problems["other one"])
        for domain, reported in (("mine", 1), ("other one", 0)):
            filters = dg.AssetRecordsFilter(asset_key=DOCUMENTS, asset_partitions=[domain])
            assert len(instance.fetch_materializations(filters, limit=10).records) == reported


def test_a_folder_name_that_can_be_no_partition_is_refused(project: ProjectHarness) -> None:
    project.write("data/one, two/a.txt", TEXT)
    with project.instance() as instance:
        seen = observe(instance, project.opened)
    assert seen.domains == ["mine", "other one"]
    assert "it contains ','" in str(seen.problems["one, two"])

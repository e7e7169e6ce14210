"""Two machines with folders of their own and one lake on Azure Blob; a third one that has nothing yet."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pyarrow.parquet as pq
import pytest

from raft_assets.core.prompt_contract import render_messages
from raft_assets.operations.chosen_presets import choose_preset, clear_preset, take_presets
from raft_assets.operations.model_clients import embedded_provider
from raft_assets.operations.process import records_of
from raft_assets.operations.report import write_index
from raft_assets.operations.trained import trained_students
from raft_assets.storage.results import ResultsStore
from raft_assets_tests.azure.blob import CONTAINER, storage_account
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.embedded.provider import in_process
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.storage.test_results import record, run_record

CANARY = "Behringer"  # of the domain's documents: trained on, and shown with questions
OTHER = "harbor"  # evaluated on the second machine
RECORDS = ("jobs", "students")


@dataclass(frozen=True)
class Machines:
    """Machines that share a lake: `first` moved its project there, `second` has the documents, `third` has nothing."""

    first: ProjectHarness
    second: ProjectHarness
    third: ProjectHarness


@pytest.fixture(scope="module")
def machines(finished: ProjectHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with storage_account(tmp_path_factory.mktemp("account")) as connection:
        folders = [tmp_path_factory.mktemp(name) for name in ("first", "second", "third")]
        shutil.copytree(finished.folder, folders[0], dirs_exist_ok=True)
        shutil.copytree(finished.folder / "data", folders[1] / "data", dirs_exist_ok=True)
        shutil.copytree(finished.folder / ".raft" / "calls", folders[1] / ".raft" / "calls")  # as RAFT_CALLS would
        found = Machines(*map(ProjectHarness, folders))
        for machine in (found.first, found.second, found.third):
            shared = {"RAFT_LAKE": f"abfs://{CONTAINER}/raft", "AZURE_STORAGE_CONNECTION_STRING": connection}
            machine.own_variables |= shared
        lake = found.first.lake
        lake.filesystem.put(f"{folders[0] / '.raft' / 'lake'}/", "lake/raft/", recursive=True)  # as the guide says
        shutil.rmtree(folders[0] / ".raft" / "lake")
        yield found


def test_what_a_machine_kept_moves_into_the_lake_and_its_job_is_found_again(machines: Machines) -> None:
    home = machines.first.folder / ".raft"
    before = {name: sorted(file.name for file in (home / name).glob("*.json")) for name in RECORDS}
    assert all(before.values())
    machines.first.look()
    assert machines.first.materialize_only(SMALL, "finetuned_model")
    assert machines.first.metadata("finetuned_model", SMALL)["found_again"] is True
    assert len(list((home / "embedded" / "jobs").glob("ftjob-*"))) == 1
    assert [list((home / name).glob("*.json")) for name in RECORDS] == [[], []]
    (student,) = trained_students(records_of(machines.second.opened))
    assert list(student.documents) == [SMALL]


def test_another_machine_asks_the_student_evaluates_it_and_reports(machines: Machines) -> None:
    verdict = machines.second.results.verdicts()[SMALL]
    assert verdict["sentence"] == machines.first.results.verdicts()[SMALL]["sentence"]
    machines.second.look()
    for asset in ("student_answers", "eval_report", "finetuned_model"):
        assert machines.second.materialize_only(SMALL, asset), asset
    assert machines.second.metadata("finetuned_model", SMALL)["found_again"] is True
    assert not list((machines.second.folder / ".raft" / "embedded" / "jobs").glob("*/worker.log"))  # trained nothing
    model = machines.second.lake.read_record("finetuned_model", SMALL)["model"]

    async def ask(client: openai.AsyncOpenAI) -> str:
        messages = render_messages("Who discovered that bats hear their way?", ["Spallanzani discovered it in 1793."])
        asked = await client.chat.completions.create(model=model, messages=messages)  # type: ignore[arg-type]
        return str(asked.choices[0].message.content)

    answers = {in_process(embedded_provider(one.opened).app, ask) for one in (machines.first, machines.second)}
    assert len(answers) == 1


def test_a_preset_is_chosen_for_all_machines(machines: Machines) -> None:
    choose_preset(machines.first.opened, SMALL, "paper")
    take_presets(machines.second.opened)
    assert machines.second.opened.settings(SMALL).preset == "paper"
    clear_preset(machines.second.opened, SMALL)
    take_presets(machines.first.opened)
    assert machines.first.opened.selected_presets() == machines.second.opened.selected_presets() == {}


def test_an_empty_machine_knows_the_verdicts_and_the_index_lists_every_domain(machines: Machines) -> None:
    store = machines.second.results
    record(store, run_record(OTHER), text="Whose harbour?")
    machines.second.lake.write_text("eval_report", OTHER, ".html", "<p>harbour")
    first = machines.first
    write_index(first.opened, first.lake, first.results)  # whose folder has no such domain
    asked = machines.third.raft_here("sql", "SELECT domain FROM current_verdicts ORDER BY domain", "--json")
    assert [json.loads(line)["domain"] for line in asked.stdout.splitlines()] == [OTHER, SMALL], asked.stderr
    index = machines.third.lake.index_path.read_text("utf-8")
    assert all(f"eval_report/{domain}.html" in index for domain in (OTHER, SMALL))
    shown = machines.third.raft_here("report")
    assert (shown.returncode, shown.stdout.strip()) == (0, str(machines.third.lake.index_path))


def test_a_purge_reaches_the_whole_lake_and_what_other_machines_took_from_it(machines: Machines) -> None:
    second = machines.second
    blobs, models = (second.folder / ".raft" / "embedded" / name for name in ("blobs", "models"))
    assert CANARY in texts_of(second.results)
    embedded_provider(machines.first.opened).shared.reconcile()
    embedded_provider(second.opened).model_version(second.lake.read_record("finetuned_model", SMALL)["model"])
    (training_file, *_) = [name for name in words(machines) if "/embedded/blobs/" in name]
    embedded_provider(second.opened).shared.fetch(training_file.partition("/embedded/")[2])
    assert CANARY in "".join(blob.read_text("utf-8") for blob in blobs.glob("*"))
    assert list(models.glob("*"))

    purged = machines.first.raft_here("purge", SMALL, "--students", "--yes")
    assert purged.returncode == 0, purged.stdout + purged.stderr
    assert words(machines) == []
    assert [name for name in machines.first.lake.files() if "/models/" in name or "/students/" in name] == []
    assert CANARY not in texts_of(second.results)
    assert CANARY.encode() not in Path(second.opened.results).read_bytes()
    second.raft("doctor")  # a process that opens the provider
    assert CANARY not in "".join(blob.read_text("utf-8") for blob in blobs.glob("*"))  # the losses of the job stay
    assert list(models.glob("*")) == []


def texts_of(store: ResultsStore) -> str:
    return str(store.query("SELECT string_agg(to_json(documents)::VARCHAR, ' ') AS texts FROM answers")["texts"][0])


def words(machines: Machines) -> list[str]:
    """Names of the blobs that hold the canary."""
    lake = machines.first.lake
    root: Any = lake.filesystem
    names = [f"lake/raft/{name}" for name in sorted(lake.files())]
    return [name for name in names if CANARY in content_of(name, root.cat_file(name))]


def content_of(name: str, content: bytes) -> str:
    if name.endswith(".parquet"):
        return json.dumps(pq.read_table(io.BytesIO(content)).to_pylist(), default=str, ensure_ascii=False)
    return content.decode("utf-8", "replace")

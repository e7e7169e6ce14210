"""The embedded provider on machines that share a lake: folders of their own, the same files, jobs and models."""

import io
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import openai
import pytest

from raft_assets.core.errors import EndpointError
from raft_assets.embedded.app import WORKER
from raft_assets.embedded.models import READER
from raft_assets.embedded.provider import SHARED_NAMES, EmbeddedProvider
from raft_assets.provider.bodies import JobRequest
from raft_assets.provider.files import FileStore
from raft_assets.provider.jobs import JobService
from raft_assets.provider.model_store import ModelStore
from raft_assets.provider.shared_jobs import SILENT_S, SharedJobs
from raft_assets.storage.lake import Lake
from raft_assets.storage.lake_folder import LakeFolder
from raft_assets_tests.embedded.provider import in_process, settings_of, training_file, until

DEAD = [sys.executable, "-c", "pass"]  # a worker that ends at once, as one whose machine is gone


@pytest.fixture
def lake() -> Lake:
    return Lake(f"memory://{uuid.uuid4().hex}")


def machine(lake: Lake, folder: Path) -> EmbeddedProvider:
    """The provider of a machine with a folder of its own."""
    return replace(settings_of(folder), shared=LakeFolder(lake, "embedded", folder, SHARED_NAMES))


def service(
    provider: EmbeddedProvider, worker: list[str], clock: Callable[[], float] = time.monotonic
) -> tuple[JobService, FileStore]:
    """The jobs of a machine, and its files."""
    files, models = (
        FileStore(provider.folder, provider.shared),
        ModelStore(provider.folder, weights="reader", shared=provider.shared),
    )
    shared = SharedJobs(provider.shared, files=files, share_model=models.share, clock=clock)
    return JobService(provider.folder, files, trainable=[READER], worker=worker, shared=shared), files


def test_what_one_machine_uploaded_and_trained_another_one_lists_asks_and_deletes(lake: Lake, tmp_path: Path) -> None:
    here, there = machine(lake, tmp_path / "here"), machine(lake, tmp_path / "there")

    async def train(client: openai.AsyncOpenAI) -> str:
        file = await client.files.create(file=("train.jsonl", training_file()), purpose="fine-tune")
        job = await client.fine_tuning.jobs.create(model=READER, training_file=file.id, metadata={"of": "here"})
        while (job := await client.fine_tuning.jobs.retrieve(job.id)).status != "succeeded":
            assert job.status not in ("failed", "cancelled"), job.error
        return job.id

    job_id = in_process(here.app, train)

    async def look(client: openai.AsyncOpenAI) -> str:
        (listed,) = [job async for job in client.fine_tuning.jobs.list(extra_query={"metadata[of]": "here"})]
        job = await client.fine_tuning.jobs.retrieve(job_id)
        assert (listed.id, job.status) == (job_id, "succeeded")
        (file,) = [file async for file in client.files.list(purpose="fine-tune")]
        assert (await client.files.content(file.id)).content == training_file()
        assert (await client.files.content((job.result_files or [""])[0])).text.startswith("step,train_loss")
        assert (await client.fine_tuning.jobs.list_events(job_id)).data[0].message == (
            "The job has successfully completed"
        )
        assert job.fine_tuned_model in {model.id async for model in client.models.list()}
        return str(job.fine_tuned_model)

    model = in_process(there.app, look)
    assert there.model_version(model) == here.model_version(model)
    assert not (tmp_path / "there" / "jobs" / job_id / "worker.log").exists()

    async def delete(client: openai.AsyncOpenAI) -> None:
        await client.models.delete(model)
        async for file in client.files.list():
            await client.files.delete(file.id)

    in_process(there.app, delete)
    assert [name for name in lake.files() if name.split("/")[2] != "jobs"] == []
    assert (tmp_path / "here" / "models").is_dir()
    shutil.copytree(tmp_path / "here", tmp_path / "here again")  # as a process of that machine that begins now
    again = machine(lake, tmp_path / "here again")
    with pytest.raises(EndpointError, match="has no model"):
        again.model_version(model)
    assert [*(again.folder / "blobs").glob("*"), *(again.folder / "files").glob("*")] == []


def test_a_job_whose_machine_is_gone_goes_on_under_its_id_once_that_one_is_silent(lake: Lake, tmp_path: Path) -> None:
    now = 1000.0
    first, second = machine(lake, tmp_path / "first"), machine(lake, tmp_path / "second")
    jobs, files = service(first, DEAD)
    content = tmp_path / "train.jsonl"
    content.write_bytes(training_file())
    with content.open("rb") as stream:
        file = files.create(stream, filename="train.jsonl", purpose="fine-tune")
    job = jobs.create(JobRequest(model=READER, training_file=file.id))
    shutil.rmtree(first.folder)

    others, _ = service(second, list(WORKER), clock=lambda: now)
    waiting = others.get(job.id)
    assert (waiting.id, waiting.finished) == (job.id, False)
    told = [event["message"] for event in others.folder(job.id).events()]
    assert "Another machine works on this job; its end is waited for" in told
    now += SILENT_S - 1
    others.get(job.id)
    assert not others.folder(job.id).worker_log.exists()
    now += 1
    others.get(job.id)
    assert others.folder(job.id).worker_log.exists()
    done = until(lambda: (found := others.get(job.id)).finished and found)
    assert (done.status, [one.id for one in others.list_jobs({})]) == ("succeeded", [job.id])


def test_a_job_that_is_cancelled_on_one_machine_ends_on_the_other(lake: Lake, tmp_path: Path) -> None:
    first, second = machine(lake, tmp_path / "first"), machine(lake, tmp_path / "second")
    jobs, files = service(first, DEAD)
    content = tmp_path / "train.jsonl"
    content.write_bytes(training_file())
    with content.open("rb") as stream:
        file = files.create(stream, filename="train.jsonl", purpose="fine-tune")
    job = jobs.create(JobRequest(model=READER, training_file=file.id))
    others, _ = service(second, DEAD)
    assert others.cancel(job.id).status == "cancelled"
    assert jobs.get(job.id).status == "cancelled"


def test_what_was_made_before_the_lake_was_shared_is_shared_from_then_on(lake: Lake, tmp_path: Path) -> None:
    alone = settings_of(tmp_path / "first")
    files = FileStore(alone.folder)
    content = tmp_path / "train.jsonl"
    content.write_bytes(training_file())
    with content.open("rb") as stream:
        file = files.create(stream, filename="train.jsonl", purpose="fine-tune")
    for shared in (lake, Lake(f"{lake.root}-that-follows")):  # of which the second is empty, and not a purged one
        machine(shared, alone.folder).shared.reconcile()
        other = machine(shared, tmp_path / shared.root.rpartition("/")[2])
        assert FileStore(other.folder, other.shared).content(file.id).read_bytes() == training_file()
    assert files.content(file.id).is_file()


def test_a_lake_that_has_lost_its_files_takes_none_from_a_machine(lake: Lake, tmp_path: Path) -> None:
    provider = machine(lake, tmp_path)
    file = FileStore(provider.folder, provider.shared).create(
        io.BytesIO(b"{}"), filename="train.jsonl", purpose="fine-tune"
    )
    lake.filesystem.rm(lake.state.path, recursive=True)
    provider.shared.reconcile()
    assert FileStore(tmp_path).content(file.id).is_file()


def test_a_name_in_the_lake_that_leads_out_of_the_folder_is_not_fetched(lake: Lake, tmp_path: Path) -> None:
    provider = machine(lake, tmp_path / "machine")
    lake.filesystem.pipe_file(f"{lake.state.path}/embedded/models/one/../../../../out.txt", b"")
    provider.shared.fetch("models/one")
    assert [file.name for file in tmp_path.rglob("out.txt")] == []

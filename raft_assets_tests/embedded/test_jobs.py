"""Fine-tuning from upload to answer, and what happens to a job whose process is cancelled or killed."""

import csv
import io
import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob
from starlette.applications import Starlette

from raft_assets.core.prompt_contract import parse_answer
from raft_assets.embedded.app import WORKER
from raft_assets.embedded.models import WEIGHTS, model_version
from raft_assets.provider.bodies import JobRequest, parse_body
from raft_assets.provider.files import FileStore
from raft_assets.provider.job_state import JobFolder
from raft_assets.provider.jobs import MAX_STARTS, JobService
from raft_assets.provider.model_store import ModelStore
from raft_assets_tests.embedded.provider import (
    ENDED,
    KEEPERS,
    ended,
    in_process,
    is_worked_on,
    lesson,
    training_file,
    until,
    upload,
    worker_of,
)

READER = "embedded-reader"
LESSONS_ASKED = 3
HYPERPARAMETERS = {"n_epochs": 3, "batch_size": 4}


def right_answers(client: openai.OpenAI, model: str) -> int:
    """How many of the first lessons the model answers exactly."""
    answers = [
        client.chat.completions.create(model=model, messages=lesson(number)["messages"][:2]).choices[0].message.content
        for number in range(LESSONS_ASKED)
    ]
    return sum(
        parse_answer(answer or "").final_answer == keeper for answer, keeper in zip(answers, KEEPERS, strict=False)
    )


def messages_of(client: openai.OpenAI, job_id: str) -> list[str]:
    return [event.message for event in client.fine_tuning.jobs.list_events(job_id, limit=5)]


@pytest.fixture
def job(client: openai.OpenAI, trained: FineTuningJob) -> FineTuningJob:
    """The job that was trained, once more, at work."""
    again = client.fine_tuning.jobs.create(
        model=READER,
        training_file=upload(client, training_file()),
        validation_file=trained.validation_file,
        hyperparameters=HYPERPARAMETERS,  # type: ignore[arg-type]
        suffix="lighthouses",
        seed=7,
    )
    until(lambda: client.fine_tuning.jobs.retrieve(again.id).status == "running")
    return again


def test_fine_tuning_changes_weights_and_answers(client: openai.OpenAI, state: Path, trained: FineTuningJob) -> None:
    assert trained.fine_tuned_model
    assert trained.fine_tuned_model.startswith("ft:embedded-reader:raft-assets:lighthouses:")
    assert right_answers(client, READER) == 0
    assert right_answers(client, trained.fine_tuned_model) == LESSONS_ASKED
    assert model_version(trained.fine_tuned_model, state) != model_version(READER, state)


def test_a_finished_job_tells_what_it_did(client: openai.OpenAI, trained: FineTuningJob) -> None:
    assert trained.hyperparameters.model_dump() == HYPERPARAMETERS | {"learning_rate_multiplier": 1.0}
    assert trained.metadata == {"domain": "lighthouses", "hash": "abc"}
    assert (trained.seed, trained.error, trained.estimated_finish) == (7, None, None)
    assert trained.finished_at
    assert trained.finished_at >= trained.created_at
    assert trained.trained_tokens
    assert trained.trained_tokens % 3 == 0
    messages = messages_of(client, trained.id)
    assert messages[0] == "The job has successfully completed"
    assert messages[1] == f"New fine-tuned model created: {trained.fine_tuned_model}"
    assert messages[-1] == f"Created fine-tuning job: {trained.id}"


def test_the_loss_curve_is_a_csv_file(client: openai.OpenAI, trained: FineTuningJob) -> None:
    [results] = trained.result_files
    assert client.files.retrieve(results).purpose == "fine-tune-results"
    curve = list(csv.DictReader(io.StringIO(client.files.content(results).text)))
    assert list(curve[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert [int(row["step"]) for row in curve] == list(range(1, len(curve) + 1))
    assert float(curve[-1]["train_loss"]) < float(curve[0]["train_loss"])
    assert sum(bool(row["valid_loss"]) for row in curve) == 3  # once an epoch


def test_the_checkpoint_is_the_model(client: openai.OpenAI, trained: FineTuningJob) -> None:
    [checkpoint] = client.fine_tuning.jobs.checkpoints.list(trained.id)
    assert checkpoint.fine_tuned_model_checkpoint == trained.fine_tuned_model
    assert checkpoint.metrics.step == checkpoint.step_number


def test_events_come_in_pages_with_figures(client: openai.OpenAI, trained: FineTuningJob) -> None:
    events = list(client.fine_tuning.jobs.list_events(trained.id, limit=2))
    assert len({event.id for event in events}) == len(events) > 6
    figures: list[Any] = [event.data for event in events if event.type == "metrics"]
    assert figures[-1]["step"] == 1  # the oldest comes last
    assert {"train_loss", "valid_loss"} <= figures[0].keys()


def test_jobs_are_found_by_their_metadata(client: openai.OpenAI, trained: FineTuningJob) -> None:
    def found(**metadata: str) -> list[str]:
        return [job.id for job in client.fine_tuning.jobs.list(metadata=metadata)]

    assert found(hash="abc") == found(hash="abc", domain="lighthouses") == [trained.id]
    assert found(hash="ab") == found(hash="abc", domain="bats") == []
    bare = [job["id"] for job in client.get("/fine_tuning/jobs?metadata=null", cast_to=dict)["data"]]
    assert trained.id not in bare


def test_a_deleted_model_is_gone(client: openai.OpenAI, state: Path, trained: FineTuningJob) -> None:
    models = ModelStore(state, weights=WEIGHTS)
    original = models.find(trained.fine_tuned_model or "")
    assert original
    copy = models.publish(partial(shutil.copytree, models.weights_folder(original)), base=READER, suffix="copy").id
    messages = lesson(0)["messages"][:2]
    assert client.chat.completions.create(model=copy, messages=messages).model == copy
    assert copy in [model.id for model in client.models.list()]
    assert client.models.delete(copy).deleted
    for look in (
        client.models.retrieve,
        client.models.delete,
        partial(client.chat.completions.create, messages=messages),
    ):
        with pytest.raises(openai.NotFoundError):
            look(model=copy)


def test_another_process_answers_with_the_fine_tuned_model(
    app: Starlette, client: openai.OpenAI, trained: FineTuningJob
) -> None:
    model, messages = str(trained.fine_tuned_model), lesson(0)["messages"][:2]

    async def work(embedded: openai.AsyncOpenAI) -> str | None:
        answer = await embedded.chat.completions.create(model=model, messages=messages)
        return answer.choices[0].message.content

    served = client.chat.completions.create(model=model, messages=messages)
    assert in_process(app, work) == served.choices[0].message.content


def test_a_file_that_is_none_fails_the_job_and_is_named(client: openai.OpenAI) -> None:
    good = upload(client, training_file())
    empty_lessons = b'{"prompt": "no document", "completion": "no answer"}\n' * 10
    cases = [  # training file, validation file, whose fault it is, what the message says
        (upload(client, training_file(10) + b'{"messages": ['), None, "training_file", "Line 11 is not valid JSON"),
        (upload(client, empty_lessons), None, "training_file", "No row of file-"),
        (good, upload(client, b"[]\n"), "validation_file", "Line 1 is not a dictionary"),
    ]
    jobs = [
        client.fine_tuning.jobs.create(model=READER, training_file=train, validation_file=valid)
        for train, valid, _, _ in cases
    ]
    assert {job.status for job in jobs} == {"validating_files"}
    for created, (_, _, param, message) in zip(jobs, cases, strict=True):
        job = ended(client, created.id)
        assert (job.status, job.fine_tuned_model, job.result_files) == ("failed", None, [])
        assert job.error
        assert job.error.param == param
        assert message in job.error.message
        assert messages_of(client, job.id)[0] == job.error.message


def test_a_cancelled_job_stops_and_leaves_no_model(client: openai.OpenAI, state: Path, job: FineTuningJob) -> None:
    files = [file.id for file in client.files.list()]
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    until(lambda: not is_worked_on(state, job.id))
    stopped = client.fine_tuning.jobs.retrieve(job.id)
    assert (stopped.status, stopped.fine_tuned_model, stopped.error) == ("cancelled", None, None)
    assert stopped.finished_at
    assert [file.id for file in client.files.list()] == files  # no results either
    assert client.fine_tuning.jobs.cancel(job.id) == stopped


def test_a_finished_job_is_not_cancelled(client: openai.OpenAI, trained: FineTuningJob) -> None:
    with pytest.raises(openai.BadRequestError, match="already succeeded"):
        client.fine_tuning.jobs.cancel(trained.id)


def test_a_job_whose_process_was_killed_is_taken_up_by_one_process_and_ends_the_same(
    client: openai.OpenAI, app: Starlette, state: Path, job: FineTuningJob, trained: FineTuningJob
) -> None:
    killed = worker_of(state, job.id)
    assert killed
    os.kill(killed, signal.SIGKILL)
    until(lambda: not is_worked_on(state, job.id))

    async def look_in_process(embedded: openai.AsyncOpenAI) -> str:
        return (await embedded.fine_tuning.jobs.retrieve(job.id)).status

    with ThreadPoolExecutor(8) as everybody:  # in this process and in the server's
        looks = [everybody.submit(in_process, app, look_in_process) for _ in range(4)]
        looks += [everybody.submit(lambda: client.fine_tuning.jobs.retrieve(job.id).status) for _ in range(4)]
        assert not {look.result() for look in looks} & set(ENDED)
    finished = ended(client, job.id)
    assert (finished.status, finished.fine_tuned_model) == ("succeeded", trained.fine_tuned_model)
    assert worker_of(state, job.id) != killed
    assert sum("started again" in message for message in messages_of(client, job.id)) == 1


def test_a_process_that_always_dies_ends_the_job(tmp_path: Path) -> None:
    files = FileStore(tmp_path)
    file_id = files.create(io.BytesIO(training_file()), filename="a.jsonl", purpose="fine-tune").id
    jobs = JobService(tmp_path, files, trainable=[READER], worker=[*WORKER, "--no-such-option"])
    job = jobs.create(parse_body({"model": READER, "training_file": file_id}, JobRequest))
    until(lambda: jobs.get(job.id).finished)
    failed = jobs.get(job.id)
    assert failed.error
    assert f"died {MAX_STARTS} times" in failed.error.message
    assert "no-such-option" in jobs.folder(job.id).worker_log.read_text()


def test_a_file_that_was_deleted_meanwhile_fails_the_job(tmp_path: Path) -> None:
    files = FileStore(tmp_path)
    file_id = files.create(io.BytesIO(training_file()), filename="a.jsonl", purpose="fine-tune").id
    jobs = JobService(tmp_path, files, trainable=[READER], worker=WORKER)
    job = jobs.create(parse_body({"model": READER, "training_file": file_id}, JobRequest))
    files.delete(file_id)
    until(lambda: jobs.get(job.id).finished)
    failed = jobs.get(job.id)
    assert failed.error
    assert failed.error.param == "training_file"
    assert "deleted" in failed.error.message


def test_events_written_at_the_same_time_and_torn_ones_are_told_apart(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    (tmp_path / "events.jsonl").write_bytes(b'{"id": "ftevent-torn", "mess')

    def work() -> None:
        for _ in range(50):
            folder.tell("line\u2028break")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event["message"] for event in folder.events()] == ["line\u2028break"] * 200

"""A fine-tuning job's life: every end told apart, nothing submitted twice, whatever died in between.

The service is the embedded provider behind Azure's names; what it can't be brought to do (fail, pause, vanish) is said
in its place, in the service's own form.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from raft_assets.core.errors import EndpointError, WaitingError
from raft_assets.llm.clients import open_client
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.storage.records import FileRecords
from raft_assets.student.finetuning import (
    Checkpoint,
    FineTuningResult,
    FineTuningSpec,
    JobPendingError,
    PollingPolicy,
    SubmissionRecord,
    fine_tune,
    select_checkpoint,
)
from raft_assets_tests.azure.cloud import BASE, RESOURCE, Cloud

STUDENT = Endpoint(Role.STUDENT, "azure", BASE, RESOURCE)
QUICK = PollingPolicy(
    initial_poll_s=0.01, max_poll_s=0.01, paused_timeout_s=0.05, listing_delay_s=0.0, naming_timeout_s=0.0
)
ROW = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "<ANSWER>: Me"}]}
ORDER = FineTuningSpec(
    base_model=BASE,
    base_version="1",
    train=(json.dumps(ROW) + "\n").encode() * 10,
    valid=b"",
    hyperparameters={"n_epochs": 1},
    seed=0,
)


class Jobs:
    """The service's jobs, said in its place: `states` are those of the one job, look by look; None: it is gone."""

    def __init__(self, states: list[str | None]) -> None:
        self.states = states
        self.created: list[dict[str, Any]] = []
        self.keeps_metadata = True
        self.dies_after_creation = False

    def answer(self, request: Request) -> JSONResponse | None:
        path = request.url.path.removeprefix("/openai/v1")
        if request.method != "GET" or not path.startswith(("/fine_tuning/jobs", "/models/")):
            return None
        if path.startswith("/models/"):
            return JSONResponse({"id": "ft:1", "object": "model", "created": 1, "owned_by": "me"})
        if path.endswith("/jobs"):
            return _page([self.job(one) for one in self.created])
        return _page([]) if path.endswith(("/events", "/checkpoints")) else self.look()

    def look(self) -> JSONResponse:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state is None:
            return JSONResponse({"error": {"message": "no such job", "code": "not_found"}}, 404)
        return JSONResponse(self.job(self.created[0], state))

    async def create(self, request: Request) -> JSONResponse:
        self.created.append(await request.json())
        if self.dies_after_creation:
            return JSONResponse({"error": {"message": "lost on the way back"}}, 500)
        return JSONResponse(self.job(self.created[-1]))

    def job(self, order: dict[str, Any], status: str = "succeeded") -> dict[str, Any]:
        reason = {"code": "invalid_training_file", "message": "row 3 has no assistant", "param": None}
        kept = {"metadata": order["metadata"]} if self.keeps_metadata else {}
        return {
            "id": "ftjob-1",
            "object": "fine_tuning.job",
            "created_at": 1,
            "model": order["model"],
            "training_file": order["training_file"],
            "suffix": order["suffix"],
            "status": "succeeded" if status == "unnamed" else status,
            "fine_tuned_model": "ft:1" if status == "succeeded" else None,
            "error": reason if status == "failed" else None,
            "hyperparameters": {"n_epochs": 1},
            "organization_id": "o",
            "result_files": [],
            "seed": 0,
            "trained_tokens": 7,
            **kept,
        }


def _page(data: list[dict[str, Any]]) -> JSONResponse:
    return JSONResponse({"object": "list", "data": data, "has_more": False})


def train(
    azure: Cloud,
    jobs: Jobs,
    folder: Path,
    order: FineTuningSpec = ORDER,
    *,
    told: Callable[[str], None] = print,
    answer: Callable[[Request], JSONResponse | None] | None = None,
    patience: PollingPolicy = QUICK,
) -> FineTuningResult:
    """Fine-tunes as an asset does, with a client of its own; `answer` stands in place of the jobs' own."""
    azure.resource.before, azure.resource.create_job = answer or jobs.answer, jobs.create

    async def work() -> FineTuningResult:
        async with open_client(STUDENT, lambda: pytest.fail("not the embedded provider")) as client:
            return await fine_tune(client, order, records=FileRecords(folder), on_event=told, patience=patience)

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (["queued", "failed"], r"ftjob-1 .* ended as failed: row 3 has no assistant"),
        (["running", "cancelled"], r"ftjob-1 of \S+ was cancelled\. Materialize"),
        (["running", "paused"], r"is paused\. `raft jobs --resume ftjob-1` resumes it"),
        (["running", None], r"ftjob-1 no longer exists at the service"),
        (
            ["running", "unnamed"],
            r"ftjob-1 .* has succeeded, and the service has not named its model within 0 s\. Mater",
        ),
    ],
)
def test_every_end_of_a_job_is_told_apart(azure: Cloud, tmp_path: Path, states: list[str | None], said: str) -> None:
    with pytest.raises((EndpointError, JobPendingError), match=said) as ended:
        train(azure, Jobs(states), tmp_path)
    assert isinstance(ended.value, WaitingError) == (states[-1] in ("paused", "unnamed"))  # nothing has failed


def test_a_paused_job_that_goes_on_by_itself_is_waited_for(azure: Cloud, tmp_path: Path) -> None:
    assert train(azure, Jobs(["paused", "running", "pending", "succeeded"]), tmp_path).model == "ft:1"


def test_a_job_whose_model_is_named_late_is_asked_again(azure: Cloud, tmp_path: Path) -> None:
    patient = replace(QUICK, naming_timeout_s=600.0)
    jobs = Jobs(["running", "unnamed", "unnamed", "succeeded"])
    assert train(azure, jobs, tmp_path, patience=patient).model == "ft:1"


def test_a_job_whose_model_was_not_named_in_time_is_found_again(azure: Cloud, tmp_path: Path) -> None:
    jobs = Jobs(["unnamed"])
    with pytest.raises(JobPendingError):
        train(azure, jobs, tmp_path / "here")
    jobs.states = ["succeeded"]
    for folder in ("here", "there"):
        found = train(azure, jobs, tmp_path / folder)
        assert (found.model, found.reattached) == ("ft:1", True)
    assert len(jobs.created) == 1


def test_a_file_that_the_service_calls_too_large_is_cut_said_and_found_again(azure: Cloud, tmp_path: Path) -> None:
    jobs, asked, told = Jobs(["succeeded"]), list[str](), list[str]()
    order = replace(ORDER, train=b"".join(json.dumps({**ROW, "id": n}).encode() + b"\n" for n in range(40)))
    limit = len(order.train) // 2

    def answer(request: Request) -> JSONResponse | None:
        if request.method == "POST" and request.url.path.endswith("/files"):
            asked.append(request.headers["content-length"])
            if int(request.headers["content-length"]) > limit + 1000:  # of the form around it
                return JSONResponse({"error": {"message": f"File too large, maximum {limit} bytes"}}, 413)
        return jobs.answer(request)

    for reattached in (False, True):
        found = train(azure, jobs, tmp_path, order, told=told.append, answer=answer)
        assert found.reattached is reattached
    assert len(jobs.created) == 1
    assert any(f"The service takes training files of {limit:,} bytes" in one and "of 40 rows" in one for one in told)


def test_training_type_and_seed_reach_the_service(azure: Cloud, tmp_path: Path) -> None:
    jobs = Jobs(["succeeded"])
    train(azure, jobs, tmp_path, replace(ORDER, training_type="GlobalStandard", seed=7))
    (sent,) = jobs.created
    assert (sent["trainingType"], sent["seed"], sent["suffix"][:5]) == ("GlobalStandard", 7, "raft-")
    assert len(sent["suffix"]) <= 18


@pytest.mark.parametrize("keeps_metadata", [True, False])
@pytest.mark.parametrize("same_machine", [True, False])
def test_a_job_is_found_again_by_its_whole_hash(
    azure: Cloud, tmp_path: Path, keeps_metadata: bool, same_machine: bool
) -> None:
    jobs = Jobs(["succeeded"])
    jobs.keeps_metadata = keeps_metadata
    assert train(azure, jobs, tmp_path / "here").reattached is False
    assert train(azure, jobs, tmp_path / ("here" if same_machine else "there")).reattached is True
    assert len(jobs.created) == 1


def test_a_job_of_other_rows_with_the_same_suffix_is_not_taken(azure: Cloud, tmp_path: Path) -> None:
    jobs = Jobs(["succeeded"])
    jobs.keeps_metadata = False
    train(azure, jobs, tmp_path / "one")
    jobs.created[0]["suffix"] = (other := replace(ORDER, seed=1)).suffix
    assert train(azure, jobs, tmp_path / "two", other).reattached is False


def test_a_submission_whose_answer_was_lost_is_not_repeated(azure: Cloud, tmp_path: Path) -> None:
    jobs = Jobs(["succeeded"])
    jobs.dies_after_creation = True
    with pytest.raises(EndpointError, match="A job that was submitted is found again"):
        train(azure, jobs, tmp_path)
    submitted = len(jobs.created)
    jobs.dies_after_creation = False
    assert train(azure, jobs, tmp_path).reattached is True
    assert len(jobs.created) == submitted == 1


def test_a_refused_submission_leaves_no_record(azure: Cloud, tmp_path: Path) -> None:
    jobs = Jobs(["succeeded"])
    with pytest.raises(
        EndpointError, match=r"rejected the request \(404.*Set STUDENT to a base model that the service fine-tunes"
    ):
        train(azure, jobs, tmp_path, replace(ORDER, base_model="nowhere"))
    assert SubmissionRecord(FileRecords(tmp_path), replace(ORDER, base_model="nowhere")).job_id is None


def test_a_job_that_the_version_before_submitted_is_found_again(azure: Cloud, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / f"{ORDER.training_hash}.json").write_bytes(b'{"job": "ftjob-1"}')
    jobs = Jobs(["succeeded"])
    jobs.created.append({"model": BASE, "training_file": "file-1", "suffix": "unknown", "metadata": {}})
    assert train(azure, jobs, tmp_path).reattached is True
    assert len(jobs.created) == 1
    assert SubmissionRecord(FileRecords(tmp_path), ORDER).job_id == "ftjob-1"


def test_a_token_that_runs_out_while_the_job_runs_is_renewed(azure: Cloud, tmp_path: Path) -> None:
    jobs = Jobs(["running"] * 5 + ["succeeded"])
    azure.identity.lifetime_s = 60  # which azure-identity takes for one that is over
    assert train(azure, jobs, tmp_path).model == "ft:1"
    assert len(azure.identity.valid) > 1


def test_a_sign_in_without_rights_says_what_to_ask_for(azure: Cloud, tmp_path: Path) -> None:
    azure.identity.lifetime_s = -1
    with pytest.raises(
        EndpointError, match=r"rejected the request \(401\)\. Sign in, or set a key, that may fine-tune"
    ):
        train(azure, Jobs(["succeeded"]), tmp_path)


def test_the_best_checkpoint_is_that_of_the_least_validation_loss() -> None:
    points = [Checkpoint(10, "ft:a", 0.9), Checkpoint(20, "ft:b", 0.4), Checkpoint(30, "ft:c", None)]
    assert select_checkpoint("ft:c", points, "best") == "ft:b"
    assert select_checkpoint("ft:c", points, "last") == "ft:c"
    assert select_checkpoint("ft:c", points[2:], "best") == "ft:c"


def test_generated_answers_that_are_usable_come_before_loss() -> None:
    points = [Checkpoint(10, "ft:a", 0.3, 0.0), Checkpoint(20, "ft:b", 0.5, 0.9), Checkpoint(30, "ft:c", 0.6, 0.9)]
    assert select_checkpoint("ft:c", points, "best") == "ft:b"

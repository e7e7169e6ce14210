"""The process that speaks to an MLflow server: a job as JSON on stdin, and events as lines of JSON on stdout.

MLflow's client takes seconds to import, reads its own variables and waits as long as it likes: a process of its own has
the environment and the time that it is given (`operations/tracking`), and is killed after that.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

# the tags by which runs are found again
DOMAIN_TAG, EVALUATION_TAG, CONTENT_TAG = "raft_assets.domain", "raft_assets.evaluation", "raft_assets.content"
MAX_VALUE_CHARACTERS = 500  # of a parameter: servers before 2.8 take no more
BATCH = 100  # metrics, or parameters, that a request holds; the server's own limit for parameters
_GONE = "RESOURCE_DOES_NOT_EXIST"


def main() -> None:
    """Do the job on stdin and print its events; the last one has an `error` where it failed."""
    job = json.load(sys.stdin)
    try:
        for event in _do(job):
            _report(event)
    except Exception as error:  # noqa: BLE001 - whatever a server or its client does, the run goes on with a sentence
        _report({"error": _reason(error)})


def _reason(error: BaseException) -> str:
    """Return what went wrong, without the client's words around a server that doesn't answer."""
    cause: BaseException | None = error
    while cause is not None:
        kind = type(cause)
        if kind.__module__ == "requests.exceptions" and kind.__name__ != "HTTPError":  # which is an answer
            return f"it doesn't answer, {kind.__name__}"
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split()) or type(error).__name__


def _report(event: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _do(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient()
    if job["do"] == "log":
        yield from _log(client, job)
    elif job["do"] == "delete":
        yield from _delete(client, job)
    else:
        client.search_experiments(max_results=1)
        yield {"reached": True}


def _log(client: Any, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Log an evaluation once: a run that has its tag is continued where it broke off, and left alone where it is whole.

    Yields before a run is made, and the run before figures and files are in it.
    """
    from mlflow.entities import Metric, Param, RunTag

    experiment = _experiment_id(client, job["experiment"])
    if runs := _runs_of(client, experiment, job["tags"][EVALUATION_TAG]):
        run = runs[0]
    else:
        yield {"begins": True}
        named = {DOMAIN_TAG: job["tags"][DOMAIN_TAG], EVALUATION_TAG: job["tags"][EVALUATION_TAG]}
        run = client.create_run(experiment, start_time=job["time_ms"], tags=named, run_name=job["name"])
    run_id = run.info.run_id
    yield {"run": run_id, "experiment": experiment}
    if run.data.tags.get(CONTENT_TAG) == job["content"]:
        return
    params = [Param(name, _shortened(str(value))) for name, value in job["params"].items()]
    metrics = [Metric(name, value, job["time_ms"], 0) for name, value in job["metrics"].items()]
    for some in _batches(params):
        client.log_batch(run_id, params=some)
    for some in _batches(metrics):
        client.log_batch(run_id, metrics=some)
    for file in sorted(Path(job["folder"]).iterdir()):
        client.log_artifact(run_id, str(file))
    tags = [RunTag(name, value) for name, value in job["tags"].items() if value]
    for some in _batches([*tags, RunTag(CONTENT_TAG, job["content"])]):
        client.log_batch(run_id, tags=some)
    client.set_terminated(run_id, end_time=job["time_ms"])


def _experiment_id(client: Any, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name))
    if experiment.lifecycle_stage != "active":
        raise ValueError(
            f"the experiment {name!r} was deleted at the server: restore it there (mlflow experiments restore)"
        )
    return str(experiment.experiment_id)


def _delete(client: Any, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Delete the runs of evaluations with their artifacts; the server is asked for those that aren't known."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(job["experiment"])
    runs = list(filter(None, job["logged"].values()))
    if experiment:
        for evaluation in job["logged"]:
            runs += (run.info.run_id for run in _runs_of(client, experiment.experiment_id, evaluation))
    for run_id in dict.fromkeys(runs):
        try:
            yield {"run": run_id, "problem": _delete_run(client, run_id), "was_there": True}
        except MlflowException as error:
            if error.error_code != _GONE:
                raise
            yield {"run": run_id, "problem": "", "was_there": False}


def _runs_of(client: Any, experiment: str, evaluation: str) -> list[Any]:
    return list(client.search_runs([experiment], filter_string=f"tags.`{EVALUATION_TAG}` = '{evaluation}'"))


def _delete_run(client: Any, run_id: str) -> str:
    """Delete a run with its artifacts; return why the artifacts could not be deleted, empty where they are gone.

    The run stays as it is then, so that it can be found.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    run = client.get_run(run_id)
    try:
        artifacts: Any = get_artifact_repository(run.info.artifact_uri)
        if artifacts.list_artifacts():
            artifacts.delete_artifacts()
    except Exception as error:  # noqa: BLE001 - stores of artifacts have errors of their own
        return _reason(error)
    if run.info.lifecycle_stage == "active":
        client.delete_run(run_id)
    return ""


def _shortened(value: str) -> str:
    return value if len(value) <= MAX_VALUE_CHARACTERS else value[: MAX_VALUE_CHARACTERS - 1] + "…"


def _batches(items: list[Any]) -> Iterator[list[Any]]:
    waiting = iter(items)
    while some := list(islice(waiting, BATCH)):
        yield some


if __name__ == "__main__":
    main()

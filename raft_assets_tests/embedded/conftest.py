"""Fixtures of the embedded provider: a state folder, a server and a trained job for the session."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob
from starlette.applications import Starlette

from raft_assets.embedded.app import create_app
from raft_assets_tests.embedded.provider import client_of, ended, served, settings_of, training_file, upload


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder that the session's server works on."""
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(scope="session")
def base_url(state: Path) -> Iterator[str]:
    """Where the session's server answers."""
    with served(state) as url:
        yield url


@pytest.fixture(scope="session")
def client(base_url: str) -> Iterator[openai.OpenAI]:
    """The official client of the session's server."""
    with client_of(base_url) as client:
        yield client


@pytest.fixture(scope="session")
def app(state: Path) -> Starlette:
    """The application in this process, on the state folder that the server works on, too."""
    return create_app(settings_of(state))


@pytest.fixture(scope="session")
def trained(client: openai.OpenAI) -> FineTuningJob:
    """A job that succeeded."""
    job = client.fine_tuning.jobs.create(
        model="embedded-reader",
        training_file=upload(client, training_file()),
        validation_file=upload(client, training_file(4), "valid.jsonl"),
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 4}}},
        suffix="lighthouses",
        metadata={"domain": "lighthouses", "hash": "abc"},
        seed=7,
    )
    job = ended(client, job.id)
    assert job.status == "succeeded", job.error
    return job

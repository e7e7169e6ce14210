"""The application of a local server: the provider's routes, with an engine and a trainer of open models behind them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from raft_assets.local.answers import Answers
from raft_assets.local.engine import Engine, Launch
from raft_assets.local.machine import Machine
from raft_assets.local.models import LocalModels
from raft_assets.local.settings import LocalSettings
from raft_assets.provider.app import create_provider_app
from raft_assets.provider.errors import ApiError
from raft_assets.provider.files import FileStore
from raft_assets.provider.jobs import JobService


def create_app(settings: LocalSettings) -> Starlette:
    """Create the application, which owns the machine from its start to its end."""
    folder = settings.folder
    models, files = LocalModels(settings), FileStore(folder)
    machine = Machine(
        Engine(
            Launch(
                kind=settings.engine,
                interpreter=settings.interpreter,
                model=settings.loaded,
                model_id=models.base,
                folder=folder,
                adapters=folder / "models",
                max_model_len=settings.training.max_length,
                chat_template=settings.chat_template,
                gpu_percent=settings.gpu_percent,
            )
        )
    )
    jobs = JobService(folder, files, trainable=[models.base], worker=_runner(settings), may_start=machine.may_start)
    machine.attach(jobs)
    answers = Answers(machine, models)

    @asynccontextmanager
    async def owning(_: Starlette) -> AsyncIterator[None]:
        owner = asyncio.create_task(machine.run())
        try:
            yield
        finally:
            owner.cancel()
            with suppress(asyncio.CancelledError):
                await owner

    return create_provider_app(
        folder,
        files=files,
        models=models,
        jobs=jobs,
        answering=[
            Route("/v1/chat/completions", answers.chat, methods=["POST"]),
            Route("/v1/completions", answers.complete, methods=["POST"]),
            Route("/v1/embeddings", _embed, methods=["POST"]),
        ],
        lifespan=owning,
    )


def _runner(settings: LocalSettings) -> list[str]:
    """Return the command that brings a job to its end."""
    order = {"base": str(settings.loaded.path), "base_name": settings.model.name, **settings.training.as_order()}
    worker = settings.worker or (str(settings.interpreter.python),)
    options = ["--worker", json.dumps(worker), "--base-sha256", settings.base_sha256]
    return [sys.executable, "-m", "raft_assets.local.job_runner", *options, "--order", json.dumps(order)]


async def _embed(_: Request) -> Response:
    raise ApiError(
        404,
        "This server has no model for embeddings. Leave EMBEDDING to the embedded encoder, or to a server of its own.",
        param="model",
        code="model_not_found",
    )

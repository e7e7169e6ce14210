"""The embedded provider: an ASGI application that speaks the OpenAI API.

The `openai` client reaches it in process, or on a port that `server` opens. What belongs here: which models and which
trainer stand behind the provider's routes. It binds no address and asks for no key.
"""

import sys
from functools import partial

from starlette.applications import Starlette
from starlette.routing import Route

from raft_assets.embedded.completions import Completions
from raft_assets.embedded.encoder import Encoder
from raft_assets.embedded.models import READER, EmbeddedModels
from raft_assets.embedded.settings import EmbeddedSettings
from raft_assets.provider.app import batch_routes, create_provider_app
from raft_assets.provider.batches import BatchService
from raft_assets.provider.files import FileStore
from raft_assets.provider.jobs import JobService
from raft_assets.provider.shared_jobs import SharedJobs

WORKER = (sys.executable, "-m", "raft_assets.embedded.job_worker")  # works on a job, given its folder


def create_app(settings: EmbeddedSettings) -> Starlette:
    """Create the application.

    It loads the encoder when a request first needs it, and writes nothing before one does.
    """
    folder = settings.folder.resolve()
    files = FileStore(folder, settings.shared)
    load_encoder = partial(Encoder.load, settings.encoder_folder, hf_home=settings.huggingface_home)
    models = EmbeddedModels(folder, load_encoder, settings.shared)
    completions = Completions(models)
    app = create_provider_app(
        folder,
        files=files,
        models=models,
        jobs=JobService(
            folder,
            files,
            trainable=[READER],
            worker=[*WORKER, *_worker_options(settings)],
            shared=SharedJobs(settings.shared, files=files, share_model=models.share),
        ),
        answering=[
            Route("/v1/chat/completions", completions.chat, methods=["POST"]),
            Route("/v1/completions", completions.complete, methods=["POST"]),
            Route("/v1/embeddings", completions.embed, methods=["POST"]),
        ],
    )
    app.router.routes += batch_routes(BatchService(folder, files, app, settings.shared))
    return app


def _worker_options(settings: EmbeddedSettings) -> list[str]:
    options = ["--huggingface-home", str(settings.huggingface_home.resolve())]
    return (
        [*options, "--encoder-folder", str(settings.encoder_folder.resolve())] if settings.encoder_folder else options
    )

"""The project's local provider: open models on this machine, and the student that a run serves for itself."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import dotenv
import httpx2
import psutil

from raft_assets.core.addresses import SERVE_PORT
from raft_assets.core.errors import SettingsError
from raft_assets.local.provider import (
    CONVERTER_VARIABLE,
    MAX_LORA_RANK,
    PYTHON_VARIABLE,
    WORKER_VARIABLE,
    LocalProvider,
    LoraLayers,
    Quantisation,
    TrainingSettings,
)
from raft_assets.operations.shared_server import SharedServer
from raft_assets.settings.environment import (
    LOCAL_MODEL_VARIABLE,
    LOCAL_SERVED_VARIABLE,
    SERVE_KEY_VARIABLE,
    Environment,
    read_choice,
    read_int,
)
from raft_assets.settings.project import Project

ADDRESS = f"http://127.0.0.1:{SERVE_PORT}/v1"
ENDS_UNUSED = "RAFT_ENDS_UNUSED"  # set for a server that ends with the last run that uses it
ANSWERS_WITHIN_S = 60.0  # a server that computes answers late, and a second one would not get its port
LOOK_S = 0.5  # between two looks whether the server is up; it reads all weights first, a second for each gigabyte


def local_provider(project: Project) -> LocalProvider:
    """Return the provider; its interpreter is the project's, or the one that `RAFT_LOCAL_PYTHON` names."""
    return LocalProvider(
        state=project.local_folder,
        environment=project.home / "local-env",
        huggingface_home=project.huggingface_home,
        python=project.environment.get(PYTHON_VARIABLE),
        worker=project.environment.get(WORKER_VARIABLE),
        converter=project.environment.get(CONVERTER_VARIABLE),
        training=_training_settings(project.environment),
        gpu_percent=read_int(project.environment, "RAFT_LOCAL_GPU_PERCENT", default=None, low=1, high=100),
    )


def _training_settings(environment: Environment) -> TrainingSettings:
    rank = read_int(environment, "RAFT_LORA_RANK", default=TrainingSettings.rank, low=1, high=MAX_LORA_RANK)
    return TrainingSettings(
        rank=rank,
        alpha=read_int(environment, "RAFT_LORA_ALPHA", default=2 * rank, low=1, high=1024),
        layers=read_choice(environment, "RAFT_LORA_LAYERS", get_args(LoraLayers), default=TrainingSettings.layers),
        quantisation=read_choice(
            environment, "RAFT_LORA_QUANTISATION", get_args(Quantisation), default=TrainingSettings.quantisation
        ),
    )


def describe_local_models(project: Project) -> str:
    """Return what there is for open models on this machine. Raises SettingsError for what is missing."""
    provider = local_provider(project)
    interpreter = provider.interpreter
    interpreter.check()
    versions = ", ".join(f"{name} {version}" for name, version in interpreter.versions.items())
    told = f"{interpreter.python} ({versions}), engine {interpreter.choose_engine('auto')}"
    if wanted := project.environment.get(LOCAL_MODEL_VARIABLE):
        found = provider.find(_located(project, wanted))
        told += f"; {found.path} ({found.bytes / 1e9:.1f} GB)"
    return told


def shared_server(project: Project) -> SharedServer:
    """Return the locks of the server that this project's runs share."""
    return SharedServer(project.local_folder / "shared")


@contextmanager
def serving_student(project: Project, say: Callable[[str], None]) -> Iterator[Project]:
    """Serve the model of `STUDENT_LOCAL_MODEL` on this machine while the block runs, unless it is served already.

    Yields the project that knows the student. Runs of one project share the server, which ends with the last of them.
    Which id it answers to is kept in `.env.state`, so that commands know the student while nothing is served. Raises
    SettingsError where the server ends, another model is served there, or the server there is another project's: it
    would end with that project's runs, and keep this one's jobs.
    """
    wanted, environment = project.environment.get(LOCAL_MODEL_VARIABLE), project.environment
    if not wanted or environment.get("RAFT_PROVIDER"):
        yield project
        return
    located, key = _located(project, wanted), environment.get(SERVE_KEY_VARIABLE) or ""
    provider, shared = local_provider(project), shared_server(project)
    name = provider.find(located).name
    with shared.using():
        with shared.starting():
            model_id = _served_model(key)
            if model_id is None:
                model_id = _start(project, wanted, key, say)
            elif not provider.is_served(located):
                raise SettingsError(_taken(model_id, wanted))
        if model_id.partition("@")[0] != name:
            raise SettingsError(f"{ADDRESS} serves {model_id}, not {wanted} ({LOCAL_MODEL_VARIABLE}): end that server.")
        served = f"{ADDRESS} {model_id} {wanted}"
        if environment.get(LOCAL_SERVED_VARIABLE) != served:
            dotenv.set_key(project.folder / ".env.state", LOCAL_SERVED_VARIABLE, served)
            project = Project.load(project.folder)
        yield project


def is_at_rest(project: Project, service: str) -> bool:
    """Return whether a service is the server that runs of this project start for themselves, and none does now."""
    wanted = project.environment.get(LOCAL_MODEL_VARIABLE)
    if not wanted or service != ADDRESS:
        return False
    return not local_provider(project).is_served(_located(project, wanted))


def _taken(model_id: str, wanted: str) -> str:
    """Return a sentence about a server that isn't this project's, and the ways out."""
    return (
        f"{ADDRESS} is the address of another project's {model_id}, served{_owner(SERVE_PORT)}. Wait until the runs "
        f"there have ended, or serve the model of {LOCAL_MODEL_VARIABLE} on a port of its own: `raft serve --model "
        f"{wanted} --port {SERVE_PORT + 1}` prints the lines of .env that replace {LOCAL_MODEL_VARIABLE}."
    )


def _owner(port: int) -> str:
    """Return which process listens on a port of this machine; nothing where the system doesn't tell."""
    try:
        listening = (one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN and one.pid)
        found = next(psutil.Process(one.pid) for one in listening if getattr(one.laddr, "port", None) == port)
        return f" by process {found.pid} in {found.cwd()}"
    except (psutil.Error, StopIteration):
        return " by another process"


def _located(project: Project, model: str) -> str:
    """Return the path of a model that is named relative to the project, else the name as it is."""
    path = project.folder / Path(model).expanduser()
    return str(path) if path.exists() else model


def _start(project: Project, wanted: str, key: str, say: Callable[[str], None]) -> str:
    """Start the server and return the id of the model once it answers; it outlives this process where others use it."""
    log = project.local_folder / "serve.log"
    say(f"Serving {wanted} at {ADDRESS} (log: {log})")
    log.parent.mkdir(parents=True, exist_ok=True)
    model = _located(project, wanted)
    command = [sys.executable, "-m", "raft_assets.cli.main", "serve", "--model", model, "--port", str(SERVE_PORT)]
    with log.open("wb") as written:
        process = subprocess.Popen(
            command,
            cwd=project.folder,
            env=os.environ | {"RAFT_PROJECT": str(project.folder), ENDS_UNUSED: "1"},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,  # Ctrl-C in the terminal of one run is no end for the others
        )
    while (model_id := _served_model(key)) is None:
        if process.poll() is not None:
            raise SettingsError(f"The server of {wanted} ended: {_last_line(log)}")
        time.sleep(LOOK_S)
    threading.Thread(target=process.wait, daemon=True).start()  # an ended child that nobody waits for stays a zombie
    return model_id


def _served_model(key: str) -> str | None:
    """Return the id of the base model that is served; None where nothing answers."""
    try:
        signed_in = {"authorization": f"Bearer {key}"} if key else {}
        listed = httpx2.get(f"{ADDRESS}/models", headers=signed_in, timeout=ANSWERS_WITHIN_S, trust_env=False).json()
        return next(str(model["id"]) for model in listed["data"] if not str(model["id"]).startswith("ft:"))
    except (httpx2.TransportError, ValueError, KeyError, TypeError, StopIteration):
        return None


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    return lines[-1] if lines else f"{log} says nothing."

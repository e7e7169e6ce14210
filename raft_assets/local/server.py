"""The local provider on a port: `raft serve --model`."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from raft_assets.core.addresses import LOCAL_NAMES, is_loopback, listen
from raft_assets.core.errors import SettingsError
from raft_assets.core.locks import try_lock
from raft_assets.local.app import create_app
from raft_assets.local.door import Door
from raft_assets.local.engine import write_chat_template
from raft_assets.local.settings import MIN_KEY_CHARACTERS, LocalSettings
from raft_assets.local.unpacked import unpack

KEY_VARIABLE = "RAFT_SERVE_KEY"
LOCK_FILE = "server.lock"  # of a state folder; its server holds it
GRACE_S = 10  # for answers under way when the server is told to end


def serve(
    settings: LocalSettings,
    *,
    host: str,
    port: int,
    key: str,
    names: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _: None,
    on_start: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until interrupted; `on_start` is given the id of the base model once the port is taken.

    `tell` is given what happens before that and takes long.

    `names`: by which clients on other machines address the server. Raises SettingsError for an address that others can
    reach without a key of `MIN_KEY_CHARACTERS`, for a port that is taken, and for a folder that another server uses.
    """
    if not is_loopback(host) and len(key) < MIN_KEY_CHARACTERS:
        raise SettingsError(
            f"{host} can be reached by other machines: set {KEY_VARIABLE} to a key of at least {MIN_KEY_CHARACTERS} "
            "characters (such as `openssl rand -hex 32` prints), or serve on 127.0.0.1."
        )
    settings.folder.mkdir(parents=True, exist_ok=True)
    owned = try_lock(settings.folder / LOCK_FILE)
    if owned is None:
        raise SettingsError(f"Another server works in {settings.folder}: one machine has one owner. End it first.")
    try:
        settings.write_base()
        unpack(
            settings.model,
            settings.folder,
            sha256=settings.base_sha256,
            interpreter=settings.interpreter,
            tell=tell,
        )
        if settings.chat_template:
            write_chat_template(settings.loaded, settings.chat_template, settings.interpreter)
        listener = listen(host, port, who="The server")
        app = Door(create_app(settings), names=[*LOCAL_NAMES, _bracketed(host), *names], key=key)
        on_start(settings.model_id)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=GRACE_S
        )
        with listener:
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        os.close(owned)


def is_owned(folder: Path) -> bool:
    """Return whether a server works in a state folder."""
    file = folder / LOCK_FILE
    if not file.is_file():
        return False
    lock = try_lock(file)
    if lock is None:
        return True
    os.close(lock)
    return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

"""Atomic writes, locally or on object storage: a reader sees the old file or the new one, never half of one."""

import os
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from upath import UPath


def write_text(file: Path, text: str) -> None:
    """Replace `file`, creating its folder; of several writers the last one wins."""
    write_bytes(file, text.encode("utf-8"))


def write_bytes(file: Path, content: bytes) -> None:
    """Replace `file`, creating its folder; of several writers the last one wins."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", dir=file.parent, prefix=".", suffix=".part", delete=False) as stream:
        temporary = Path(stream.name)
        try:
            stream.write(content)
        except BaseException:
            temporary.unlink()
            raise
    temporary.replace(file)


def is_local(address: UPath) -> bool:
    """Return whether the address is on a disk of this machine."""
    return address.protocol in ("", "file")


def abandoned_drafts(target: UPath) -> list[Path]:
    """Return the drafts of a local file; where nobody writes it now, processes that were killed left them."""
    local = Path(target.path)
    return list(local.parent.glob(f".*-{_draft_name(local)}")) if is_local(target) else []


def _draft_name(local: Path) -> str:
    return f"{sha256(local.name.encode()).hexdigest()[:12]}.tmp"


def publish(target: UPath, fill: Callable[[Path], object]) -> None:
    """Put the draft that `fill` writes at the target, which may be large or remote.

    If `fill` fails, the target does not change.
    """
    if not is_local(target):
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / "draft"
            fill(draft)
            target.fs.put_file(str(draft), target.path)  # the object changes once it is complete
        return
    local = Path(target.path)
    local.parent.mkdir(parents=True, exist_ok=True)
    draft = local.with_name(f".{os.getpid()}-{_draft_name(local)}")
    try:
        fill(draft)
        draft.replace(local)
    finally:
        draft.unlink(missing_ok=True)

"""Writing a file, here or on object storage, so that a reader sees the old one or the new one, never half of one."""

import os
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from upath import UPath


def write_text(file: Path, text: str) -> None:
    """Replaces `file`, creating its folder; of several writers the last wins."""
    write_bytes(file, text.encode("utf-8"))


def write_bytes(file: Path, content: bytes) -> None:
    """Replaces `file`, creating its folder; of several writers the last wins."""
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
    """Whether it is on a disk of this machine."""
    return address.protocol in ("", "file")


def publish(target: UPath, fill: Callable[[Path], object]) -> None:
    """Puts what `fill` writes into a draft at the target, which may be large or far away; where it fails, nothing."""
    if not is_local(target):
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / "draft"
            fill(draft)
            target.fs.put_file(str(draft), target.path)  # the object changes when all of it is there
        return
    local = Path(target.path)
    local.parent.mkdir(parents=True, exist_ok=True)
    draft = local.with_name(f".{os.getpid()}-{sha256(local.name.encode()).hexdigest()[:12]}.tmp")
    try:
        fill(draft)
        draft.replace(local)
    finally:
        draft.unlink(missing_ok=True)

"""Writing a small file so that a reader sees the old one or the new one, never half of one."""

import tempfile
from pathlib import Path


def write_text(file: Path, text: str) -> None:
    """Replaces `file`, creating its folder; of several writers the last wins."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=file.parent, prefix=".", suffix=".part", delete=False
    ) as stream:
        temporary = Path(stream.name)
        try:
            stream.write(text)
        except BaseException:
            temporary.unlink()
            raise
    temporary.replace(file)

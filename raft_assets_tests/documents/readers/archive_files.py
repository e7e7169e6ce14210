"""Archives of documents that tests write or change part by part."""

import zipfile
from collections.abc import Mapping
from io import BytesIO


def archive(parts: Mapping[str, str | bytes]) -> bytes:
    """Return an archive of these parts."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in parts.items():
            made.writestr(name, content)
    return stream.getvalue()


def parts_of(data: bytes) -> dict[str, bytes]:
    """Return the parts of an archive."""
    with zipfile.ZipFile(BytesIO(data)) as made:
        return {name: made.read(name) for name in made.namelist()}


def with_text(data: bytes, part: str, old: str, new: str) -> bytes:
    """Return an archive with another text in a part, which must have the old one."""
    parts = parts_of(data)
    assert old in parts[part].decode()
    return archive(parts | {part: parts[part].decode().replace(old, new)})

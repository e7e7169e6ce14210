"""Training files on their way to the service: cut to what it takes, sent whole or in parts, waited for until processed.

What a file is trained on for is in `finetuning`; what its rows say is in `dataset`. API:
https://platform.openai.com/docs/api-reference/uploads
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_assets.core.errors import EndpointError
from raft_assets.core.identity import digest

if TYPE_CHECKING:
    import openai
    from openai.types import FileObject

MAX_FILE_BYTES = 512_000_000  # of a training file: what OpenAI's API of files and Azure OpenAI's quota say
BOM = b"\xef\xbb\xbf"
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_SIZE = re.compile(r"(?P<number>\d[\d,]*(?:\.\d+)?)\s*(?P<unit>[kmg]?)(?:i?b\b|bytes\b)", re.IGNORECASE)
_TOO_LARGE = re.compile(r"too (large|big)|exceed|larger than|bigger than|maximum|limit", re.IGNORECASE)


class FileTooLargeError(Exception):
    """The service takes only files of at most `max_bytes`; nothing was stored there."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self.max_bytes = max_bytes


@dataclass(frozen=True)
class UploadPolicy:
    """How a file is sent, in bytes; `timeout_s`: seconds for the service to process it.

    Azure takes larger files whole and then fails the job; parts have at most 64 MB at both services.
    """

    max_whole_bytes: int = 100_000_000
    part_bytes: int = 64_000_000
    initial_poll_s: float = 0.2
    max_poll_s: float = 30.0
    timeout_s: float = 600.0


DEFAULT_UPLOADS = UploadPolicy()


def fit_rows(content: bytes, max_bytes: int) -> tuple[bytes, int]:
    """Return as many whole rows as fit, in their order, and how many were left out.

    Which ones stay is drawn by a hash of each row, so that no document is left out more than others.
    """
    if len(content) <= max_bytes:
        return content, 0
    start = BOM if content.startswith(BOM) else b""
    rows = [row + b"\n" for row in content.removeprefix(BOM).split(b"\n") if row.strip()]
    kept, size = set[int](), len(start)
    for number in sorted(range(len(rows)), key=lambda number: digest("fit", rows[number])):
        if size + len(rows[number]) <= max_bytes:
            kept.add(number)
            size += len(rows[number])
    return start + b"".join(row for number, row in enumerate(rows) if number in kept), len(rows) - len(kept)


async def upload_file(
    client: openai.AsyncOpenAI,
    name: str,
    content: bytes,
    *,
    policy: UploadPolicy = DEFAULT_UPLOADS,
    open_uploads: Callable[[], openai.AsyncOpenAI] | None = None,
) -> str:
    """Upload a training file, wait until the service has processed it, and return its id.

    `open_uploads` opens the client for uploads in parts where it is another one. Raises FileTooLargeError where the
    service says how much it takes, and EndpointError where it rejects the file or processes it for too long.
    """
    import openai

    try:
        uploaded = await _send(client, name, content, policy, open_uploads)
    except openai.APIStatusError as error:
        if limit := _told_limit(error, len(content)):
            raise FileTooLargeError(limit) from error
        raise
    deadline, pause = time.monotonic() + policy.timeout_s, policy.initial_poll_s
    while uploaded.status not in ("processed", "error"):
        if time.monotonic() > deadline:
            raise EndpointError(
                f"The service is still processing the upload {uploaded.id} after {policy.timeout_s:.0f} s. "
                f"Materialize finetuned_model again later."
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, policy.max_poll_s)
        uploaded = await client.files.retrieve(uploaded.id)
    if uploaded.status == "error":
        raise EndpointError(f"The service rejected the training file: {uploaded.status_details or 'no reason given'}.")
    return uploaded.id


async def _send(
    client: openai.AsyncOpenAI,
    name: str,
    content: bytes,
    policy: UploadPolicy,
    open_uploads: Callable[[], openai.AsyncOpenAI] | None,
) -> FileObject:
    """Send a file whole, or in parts if it is large and the service takes parts."""
    import openai

    if len(content) > policy.max_whole_bytes:
        uploads = open_uploads() if open_uploads else client
        try:
            return await _send_parts(uploads.with_options(max_retries=client.max_retries), name, content, policy)
        except openai.NotFoundError:
            pass  # many services have no such API, and take the file whole
        finally:
            if open_uploads:
                await uploads.close()
    return await client.files.create(file=(name, content), purpose="fine-tune")


async def _send_parts(client: openai.AsyncOpenAI, name: str, content: bytes, policy: UploadPolicy) -> FileObject:
    """Send a file in parts; one that is never completed expires at the service within the hour."""
    upload = await client.uploads.create(filename=name, purpose="fine-tune", bytes=len(content), mime_type="text/jsonl")
    parts = list[str]()
    for start in range(0, len(content), policy.part_bytes):
        part = (f"{name}.{len(parts)}", content[start : start + policy.part_bytes], "application/octet-stream")
        parts.append((await client.uploads.parts.create(upload.id, data=part)).id)
    completed = await client.uploads.complete(upload.id, part_ids=parts)
    if completed.file is None:
        raise EndpointError(
            f"The service put the upload {upload.id} of {len(parts)} parts together and names no file. Materialize "
            "finetuned_model again."
        )
    return completed.file


def _told_limit(error: openai.APIStatusError, size: int) -> int | None:
    """Return the most bytes that the service takes, from a refusal of a file of that size; None if it says nothing."""
    told = str(error.body.get("message") if isinstance(error.body, dict) else error.body or error.message)
    if error.status_code not in (400, 413, 422) or not (error.status_code == 413 or _TOO_LARGE.search(told)):
        return None
    sizes = [
        int(float(match["number"].replace(",", "")) * _SIZES[match["unit"].lower()]) for match in _SIZE.finditer(told)
    ]
    return min((told_bytes for told_bytes in sizes if 0 < told_bytes < size), default=None)

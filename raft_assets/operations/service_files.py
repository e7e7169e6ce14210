"""What lies at the services of the models: the files of batches and of training that hold a purged text.

What belongs here: finding and deleting files, ending batches. Which calls and students are purged is in `purge`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_assets.core.errors import EndpointError
from raft_assets.llm.batches import BATCH_HASH_KEY, FINAL_STATUSES, MAX_LISTED
from raft_assets.operations.trained import TrainedStudent
from raft_assets.student.finetuning import FINAL_STATUSES as FINAL_JOB_STATUSES

if TYPE_CHECKING:
    import openai
    from openai.types import Batch

_BATCH_FILE = re.compile(r"(?P<name>[0-9a-f]{64})\.jsonl")
_TRAINING_FILE = re.compile(r"(?:train|valid)-(?P<hash>[0-9a-f]{64})\.jsonl")


@dataclass(frozen=True)
class Wanted:
    """What is looked for, among files that raft-assets made.

    Files of batches by the keys of their calls: `batches` says of recorded ones, by name, whether they are meant, and
    `batch_ids` are those that are, which the service may no longer list.
    Training files by their hash: `trainings` says of recorded ones whether they are meant. Of others, `holds_text` says
    it by their content.
    """

    keys: AbstractSet[str]
    batches: Mapping[str, bool]
    batch_ids: Sequence[str]
    trainings: Mapping[str, bool]
    holds_text: Callable[[str], bool]


@dataclass(frozen=True)
class FoundFiles:
    """What a service holds: ids of batches, of files of batches that are gone, and of training files."""

    batches: tuple[str, ...] = ()
    batch_files: tuple[str, ...] = ()
    training_files: tuple[str, ...] = ()


async def find_files(client: openai.AsyncOpenAI, wanted: Wanted) -> FoundFiles:
    """Return what the service holds of what is wanted; raises EndpointError if it doesn't say."""
    import openai

    try:
        batches, files = await _find_batches(client, wanted)
        return FoundFiles(tuple(batches), tuple(files), tuple(await _find_training_files(client, wanted)))
    except openai.APIError as error:
        raise EndpointError(_told(error)) from None


async def delete_files(client: openai.AsyncOpenAI, found: FoundFiles) -> list[str]:
    """Delete what was found and return the ids of batches that the service is still cancelling.

    Raises EndpointError if the service refuses.
    """
    import openai

    try:
        waiting = [batch for batch in found.batches if not await _delete_batch_files(client, batch)]
        for file in (*found.batch_files, *found.training_files):
            await _delete_file(client, file)
    except openai.APIError as error:
        raise EndpointError(_told(error)) from None
    return waiting


async def cancel_batches(client: openai.AsyncOpenAI, found: FoundFiles) -> None:
    """End the batches that are under way; raises EndpointError if the service doesn't answer."""
    import openai

    for batch in found.batches:
        try:
            with suppress(openai.APIStatusError):  # it has ended already
                await client.batches.cancel(batch)
        except openai.APIError as error:
            raise EndpointError(_told(error)) from None


async def delete_student(client: openai.AsyncOpenAI, student: TrainedStudent, job: str) -> None:
    """End the student's job if it is under way, and delete its models; raises EndpointError if the service refuses."""
    import openai

    models = list(student.models)
    try:
        if job:
            models += await _end_job(client, job)
        for model in dict.fromkeys(models):
            with suppress(openai.NotFoundError):
                await client.models.delete(model)
            with suppress(openai.NotFoundError):  # some services have no such API, and answer so
                await client.models.retrieve(model)
                raise EndpointError(f"its API doesn't delete {model}: delete it in its portal")
    except openai.APIError as error:
        raise EndpointError(_told(error)) from None


async def _end_job(client: openai.AsyncOpenAI, job: str) -> list[str]:
    """Cancel a job that is under way, and return the models that it has made."""
    import openai

    try:
        found = await client.fine_tuning.jobs.retrieve(job)
        if found.status not in FINAL_JOB_STATUSES:
            found = await client.fine_tuning.jobs.cancel(job)
        points = [point async for point in client.fine_tuning.jobs.checkpoints.list(job, limit=100)]
    except openai.NotFoundError:
        return []
    return [model for model in (found.fine_tuned_model, *(p.fine_tuned_model_checkpoint for p in points)) if model]


async def _find_batches(client: openai.AsyncOpenAI, wanted: Wanted) -> tuple[list[str], list[str]]:
    """Return the batches that are meant, and files of requests whose batch is not there."""
    import openai

    try:
        files = {
            file.id: match["name"]
            async for file in client.files.list(purpose="batch")
            if (match := _BATCH_FILE.fullmatch(file.filename))
        }
        listed: list[tuple[str, Batch]] = []
        async for batch in client.batches.list(limit=100):
            # some services keep no metadata
            name = (batch.metadata or {}).get(BATCH_HASH_KEY) or files.get(batch.input_file_id, "")
            if name:
                listed.append((name, batch))
            if len(listed) == MAX_LISTED:
                break
    except openai.NotFoundError:  # no such API
        return [], []
    found = [batch.id for name, batch in listed if await _is_meant(client, name, batch, wanted)]
    with_batch = {batch.input_file_id for _, batch in listed}
    alone = [
        file
        for file, name in files.items()
        if file not in with_batch and wanted.batches.get(name, True) and await _names_key(client, file, wanted.keys)
    ]
    return list(dict.fromkeys([*found, *wanted.batch_ids])), alone


async def _is_meant(client: openai.AsyncOpenAI, name: str, batch: Batch, wanted: Wanted) -> bool:
    if name in wanted.batches:
        return wanted.batches[name]
    for file in _files_of(batch):
        if await _names_key(client, file, wanted.keys):
            return True
    return False


def _files_of(batch: Batch) -> Iterator[str]:
    yield from filter(None, (batch.input_file_id, batch.output_file_id, batch.error_file_id))


async def _names_key(client: openai.AsyncOpenAI, file: str, keys: AbstractSet[str]) -> bool:
    """Return whether a file of requests or answers has a line of one of the calls."""
    import openai

    try:
        content = (await client.files.content(file)).text
    except openai.NotFoundError:
        return False
    return not keys.isdisjoint(_custom_ids(content.split("\n")))


def _custom_ids(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        try:
            parsed = json.loads(line)
        except ValueError:
            continue
        if isinstance(parsed, dict):
            yield str(parsed.get("custom_id"))


async def _find_training_files(client: openai.AsyncOpenAI, wanted: Wanted) -> list[str]:
    import openai

    found = list[str]()
    try:
        async for file in client.files.list(purpose="fine-tune"):
            match = _TRAINING_FILE.fullmatch(file.filename)
            if match is None:
                continue
            known = wanted.trainings.get(match["hash"])
            if known or (known is None and wanted.holds_text((await client.files.content(file.id)).text)):
                found.append(file.id)
    except openai.NotFoundError:  # no such API
        return []
    return found


async def _delete_batch_files(client: openai.AsyncOpenAI, batch_id: str) -> bool:
    """Delete the files of a batch; False while the service is still cancelling it."""
    import openai

    try:
        batch = await client.batches.retrieve(batch_id)
    except openai.NotFoundError:
        return True
    if batch.status not in FINAL_STATUSES:
        return False
    for file in _files_of(batch):
        await _delete_file(client, file)
    return True


async def _delete_file(client: openai.AsyncOpenAI, file: str) -> None:
    import openai

    with suppress(openai.NotFoundError):
        await client.files.delete(file)


def _told(error: openai.APIError) -> str:
    status = getattr(error, "status_code", None)
    return f"it answers {status}" if status else f"it doesn't answer: {type(error).__name__}"


def count_files(found: FoundFiles) -> str:
    """Say what was found in words."""
    counts = {
        "batches with their files": len(found.batches),
        "files of batches": len(found.batch_files),
        "training files": len(found.training_files),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing"

"""Which students were trained on which documents: a record per training hash, so that a purge finds them.

A domain's lake holds its last student alone. What belongs here: the record. Training is in `operations/training`.
"""

from collections.abc import Collection, Iterator

from pydantic import BaseModel, ConfigDict

from raft_assets.core.ports import Records, VersionedRecord, newest_of_all
from raft_assets.core.tables import Chunk, RaftRow
from raft_assets.storage.lake import Lake
from raft_assets.student.finetuning import FineTuningResult

FOLDER = "students"  # of the records


class TrainedStudent(BaseModel):
    """A student, submitted or trained; `documents`: the paths of those that its files are of, by domain.

    `models` are empty until its job has ended.
    """

    model_config = ConfigDict(frozen=True)

    training_hash: str
    service: str
    documents: dict[str, tuple[str, ...]]
    job: str = ""
    models: tuple[str, ...] = ()

    def is_of(self, domain: str, documents: Collection[str] | None) -> bool:
        """Return whether it was trained on a domain, or on one of its documents."""
        of_domain = self.documents.get(domain)
        return of_domain is not None and (documents is None or not set(documents).isdisjoint(of_domain))

    def other_domains(self, domain: str) -> list[str]:
        """Return the other domains that it was trained on: of the same text, which makes the same student."""
        return sorted(self.documents.keys() - {domain})


def trained_documents(lake: Lake, domain: str) -> set[str]:
    """Return the paths of the documents whose text is in the training files."""
    paths = {chunk.chunk_id: chunk.path for chunk in lake.rows(Chunk, domain)}
    rows = (row for row in lake.rows(RaftRow, domain) if row.split != "eval")
    return {path for row in rows for path in (row.path, *map(paths.get, row.document_chunk_ids)) if path}


def keep_submission(
    records: Records, training_hash: str, service: str, domain: str, documents: Collection[str]
) -> None:
    """Keep what a student is trained on, before anything of it is uploaded."""

    def changed(content: bytes | None) -> bytes:
        before = _parse(content) or TrainedStudent(training_hash=training_hash, service=service, documents={})
        paths = {*before.documents.get(domain, ()), *documents}
        known = before.documents | {domain: tuple(sorted(paths))}
        return before.model_copy(update={"documents": known}).model_dump_json().encode()

    _document(records, training_hash).change(changed)


def keep_student(records: Records, tuned: FineTuningResult) -> None:
    """Keep the job and the models of a student that was trained."""

    def changed(content: bytes | None) -> bytes:
        before = _parse(content)
        assert before is not None  # it was kept when it was submitted
        models = dict.fromkeys([*before.models, tuned.model, *(point.model for point in tuned.checkpoints)])
        return before.model_copy(update={"job": tuned.job_id, "models": tuple(models)}).model_dump_json().encode()

    _document(records, tuned.training_hash).change(changed)


def trained_students(records: Records) -> Iterator[TrainedStudent]:
    """Yield every student of the project."""
    return map(TrainedStudent.model_validate_json, newest_of_all(records, FOLDER))


def forget_student(records: Records, training_hash: str) -> None:
    """Delete the record of a student that is gone."""
    _document(records, training_hash).delete()


def leave_student(records: Records, training_hash: str, domain: str) -> None:
    """Note that a student is one of other domains only."""

    def changed(content: bytes | None) -> bytes:
        before = _parse(content)
        assert before is not None
        left = {name: documents for name, documents in before.documents.items() if name != domain}
        return before.model_copy(update={"documents": left}).model_dump_json().encode()

    _document(records, training_hash).change(changed)


def _parse(content: bytes | None) -> TrainedStudent | None:
    return None if content is None else TrainedStudent.model_validate_json(content)


def _document(records: Records, training_hash: str) -> VersionedRecord:
    return VersionedRecord(records, f"{FOLDER}/{training_hash}")

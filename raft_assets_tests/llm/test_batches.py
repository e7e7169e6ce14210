"""What is remembered of batches, by this version and the one before. The batches themselves: `defs/test_batches`."""

from pathlib import Path

from raft_assets.llm.batches import BatchRecord, read_batch_records
from raft_assets.settings.endpoints import Role
from raft_assets.storage.records import FileRecords

NAME = "6a3f0c9d" * 8
WRITTEN_BY_THE_VERSION_BEFORE = (
    b'{"name":"%s","role":"TEACHER","service":"https://api.openai.com/v1","model":"gpt-4.1","kind":"chat",'
    b'"keys":["k1","k2"],"asset":"qa_pairs","domain":"bats","run":"r1","submitted":1790000000.5,"batch":"batch_1",'
    b'"status":"in_progress","lost":[]}' % NAME.encode()
)


def test_a_batch_that_the_version_before_submitted_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "calls" / "batches"
    folder.mkdir(parents=True)
    (folder / f"{NAME}.json").write_bytes(WRITTEN_BY_THE_VERSION_BEFORE)
    (folder / "0123456789abcdef.lock").touch()
    assert read_batch_records(FileRecords(tmp_path)) == [
        BatchRecord(
            name=NAME,
            role=Role.TEACHER,
            service="https://api.openai.com/v1",
            model="gpt-4.1",
            kind="chat",
            keys=("k1", "k2"),
            asset="qa_pairs",
            domain="bats",
            run="r1",
            submitted=1790000000.5,
            batch="batch_1",
            status="in_progress",
        )
    ]

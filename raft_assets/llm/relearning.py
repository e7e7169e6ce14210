"""How often the project was told to learn again what its services take (`raft doctor --relearn`).

What a domain's data depends on is resolved once and kept; a larger count says that it is to be resolved again.
"""

from raft_assets.core.ports import Records, VersionedRecord

RELEARNED_FILE = "calls/relearned"  # record: the count


def times_relearned(records: Records) -> int:
    """Return how often; a record that is broken counts as none."""
    content = VersionedRecord(records, RELEARNED_FILE).read() or b""
    return int(content) if content.isdigit() else 0


def count_relearning(records: Records) -> None:
    """Count one more time."""
    count = str(times_relearned(records) + 1).encode()
    VersionedRecord(records, RELEARNED_FILE).change(lambda _: count)

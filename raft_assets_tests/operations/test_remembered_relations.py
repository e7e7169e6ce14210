"""How chunks are related, remembered: the same as found anew, and found anew wherever it may differ."""

from pathlib import Path

from raft_assets.dataset.related_chunks import RelatedChunks, find_related_chunks
from raft_assets.operations.remembered_relations import relations_file, remembered_relations
from raft_assets_tests.builders import a_chunk, prose
from raft_assets_tests.harness import ProjectHarness

SENTENCE = f"The {prose('said', length=20)}."
CHUNKS = [
    a_chunk("one", document="a"),
    a_chunk("its copy", prose("one") + " or so", document="b"),
    a_chunk("says", f"{prose('says')}. {SENTENCE}", document="c"),
    a_chunk("says too", f"{prose('too')}. {SENTENCE}", document="d"),
    *(a_chunk(f"{number}", f"{prose(f'{number}')} {prose('page')}", document=f"e{number}") for number in range(5)),
]


def described(related: RelatedChunks) -> object:
    return related.group_of, related.shared, list(related.joins()), related.relatives(["one", "says"])


def test_remembered_relations_equal_those_found_and_change_with_the_chunks(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path).opened
    relate = remembered_relations(project, "harbor")
    by_id = {chunk.chunk_id: chunk for chunk in CHUNKS}
    found = described(find_related_chunks(by_id, 0.8))
    assert found[0]  # type: ignore[index]
    assert described(relate(by_id, 0.8)) == found
    kept = relations_file(project, "harbor")
    written = kept.stat().st_ino
    assert described(relate(by_id, 0.8)) == found
    assert kept.stat().st_ino == written  # read, not found again
    changed = {**by_id, "its copy": a_chunk("its copy", prose("another"), document="b")}
    assert described(relate(changed, 0.8)) == described(find_related_chunks(changed, 0.8)) != found
    assert kept.stat().st_ino != written
    assert described(relate(by_id, 0.99)) == described(find_related_chunks(by_id, 0.99))
    for damage in (b"", b"{", b"[]", kept.read_bytes().replace(b'"links": [[', b'"links": [[99, ')):
        kept.write_bytes(damage)
        assert described(relate(by_id, 0.99)) == described(find_related_chunks(by_id, 0.99))

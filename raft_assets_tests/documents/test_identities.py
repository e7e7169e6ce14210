"""Which document is which: a rename, a move or an edit keeps its id, and no two documents share one."""

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from raft_assets.core.identity import doc_id
from raft_assets.documents.identities import KnownDocument, identify_documents
from raft_assets.settings.domains import DocumentFile


def files(**contents: str) -> list[DocumentFile]:
    return [DocumentFile(path, Path(path), 1, content) for path, content in sorted(contents.items())]


def ids(documents: list[KnownDocument]) -> dict[str, str]:
    return {document.path: document.doc_id for document in documents}


FIRST = identify_documents(files(a="one", b="two", c="three"), [])


def test_a_document_that_is_seen_for_the_first_time_is_named_by_its_path() -> None:
    assert ids(FIRST) == {path: doc_id(path) for path in "abc"}
    assert all(document.is_as_first_seen for document in FIRST)


def test_a_renamed_document_keeps_its_id_and_its_place() -> None:
    after = identify_documents(files(z="one", b="two", c="three"), FIRST)
    assert [(document.doc_id, document.path) for document in after] == [
        (doc_id("a"), "z"),
        (doc_id("b"), "b"),
        (doc_id("c"), "c"),
    ]
    back = identify_documents(files(a="one", b="two", c="three"), after)
    assert [document.doc_id for document in back] == [document.doc_id for document in FIRST]


def test_an_edited_document_keeps_its_id() -> None:
    edited = identify_documents(files(a="one, edited", b="two", c="three"), FIRST)
    assert ids(edited) == ids(FIRST)
    renamed = identify_documents(files(z="one, edited", b="two", c="three"), edited)
    assert ids(renamed)["z"] == doc_id("a")


def test_documents_that_change_places_take_their_ids_along() -> None:
    assert ids(identify_documents(files(a="two", b="one", c="three"), FIRST)) == {
        "a": doc_id("b"),
        "b": doc_id("a"),
        "c": doc_id("c"),
    }


def test_a_new_document_under_the_name_of_a_renamed_one_is_another_document() -> None:
    after = ids(identify_documents(files(a="new", z="one", b="two", c="three"), FIRST))
    assert after["z"] == doc_id("a")
    assert len(set(after.values())) == 4


def test_a_copy_is_another_document_and_stays_when_the_first_one_is_deleted() -> None:
    both = identify_documents(files(a="one", copy="one"), FIRST)
    assert ids(both) == {"a": doc_id("a"), "copy": doc_id("copy")}
    assert ids(identify_documents(files(copy="one"), both)) == {"copy": doc_id("copy")}


def test_a_file_that_could_not_be_opened_is_not_taken_for_another_one() -> None:
    before = identify_documents(files(a=""), [])
    assert ids(identify_documents(files(z=""), before)) == {"z": doc_id("z")}


# a letter per file: its content; a blank stands for a file that can't be opened, a dot for none
FOLDERS = st.lists(st.text("12. ", min_size=4, max_size=4), min_size=1, max_size=5)


@given(FOLDERS)
@example(["1121", " 112", "1112", " 111"])  # what moved away from a path comes back to it as another document
def test_whatever_happens_to_a_folder_every_file_is_a_document_with_an_id_of_its_own(folders: list[str]) -> None:
    known: list[KnownDocument] = []
    for letters in folders:
        folder = {path: letter.strip() for path, letter in zip("abcd", letters, strict=True) if letter != "."}
        known = identify_documents(files(**folder), known)
        assert {document.path: document.content_hash for document in known} == folder
        assert len({document.doc_id for document in known}) == len(folder)
        assert identify_documents(files(**folder), known) == known
        assert [KnownDocument.of(document.record) for document in known] == known

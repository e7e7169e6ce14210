"""Files: uploading, listing, reading back, deleting."""

import io
import threading
from pathlib import Path

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from raft_assets.provider.errors import ApiError
from raft_assets.provider.files import FileStore
from raft_assets_tests.embedded.provider import in_process, upload


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def keep(store: FileStore, content: bytes, filename: str = "a.jsonl") -> str:
    return store.create(io.BytesIO(content), filename=filename, purpose="fine-tune").id


def blobs(folder: Path) -> list[Path]:
    return [path for path in (folder / "blobs").iterdir() if not path.name.startswith(".")]


def test_a_file_comes_back_as_it_was_sent(client: openai.OpenAI) -> None:
    content = bytes(range(256)) * 5000  # 1.3 MB, more than a form keeps in memory
    sent = client.files.create(file=("Überfälle 7.jsonl", content), purpose="fine-tune")
    assert (sent.filename, sent.bytes, sent.purpose, sent.status) == (
        "Überfälle 7.jsonl",
        len(content),
        "fine-tune",
        "processed",
    )
    assert client.files.content(sent.id).read() == content
    assert client.files.retrieve(sent.id) == sent
    assert client.files.wait_for_processing(sent.id) == sent


def test_a_file_that_was_uploaded_to_one_process_is_seen_by_another(client: openai.OpenAI, app: Starlette) -> None:
    sent = upload(client, b"shared")

    async def work(embedded: openai.AsyncOpenAI) -> bytes:
        return (await embedded.files.content(sent)).content

    assert in_process(app, work) == b"shared"


def test_a_deleted_file_is_gone(client: openai.OpenAI) -> None:
    sent = upload(client, b"gone soon")
    assert client.files.delete(sent).deleted
    for look in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            look(sent)
    assert sent not in [file.id for file in client.files.list()]


def test_files_are_listed_in_pages_newest_first(client: openai.OpenAI) -> None:
    sent = [upload(client, f"page {number}".encode()) for number in range(5)]
    pages = client.files.list(limit=2, purpose="fine-tune")
    assert [file.id for file in pages.data] == sent[:-3:-1]
    assert [file.id for file in pages][:5] == sent[::-1]  # follows `after` from page to page
    oldest_first = [file.id for file in client.files.list(order="asc")]
    assert oldest_first == [file.id for file in client.files.list()][::-1]


def test_equal_contents_are_two_files_stored_once(store: FileStore, tmp_path: Path) -> None:
    one, other = keep(store, b"same"), keep(store, b"same")
    assert one != other
    assert len(blobs(tmp_path)) == 1
    store.delete(one)
    assert store.content(other).read_bytes() == b"same"
    store.delete(other)
    assert blobs(tmp_path) == []


@pytest.mark.parametrize("file_id", ["", "file-1", "../x", "file-" + "0" * 24, "file-" + "/" * 24, "file-*"])
def test_an_id_that_is_none_is_never_a_path(store: FileStore, file_id: str) -> None:
    keep(store, b"x")
    with pytest.raises(ApiError):
        store.get(file_id)


def test_what_lies_around_in_the_folder_is_not_listed(store: FileStore, tmp_path: Path) -> None:
    kept = keep(store, b"x")
    (tmp_path / "files" / "file-torn.json").write_text('{"id": "file-')
    (tmp_path / "files" / ".part").write_text("")
    assert [file.id for file in store.all(purpose=None, order="desc")] == [kept]


def test_uploads_and_deletions_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    kept: list[str] = []

    def work() -> None:
        store = FileStore(tmp_path)
        for _ in range(10):
            kept.append(keep(store, b"the same for all"))
            store.delete(keep(store, b"the same for all"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = FileStore(tmp_path)
    assert {file.id for file in store.all(purpose=None, order="desc")} == set(kept)
    assert all(store.content(file_id).read_bytes() == b"the same for all" for file_id in kept)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), filename=st.text(min_size=1, max_size=20))
def test_any_content_under_any_name_is_kept(store: FileStore, content: bytes, filename: str) -> None:
    kept = keep(store, content, filename)
    assert store.content(kept).read_bytes() == content
    assert store.get(kept).filename == filename

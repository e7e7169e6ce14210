"""Fine-tuned models on disk."""

import threading
from pathlib import Path

import pytest

from raft_assets.provider.errors import ApiError
from raft_assets.provider.model_store import ModelStore, hash_saved_model


def weights(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights").write_bytes(b"1 2 3")


def other_weights(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights").write_bytes(b"1 2 4")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path, weights="reader")


def test_a_model_is_named_after_its_weights(store: ModelStore) -> None:
    model = store.publish(weights, base="embedded-reader", suffix="bats")
    assert model.id == f"ft:embedded-reader:raft-assets:bats:{hash_saved_model(weights)[:8]}"
    assert store.publish(weights, base="embedded-reader", suffix=None).id.startswith("ft:embedded-reader:raft-assets::")
    assert store.publish(other_weights, base="embedded-reader", suffix="bats").id != model.id
    assert (store.weights_folder(model) / "weights").read_bytes() == b"1 2 3"


def test_publishing_at_the_same_time_makes_one_model(store: ModelStore, tmp_path: Path) -> None:
    published = []
    threads = [
        threading.Thread(target=lambda: published.append(store.publish(weights, base="b", suffix="s")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({model.id for model in published}) == 1
    assert store.all() == [store.find(published[0].id)]
    assert len(list((tmp_path / "models").iterdir())) == 1  # no drafts are left


def test_a_deleted_model_can_be_published_again(store: ModelStore) -> None:
    model = store.publish(weights, base="b", suffix="s")
    store.delete(model.id)
    assert store.find(model.id) is None
    assert store.all() == []
    with pytest.raises(ApiError):
        store.delete(model.id)
    assert store.publish(weights, base="b", suffix="s").id == model.id


@pytest.mark.parametrize("name", ["", "..", "../../x", "embedded-reader", "ft:b:raft-assets:s:00000000", "\0"])
def test_any_name_may_be_asked_for(store: ModelStore, name: str) -> None:
    store.publish(weights, base="b", suffix="s")
    assert store.find(name) is None

"""The encoder: the official model's vectors, whatever else is encoded with a text, from verified weights only."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from raft_assets.embedded import weights
from raft_assets.embedded.encoder import BATCH_PIECES, Encoder
from raft_assets.embedded.weights import WeightsError, find_weights

# to three digits, cosines of these weights under any implementation (this one's GELU moves them by less than 3e-6)
KNOWN_COSINES = (
    ("That is a happy person", "That is a happy dog", 0.694),
    ("That is a happy person", "That is a very happy person", 0.943),
    ("That is a happy person", "Today is a sunny day", 0.257),
    ("The cat sits on the mat.", "A feline rests on a rug.", 0.558),
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """The encoder of this machine."""
    return Encoder.load()


@pytest.mark.parametrize(("one", "other", "cosine"), KNOWN_COSINES)
def test_cosines_are_those_of_the_model(encoder: Encoder, one: str, other: str, cosine: float) -> None:
    vectors = encoder.encode([one, other])
    assert float(vectors[0] @ vectors[1]) == pytest.approx(cosine, abs=1e-3)


def test_vectors_have_length_one_even_for_nothing(encoder: Encoder) -> None:
    assert np.linalg.norm(encoder.encode(["", "word", "\n"]), axis=1) == pytest.approx(1, abs=1e-5)
    assert encoder.encode([]).shape == (0, 384)


def test_a_vector_does_not_depend_on_the_texts_beside_it(encoder: Encoder) -> None:
    texts = ["short", "a sentence of medium length about bats", "long " * 300, *(f"number {i}" for i in range(200))]
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-5
    assert sum(min(256, encoder.wordpiece.count(text) + 2) for text in texts) > BATCH_PIECES


def test_states_of_words_stand_where_the_words_stand(encoder: Encoder) -> None:
    text = "Unaffable kiteboarders\nland."
    (states,) = encoder.token_states([text])
    words = states.of_words([(0, 9), (10, 22), (23, 27)])
    assert words.shape == (3, 384)
    assert np.linalg.norm(words, axis=1) == pytest.approx(1, abs=1e-4)
    pieces = [state for state, (start, _) in zip(states.states, states.spans, strict=True) if start >= 23]
    assert float(words[2] @ pieces[0].astype(np.float32)) == pytest.approx(1, abs=1e-3)


def test_words_behind_the_cut_have_no_state(encoder: Encoder) -> None:
    (states,) = encoder.token_states(["one two three"], limit=2)
    assert np.abs(states.of_words([(0, 3), (8, 13)])).max(axis=1).tolist()[1] == 0


def test_missing_weights_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"raft embedded install"):
        Encoder.load(tmp_path)


def test_other_weights_than_the_official_ones_are_refused(tmp_path: Path) -> None:
    official = find_weights()
    shutil.copy(official.vocabulary, tmp_path / "vocab.txt")
    (tmp_path / "model.safetensors").write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="not the official file"):
        Encoder.load(tmp_path)


def test_a_file_that_changes_is_verified_again(tmp_path: Path) -> None:
    official = find_weights()
    copied = tmp_path / "model.safetensors"
    copied.symlink_to(official.weights)
    shutil.copy(official.vocabulary, tmp_path / "vocab.txt")
    assert find_weights(tmp_path).weights == copied
    (tmp_path / "vocab.txt").write_text("changed", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"vocab\.txt"):
        find_weights(tmp_path)


def test_a_hugging_face_cache_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official = find_weights()
    snapshot = tmp_path / "hub/models--sentence-transformers--all-MiniLM-L6-v2/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(official.weights)
    (snapshot / "vocab.txt").symlink_to(official.vocabulary)
    monkeypatch.setattr(weights, "_PACKAGE", "no_such_package")
    assert find_weights(hf_home=tmp_path).weights == snapshot / "model.safetensors"

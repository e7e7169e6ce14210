"""The sentence encoder all-MiniLM-L6-v2 in plain numpy: unit vectors of texts, and states of their words.

What belongs here: the transformer's forward pass and what callers read from it. `weights` finds the weights,
`wordpiece` turns text into pieces.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from raft_assets.embedded.weights import MODEL_SHA256, find_weights
from raft_assets.embedded.wordpiece import Encoding, WordPiece

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

DIMENSIONS = 384
HEADS, HEAD_DIMENSIONS, LAYERS = 12, 32, 6
TEXT_PIECES = 256  # the model was trained on no more, special tokens included
BATCH_PIECES = 1024  # bounds memory; larger batches leave the processor's caches and are slower
_SPECIAL = 2  # [CLS] and [SEP]
_EPSILON = np.float32(1e-12)
_WORD_TABLE = "embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class TokenStates:
    """The encoder's view of a text: the state and the span of every piece, and the vector of the whole."""

    states: Halves  # (pieces, 384), unit length
    spans: tuple[tuple[int, int], ...]
    vector: Floats  # (384,), unit length

    def of_words(self, words: Sequence[tuple[int, int]]) -> Floats:
        """Return unit vectors (words, 384): the mean state of the pieces that overlap each word.

        Words beyond the end of the encoded text are zero. Words and pieces are in text order and don't overlap among
        themselves.
        """
        if not words or not self.spans:
            return np.zeros((len(words), DIMENSIONS), np.float32)
        piece_starts, piece_ends = np.array(self.spans).T
        word_starts, word_ends = np.array(words).T
        first = np.searchsorted(piece_ends, word_starts, side="right")
        last = np.maximum(first, np.searchsorted(piece_starts, word_ends, side="left"))
        totals = np.zeros((len(self.spans) + 1, DIMENSIONS), np.float32)
        np.cumsum(self.states, axis=0, dtype=np.float32, out=totals[1:])
        return normalize_vectors(totals[last] - totals[first])


@dataclass(frozen=True)
class _Linear:
    weight: Floats  # (in, out)
    bias: Floats

    def __call__(self, rows: Floats) -> Floats:
        product: Floats = rows @ self.weight
        product += self.bias
        return product


@dataclass(frozen=True)
class _LayerNorm:
    gain: Floats
    bias: Floats

    def __call__(self, rows: Floats) -> Floats:
        """Normalize in place."""
        rows -= rows.mean(axis=-1, keepdims=True)
        variance = np.einsum("...d,...d->...", rows, rows)[..., None] / np.float32(rows.shape[-1])
        rows /= np.sqrt(variance + _EPSILON)
        rows *= self.gain
        rows += self.bias
        return rows


@dataclass(frozen=True)
class _Layer:
    query_key_value: _Linear
    attention_out: _Linear
    attention_norm: _LayerNorm
    widen: _Linear
    narrow: _Linear
    out_norm: _LayerNorm

    def __call__(self, rows: Floats, shape: tuple[int, int], padding: Floats | None) -> Floats:
        """Apply one layer to rows (texts * length, 384).

        `padding` (texts, 1, 1, length) is -1e9 where there is no piece.
        """
        hidden = self.attention_out(self._attend(rows, shape, padding))
        hidden += rows
        hidden = self.attention_norm(hidden)
        wide = self.narrow(_gelu(self.widen(hidden)))
        wide += hidden
        return self.out_norm(wide)

    def _attend(self, rows: Floats, shape: tuple[int, int], padding: Floats | None) -> Floats:
        texts, length = shape
        heads = self.query_key_value(rows).reshape(texts, length, 3, HEADS, HEAD_DIMENSIONS).transpose(2, 0, 3, 1, 4)
        query, key, value = heads
        weights: Floats = query @ key.swapaxes(-1, -2)
        weights *= np.float32(HEAD_DIMENSIONS**-0.5)
        if padding is not None:
            weights += padding
        weights -= weights.max(axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(axis=-1, keepdims=True)
        context: Floats = (weights @ value).transpose(0, 2, 1, 3).reshape(texts * length, DIMENSIONS)
        return context


class Encoder:
    """all-MiniLM-L6-v2. Other texts encoded with a text change its vector by less than 1e-5. Threads may share it."""

    sha256 = MODEL_SHA256

    def __init__(self, weights: Path, wordpiece: WordPiece) -> None:
        self.wordpiece = wordpiece
        self.word_table = _memory_map(weights, _WORD_TABLE)  # (30522, 384): half of the file; a text reads a few rows
        with safe_open(weights, framework="np") as file:
            read = file.get_tensor
            text_type = read("embeddings.token_type_embeddings.weight")[0]
            self._positions: Floats = read("embeddings.position_embeddings.weight") + text_type
            self._norm = _norm(read, "embeddings.LayerNorm")
            self._layers = tuple(_layer(read, f"encoder.layer.{number}") for number in range(LAYERS))

    @classmethod
    def load(cls, weights_dir: Path | None = None, *, hf_home: Path | None = None) -> "Encoder":
        """Load the encoder with the weights of this machine; see `find_weights` for the folders and the errors."""
        files = find_weights(weights_dir, hf_home=hf_home)
        return cls(files.weights, WordPiece(files.vocabulary))

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors (texts, 384); text after 256 pieces is not read.

        Each text is encoded by itself: in a batch the last bits would depend on its neighbours, and a run that was
        killed and started again would end in other bytes.
        """
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        for number, text in enumerate(texts):
            encoding = self.wordpiece.encode(text, limit=TEXT_PIECES - _SPECIAL)
            for _, states, present in self._run([encoding]):
                vectors[number] = _pool(states, present)[0]
        return vectors

    def token_states(
        self, texts: Sequence[str], *, limit: int = TEXT_PIECES - _SPECIAL, on_batch: Callable[[], None] = lambda: None
    ) -> list[TokenStates]:
        """Return the states of the pieces of each text.

        `on_batch` is called before every batch and may raise to stop.
        """
        encodings = [self.wordpiece.encode(text, limit=limit) for text in texts]
        found: dict[int, TokenStates] = {}
        for batch, states, present in self._run(encodings, on_batch):
            pooled = _pool(states, present)
            for row, number in enumerate(batch):
                pieces = normalize_vectors(states[row, 1 : len(encodings[number].ids) + 1]).astype(np.float16)
                found[number] = TokenStates(pieces, encodings[number].spans, pooled[row])
        return [found[number] for number in range(len(texts))]

    def _run(
        self, encodings: Sequence[Encoding], on_batch: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[list[int], Floats, npt.NDArray[np.bool_]]]:
        """Yield batches of texts of similar length.

        A batch is their numbers, their states (texts, length, 384), and which pieces exist.
        """
        for batch in _batches([len(encoding.ids) + _SPECIAL for encoding in encodings]):
            on_batch()
            rows = [(self.wordpiece.start, *encodings[number].ids, self.wordpiece.end) for number in batch]
            length = max(map(len, rows))
            ids = np.array([row + (self.wordpiece.pad,) * (length - len(row)) for row in rows], np.int64)
            present = np.arange(length) < np.array([len(row) for row in rows])[:, None]
            yield batch, self._forward(ids, present), present

    def _forward(self, ids: npt.NDArray[np.int64], present: npt.NDArray[np.bool_]) -> Floats:
        texts, length = ids.shape
        padding = None if present.all() else np.where(present, np.float32(0), np.float32(-1e9))[:, None, None, :]
        rows = self._norm(self.word_table[ids] + self._positions[:length]).reshape(texts * length, DIMENSIONS)
        for layer in self._layers:
            rows = layer(rows, (texts, length), padding)
        states: Floats = rows.reshape(texts, length, DIMENSIONS)
        return states


def normalize_vectors(vectors: npt.NDArray[np.floating]) -> Floats:
    """Scale rows to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = (vectors / np.maximum(lengths, 1e-6)).astype(np.float32)
    return scaled


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield numbers of texts, shortest first, in batches of at most BATCH_PIECES pieces, padding included."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[number] * (len(batch) + 1) > BATCH_PIECES:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _pool(states: Floats, present: npt.NDArray[np.bool_]) -> Floats:
    """Return unit vectors of the mean over existing pieces."""
    return normalize_vectors(np.einsum("tld,tl->td", states, present.astype(np.float32)))


def _gelu(rows: Floats) -> Floats:
    """Apply GELU in its tanh form, in place: cosines of text vectors differ from the exact form's by less than 3e-6."""
    inner = rows * rows
    inner *= np.float32(0.044715 * 0.7978845608)
    inner += np.float32(0.7978845608)
    inner *= rows
    np.tanh(inner, out=inner)
    inner += np.float32(1)
    rows *= inner
    rows *= np.float32(0.5)
    return rows


def _memory_map(path: Path, name: str) -> Floats:
    """Map a tensor that stays in the file; the layout is safetensors' (8 bytes of header length, header, data)."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(size))[name]
    return np.memmap(path, np.float32, "r", offset=8 + size + entry["data_offsets"][0], shape=tuple(entry["shape"]))


def _linear(read: Callable[[str], Any], *names: str) -> _Linear:
    weight = np.concatenate([read(f"{name}.weight") for name in names]).T
    return _Linear(np.ascontiguousarray(weight), np.concatenate([read(f"{name}.bias") for name in names]))


def _norm(read: Callable[[str], Any], name: str) -> _LayerNorm:
    return _LayerNorm(read(f"{name}.weight"), read(f"{name}.bias"))


def _layer(read: Callable[[str], Any], name: str) -> _Layer:
    attention = f"{name}.attention"
    return _Layer(
        query_key_value=_linear(read, *(f"{attention}.self.{part}" for part in ("query", "key", "value"))),
        attention_out=_linear(read, f"{attention}.output.dense"),
        attention_norm=_norm(read, f"{attention}.output.LayerNorm"),
        widen=_linear(read, f"{name}.intermediate.dense"),
        narrow=_linear(read, f"{name}.output.dense"),
        out_norm=_norm(read, f"{name}.output.LayerNorm"),
    )

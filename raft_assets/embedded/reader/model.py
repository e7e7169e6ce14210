"""The reader's weights: two rankers, the axes on which spans differ in meaning, and the weights that detect absence.

The baseline is this model with its initial weights, chosen manually; fine-tuning learns others. Weights are kept in a
folder of two small files.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from raft_assets.core.errors import RaftError
from raft_assets.embedded.encoder import DIMENSIONS, Floats
from raft_assets.embedded.reader import sentence_features, span_features
from raft_assets.embedded.reader.passages import Sentence
from raft_assets.embedded.reader.presence import Presence
from raft_assets.embedded.reader.questions import KINDS, Question
from raft_assets.embedded.reader.ranking import Candidates, CategoryTable, Ranker

FORMAT = "raft-embedded-reader/2"
CONFIG_FILE, WEIGHTS_FILE = "config.json", "head.safetensors"
READ_SENTENCES = 5  # best-ranked sentences whose spans compete

_GAPS_FIRST = "gaps_first"  # in the config
_INITIAL_COSINE = 20.0  # a difference of 0.1 in cosine makes a sentence 7 times as likely
_INITIAL_SPAN_MEASURED = {
    "sentence score": 1.0,
    "best sentence": 2.0,
    "share asked": -3.0,
    "asked before": 1.0,
    "asked behind": 1.0,
    "length": 0.5,
}
# what a person would expect of an answer to each kind of question
_INITIAL_SPAN_CATEGORIES = {
    "when:shape=date": 4.0,
    "how_many:shape=number": 4.0,
    "how_many:shape=money": 2.0,
    "measure:shape=number": 4.0,
    "measure:shape=money": 3.0,
    "by_whom:shape=name": 4.0,
    "who:shape=name": 4.0,
    "where:shape=name": 3.0,
    "which:shape=name": 2.5,
    "which:shape=noun phrase": 1.5,
    "what:shape=name": 2.0,
    "what:shape=noun phrase": 2.0,
    "what_acts:shape=name": 2.0,
    "what_acts:shape=noun phrase": 2.0,
    "what_object:shape=name": 2.0,
    "what_object:shape=noun phrase": 2.0,
    "why:shape=long": 3.0,
    "why:before=because": 3.0,
    "how:shape=noun phrase": 1.0,
    "cloze:shape=name": 1.0,
    "cloze:shape=noun phrase": 1.0,
    "yes_no:shape=noun phrase": 1.0,
    "other:shape=noun phrase": 2.0,
    "asked=nothing": 2.0,
    "asked=nothing of many": 2.0,
    "asked=most": -2.0,
    "asked=most of many": -2.0,
    "extensible=right": -1.0,
    "extensible=left": -1.0,
    "extensible=both": -1.5,
}


class ReaderFormatError(RaftError):
    """A folder does not contain a reader that this version can load."""


@dataclass(frozen=True)
class Model:
    """All weights of a reader. `presence` is None if it was not trained to abstain: it always answers.

    `gaps_first`: a question with a gap asks for what fills it ("Which words complete this statement: ..."). Readers
    that were trained before took it for a question of its first question word, and go on as they learned.
    """

    sentences: Ranker
    spans: Ranker
    axes: Floats  # (384, MEANING_DIMENSIONS)
    presence: Presence | None = None
    gaps_first: bool = False

    @classmethod
    def initial(cls) -> "Model":
        """Return the initial weights.

        Cosine finds the sentence, the expected shape of an answer finds the span; it never abstains.
        """
        return cls(
            _ranker(sentence_features.MEASURED, {"cosine": _INITIAL_COSINE}, sentence_features.TABLE, {}, 0),
            _ranker(
                span_features.MEASURED,
                _INITIAL_SPAN_MEASURED,
                span_features.TABLE,
                _INITIAL_SPAN_CATEGORIES,
                span_features.MEANING_DIMENSIONS,
            ),
            np.zeros((DIMENSIONS, span_features.MEANING_DIMENSIONS), np.float32),
        )

    def rank_sentences(self, question: Question, documents: Sequence[Sequence[Sentence]]) -> "RankedSentences":
        """Describe and score every sentence of the documents."""
        question = self._as_read(question)
        places = [(d, s) for d, sentences in enumerate(documents) for s in range(len(sentences))]
        candidates = sentence_features.describe(question, documents)
        return RankedSentences(places, candidates, self.sentences.scores(candidates))

    def describe_spans(
        self, question: Question, sentences: Sequence[Sentence], log_probabilities: Floats
    ) -> Candidates:
        """Describe the spans of sentences, best sentence first, one after the other."""
        question = self._as_read(question)
        return Candidates.joined(
            [
                span_features.describe(question, sentence, score=float(score), rank=rank, axes=self.axes)
                for rank, (sentence, score) in enumerate(zip(sentences, log_probabilities, strict=True))
            ]
        )

    def _as_read(self, question: Question) -> Question:
        return question.with_gap_first if self.gaps_first else question


@dataclass(frozen=True)
class RankedSentences:
    """The sentences of a prompt with their scores."""

    places: list[tuple[int, int]]  # (document, sentence in it)
    candidates: Candidates
    scores: Floats

    @property
    def order(self) -> list[int]:
        """Numbers of the sentences, best first."""
        return [int(number) for number in np.argsort(-self.scores, kind="stable")]

    @property
    def log_probabilities(self) -> Floats:
        """Log probability of every sentence (sentences,)."""
        shifted: Floats = self.scores - self.scores.max()
        return shifted - np.float32(np.log(np.exp(shifted).sum()))


def save_model(model: Model, folder: Path, *, encoder_sha256: str) -> None:
    """Write both files, each atomically; equal weights give equal bytes. The config contains the weights' hash."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = save(_tensors(model))
    config = {
        "format": FORMAT,
        "encoder_sha256": encoder_sha256,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "abstains": model.presence is not None,
        "features": _feature_names(model),
    } | ({_GAPS_FIRST: True} if model.gaps_first else {})  # a reader without it keeps its bytes, and so its hash
    _write(folder / WEIGHTS_FILE, weights)
    _write(folder / CONFIG_FILE, (json.dumps(config, ensure_ascii=False, indent=1) + "\n").encode())


def load_model(folder: Path, *, encoder_sha256: str) -> Model:
    """Load a reader; raises ReaderFormatError if the folder has no intact one of this format, features and encoder."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        weights = (folder / WEIGHTS_FILE).read_bytes()
    except (OSError, ValueError) as error:
        raise ReaderFormatError(
            f"{folder} has no readable {CONFIG_FILE} and {WEIGHTS_FILE} ({error}): train the model again."
        ) from error
    initial = Model.initial()
    expected = {"format": FORMAT, "encoder_sha256": encoder_sha256, "features": _feature_names(initial)}
    for key, value in expected.items():
        if config.get(key) != value:
            raise ReaderFormatError(
                f"The reader in {folder} was made with another {key} than this version's: train the model again."
            )
    if hashlib.sha256(weights).hexdigest() != config.get("weights_sha256"):
        raise ReaderFormatError(
            f"{folder / WEIGHTS_FILE} is not the file that {CONFIG_FILE} belongs to: train the model again."
        )
    return replace(_from_tensors(initial, load(weights)), gaps_first=bool(config.get(_GAPS_FIRST)))


def _ranker(
    measured: Mapping[str, str],
    initial_measured: Mapping[str, float],
    table: CategoryTable,
    initial: Mapping[str, float],
    dimensions: int,
) -> Ranker:
    names = table.names()
    unknown = (set(initial) - set(names)) | (set(initial_measured) - set(measured))
    assert not unknown, f"initial weights of features that don't exist: {unknown}"
    return Ranker(
        table,
        np.array([initial_measured.get(name, 0.0) for name in measured], np.float32),
        np.array([initial.get(name, 0.0) for name in names], np.float32),
        np.zeros((len(KINDS), dimensions), np.float32),
    )


def _tensors(model: Model) -> dict[str, Floats]:
    tensors = {
        f"{name}.{part}": np.ascontiguousarray(getattr(ranker, part))
        for name, ranker in (("sentences", model.sentences), ("spans", model.spans))
        for part in ("measured", "categorical", "meaning")
    }
    return (
        tensors
        | {"axes": np.ascontiguousarray(model.axes)}
        | ({"presence": model.presence.weights} if model.presence else {})
    )


def _from_tensors(shape: Model, tensors: Mapping[str, Any]) -> Model:
    rankers = {
        name: Ranker(ranker.table, *(tensors[f"{name}.{part}"] for part in ("measured", "categorical", "meaning")))
        for name, ranker in (("sentences", shape.sentences), ("spans", shape.spans))
    }
    presence = Presence(tensors["presence"]) if "presence" in tensors else None
    return Model(rankers["sentences"], rankers["spans"], tensors["axes"], presence)


def _feature_names(model: Model) -> str:
    """Return a digest of every feature's name and order: weights of other features mean something else."""
    names = [
        *(*sentence_features.MEASURED, *model.sentences.table.names()),
        *(*span_features.MEASURED, *model.spans.table.names()),
    ]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.replace(path)

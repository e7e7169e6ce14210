"""The reader's public module: a question and documents in, a sentence and an exact answer out, or an abstention."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raft_assets.embedded.encoder import Encoder
from raft_assets.embedded.reader.model import READ_SENTENCES, Model, load_model, save_model
from raft_assets.embedded.reader.passages import Analyst
from raft_assets.embedded.reader.presence import evidence_of


@dataclass(frozen=True)
class ReaderAnswer:
    """The result of reading. All but the confidence are None if the reader abstains."""

    sentence: str | None  # exact substring of the document
    answer: str | None  # exact substring of the sentence
    document: int | None  # position among the documents
    confidence: float  # that the answer is right (0 to 1); in an abstention, that no document holds it


class Reader:
    """An extractive reader of English: it points at words, it doesn't write any. Safe to share between threads."""

    def __init__(self, encoder: Encoder, model: Model, *, analyst: Analyst | None = None) -> None:
        self.model = model
        self._encoder = encoder
        self._analyst = analyst or Analyst(encoder)

    @classmethod
    def initial(cls, encoder: Encoder, *, analyst: Analyst | None = None) -> "Reader":
        """Return the baseline, with initial weights: it always answers. `analyst`: one that other readers use, too."""
        return cls(encoder, Model.initial(), analyst=analyst)

    @classmethod
    def load(cls, encoder: Encoder, folder: Path, *, analyst: Analyst | None = None) -> "Reader":
        """Load a saved reader; raises ReaderFormatError if the folder has none that fits this version and encoder."""
        return cls(encoder, load_model(folder, encoder_sha256=encoder.sha256), analyst=analyst)

    def save(self, folder: Path) -> None:
        """Write the weights (below 200 kB) into a folder, atomically; equal weights give equal bytes."""
        save_model(self.model, folder, encoder_sha256=self._encoder.sha256)

    def read(self, question: str, documents: Sequence[str]) -> ReaderAnswer:
        """Return the most likely answer; abstain without documents or question, and if the answer seems absent."""
        numbers = [number for number, text in enumerate(documents) if text.strip()]
        if not numbers or not question.strip():
            return ReaderAnswer(None, None, None, 1.0)
        asked = self._analyst.question(question)
        analysed = self._analyst.documents([documents[number] for number in numbers])
        ranked = self.model.rank_sentences(asked, analysed)
        present = self.model.presence.probability(evidence_of(ranked.candidates)) if self.model.presence else 1.0
        if present < 0.5:
            return ReaderAnswer(None, None, None, 1 - present)
        best = ranked.order[:READ_SENTENCES]
        places = [ranked.places[number] for number in best]
        sentences = [analysed[document][sentence] for document, sentence in places]
        spans = self.model.describe_spans(asked, sentences, ranked.log_probabilities[best])
        if not len(spans):
            return ReaderAnswer(sentences[0].text, sentences[0].text, numbers[places[0][0]], 0.0)
        scores = self.model.spans.scores(spans)
        chosen = int(scores.argmax())
        probability = float(1 / np.exp(scores - scores[chosen]).sum())
        ends = np.cumsum([len(sentence.spans) for sentence in sentences])
        rank = int(np.searchsorted(ends, chosen, side="right"))
        span = chosen - int(ends[rank] - len(sentences[rank].spans))
        return ReaderAnswer(
            sentences[rank].text, sentences[rank].span_text(span), numbers[places[rank][0]], present * probability
        )

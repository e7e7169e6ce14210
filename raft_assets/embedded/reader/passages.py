"""Documents as the reader sees them: sentences with their words, tags and encoder states, kept for a while."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from raft_assets.core.sentences import split_sentences
from raft_assets.embedded.encoder import Encoder, Floats, TokenStates
from raft_assets.embedded.reader.questions import Question
from raft_assets.embedded.reader.spans import FIELDS, Spans, spans_of
from raft_assets.embedded.reader.words import STOP_WORDS, lemma, terms
from raft_assets.embedded.teacher.tagging import Token, tagged

SENTENCE_PIECES = 160  # longer sentences are tables and lists; what follows is not read
SENTENCE_WORDS = 120
KEPT_SENTENCE_PIECES = 150_000  # about 120 MB of states
KEPT_QUESTION_PIECES = 30_000  # a question comes back under every arm, and from both models

T = TypeVar("T", "Sentence", Question)

_FIELD = re.compile(r"(?P<name>[a-z]\w*)(?:\.[\w*]+)*:\s+(?=\S)")


@dataclass(frozen=True, eq=False)
class Sentence:
    """A sentence, or a `field: value` line of an API description. What depends on no question is computed once."""

    text: str
    encoded: TokenStates

    @cached_property
    def terms(self) -> list[str]:
        """Base forms of the words that carry meaning, in order."""
        return terms(self.text)

    @cached_property
    def term_set(self) -> frozenset[str]:
        """Base forms of the words that carry meaning."""
        return frozenset(self.terms)

    @cached_property
    def tokens(self) -> list[Token]:
        """The first SENTENCE_WORDS tokens with their tags."""
        return tagged(self.text)[:SENTENCE_WORDS]

    @cached_property
    def lemmas(self) -> list[str]:
        """Base form of every token."""
        return [lemma(token.word) for token in self.tokens]

    @cached_property
    def is_content(self) -> npt.NDArray[np.bool_]:
        """Which tokens carry meaning (tokens,)."""
        return np.array([token.word[0].isalnum() and token.lower not in STOP_WORDS for token in self.tokens], bool)

    def token_states(self) -> Floats:
        """Return unit vectors (tokens, 384).

        Not kept, because they are four times as large as what they are made of.
        """
        return self.encoded.of_words([(token.start, token.end) for token in self.tokens])

    @cached_property
    def field(self) -> int:
        """Position in FIELDS of the field on this line."""
        match = _FIELD.match(self.text)
        name = match["name"] if match else "none"
        return FIELDS.index(name if name in FIELDS else "other")

    @cached_property
    def value_start(self) -> int | None:
        """First token of a `field: value` line's value, None in a sentence of prose."""
        match = _FIELD.match(self.text)
        if match is None:
            return None
        return next((i for i, token in enumerate(self.tokens) if token.start >= match.end()), None)

    @cached_property
    def spans(self) -> Spans:
        """Spans that may be an answer."""
        return spans_of(self.tokens, field=self.field, value_start=self.value_start)

    def span_text(self, number: int) -> str:
        """Return the text of a span, an exact substring."""
        first, last = self.tokens[self.spans.starts[number]], self.tokens[self.spans.ends[number] - 1]
        return self.text[first.start : last.end]


class Kept(Generic[T]):
    """What was analysed last, by its text, at most `pieces` of it in all. Threads may share it."""

    def __init__(self, pieces: int) -> None:
        self._most = pieces
        self._found: OrderedDict[str, T] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, text: str) -> T | None:
        """Return what is kept of the text."""
        return self._found.get(text)

    def keep(self, analysed: Mapping[str, T]) -> None:
        """Keep what was used, and drop the least recently used."""
        with self._lock:
            for text, value in analysed.items():
                if text not in self._found:
                    self._size += len(value.encoded.spans)
                self._found[text] = value
                self._found.move_to_end(text)
            while self._size > self._most and self._found:
                _, oldest = self._found.popitem(last=False)
                self._size -= len(oldest.encoded.spans)


class Analyst:
    """Analyses questions and documents; readers of one process share it and what it keeps of them."""

    def __init__(self, encoder: Encoder, *, kept_pieces: int = KEPT_SENTENCE_PIECES) -> None:
        self.encoder = encoder
        self._sentences: Kept[Sentence] = Kept(kept_pieces)
        self._questions: Kept[Question] = Kept(KEPT_QUESTION_PIECES)

    def question(self, text: str) -> Question:
        """Return the question, analysed."""
        return self.questions([text])[0]

    def questions(self, texts: Sequence[str], *, on_batch: Callable[[], None] = lambda: None) -> list[Question]:
        """Return the questions, in order; equal ones are encoded once."""
        found = self._analysed(dict.fromkeys(texts), Question, self._questions, on_batch)
        return [found[text] for text in texts]

    def documents(self, texts: Sequence[str], *, on_batch: Callable[[], None] = lambda: None) -> list[list[Sentence]]:
        """Return the sentences of each document; a document without any sentence is one."""
        split = [split_sentences(text) or [text] for text in texts]
        wanted = dict.fromkeys(sentence for sentences in split for sentence in sentences)
        found = self._analysed(wanted, Sentence, self._sentences, on_batch)
        return [[found[text] for text in sentences] for sentences in split]

    def _analysed(
        self, wanted: Iterable[str], make: Callable[[str, TokenStates], T], kept: Kept[T], on_batch: Callable[[], None]
    ) -> dict[str, T]:
        found = {text: known for text in wanted if (known := kept.get(text)) is not None}
        new = [text for text in wanted if text not in found]
        states = self.encoder.token_states(new, limit=SENTENCE_PIECES, on_batch=on_batch)
        found |= {text: make(text, encoded) for text, encoded in zip(new, states, strict=True)}
        kept.keep(found)
        return found

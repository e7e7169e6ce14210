"""What a question asks for, read from its surface: the kind of answer, the noun that names it, names and numbers to be found."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raft_assets.embedded.encoder import Floats, TokenStates
from raft_assets.embedded.reader.words import STOP_WORDS, WORD, lemma, terms

KINDS = ("when", "how_many", "measure", "where", "why", "who", "how", "which", "what", "call", "cloze", "yes_no", "other")

_AUXILIARY = r"(?:is|are|was|were|did|do|does|has|have|had|can|could|would|will|may|should|must|might)"
# the first pattern that is found names the kind; order matters where one question word contains another
_KIND_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"____", "cloze"),
        (r"\b(?:which|what)\s(?:\w+\s){0,3}?(?:call|function|method|class|api|constructor|signature)\b", "call"),
        (r"\bhow (?:do|can|would|should) (?:i|you|we|one)\b.*\b(?:api|python|call)\b", "call"),
        (r"\bhow many\b|\b(?:what|which) number\b", "how_many"),
        (r"\bhow (?:much|long|old|high|tall|big|large|heavy|fast|wide|deep|far|often|thick|close|near|hot|cold|early|late)\b", "measure"),
        (r"\bat what age\b|\bwhat (?:\w+ )?(?:price|size|weight|share|percentage|age|length|height|speed|amount|fee|depth|width|distance)\b", "measure"),
        (r"\b(?:what|which) (?:\w+ )?(?:year|date|day|month|century|decade|time)\b|\bwhen\b|\bhow soon\b", "when"),
        (r"\bwhere\b|\b(?:what|which) (?:\w+ )?(?:country|city|place|town|location|state|region|island|room|building)\b", "where"),
        (r"\bwhy\b|\bfor what (?:purpose|reason)\b|\bwhat (?:causes?|caused|reason)\b", "why"),
        (r"\bwho(?:m|se)?\b", "who"),
        (r"\bhow\b", "how"),
        (r"\bwhich\b", "which"),
        (r"\bwhat\b", "what"),
        (rf"\A(?:{_AUXILIARY})\b", "yes_no"),
    )
)
_WANTED = re.compile(rf"\b(?:which|what|whose|how many|how much)\s+((?:[\w-]+\s+){{1,3}}?)(?:{_AUXILIARY}|of|in|that|to|for|from|with|by)\b", re.IGNORECASE)
_WANTED_NEXT = re.compile(r"\b(?:which|what|whose|how many|how much)\s+([\w-]+)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Question:
    """A question with the encoder's view of it."""

    text: str
    encoded: TokenStates

    @cached_property
    def kind(self) -> int:
        """Position in KINDS."""
        found = next((kind for pattern, kind in _KIND_PATTERNS if pattern.search(self.text)), "other")
        return KINDS.index(found)

    @cached_property
    def terms(self) -> list[str]:
        return terms(self.text)

    @cached_property
    def term_set(self) -> frozenset[str]:
        return frozenset(self.terms)

    @cached_property
    def names(self) -> frozenset[str]:
        """Base forms of capitalised words behind the first."""
        return frozenset(lemma(word) for word in WORD.findall(self.text)[1:] if word[0].isupper() and word.lower() not in STOP_WORDS)

    @cached_property
    def numbers(self) -> frozenset[str]:
        return frozenset(word for word in WORD.findall(self.text) if word[0].isdigit())

    @cached_property
    def wanted(self) -> frozenset[str]:
        """Base forms of the noun that names the answer ("which *board shaper* ...")."""
        match = _WANTED.search(self.text) or _WANTED_NEXT.search(self.text)
        words = match.group(1).split() if match else []
        return frozenset(lemma(word) for word in words if word.lower() not in STOP_WORDS)

    @cached_property
    def words(self) -> list[str]:
        """Base forms of the words whose states are `states`."""
        return [lemma(match.group()) for match in self._content]

    @cached_property
    def states(self) -> Floats:
        """Unit vectors (words, 384) of the words that carry meaning."""
        return self.encoded.of_words([match.span() for match in self._content])

    @cached_property
    def wanted_states(self) -> Floats:
        rows = [row for row, word in enumerate(self.words) if word in self.wanted]
        return self.states[np.array(rows, np.int64)]

    @cached_property
    def _content(self) -> list[re.Match[str]]:
        return [match for match in WORD.finditer(self.text) if match.group().lower() not in STOP_WORDS]

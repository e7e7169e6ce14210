"""What a question asks for, read from its surface: the kind of answer, the noun that names it, names and numbers."""

import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from raft_assets.embedded.encoder import Floats, TokenStates
from raft_assets.embedded.reader.words import STOP_WORDS, WORD, lemma, terms, word_set
from raft_assets.embedded.teacher.tagging import Token, tagged

KINDS = (
    "when", "how_many", "measure", "where", "why", "by_whom", "who", "how", "how_to", "call", "which", "what_acts",
    "what_object", "what", "cloze", "yes_no", "other",
)  # fmt: skip

GAP = "____"
_AUXILIARY = r"(?:is|are|was|were|did|do|does|has|have|had|can|could|would|will|may|should|must|might)"
# the pattern found first in the question names the kind; among those at the same place, the first of these
_KIND_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"____", "cloze"),
        (r"\b(?:which|what) (?:\w+ )?(?:call|function|method|class|api|constructor)\b", "call"),
        (r"\bwhat (?:do|can|should) (?:i|you|we|one) (?:call|use)\b", "call"),
        (r"\bhow (?:do|can|would|should|could) (?:i|you|we|one)\b", "how_to"),
        (r"\bhow many\b|\b(?:what|which) number\b", "how_many"),
        (
            (
                r"\bhow (?:much|long|old|high|tall|big|large|heavy|fast|wide|deep|far|often|thick|close|near|hot|cold"
                r"|early|late)\b"
            ),
            "measure",
        ),
        (r"\bwhat (?:do|does|did) (?:\S+ )+?(?:cost|pay|weigh|measure|charge)\b", "measure"),
        (
            (
                r"\bat what age\b|\bwhat (?:\w+ )?(?:price|size|weight|share|percentage|age|length|height|speed|amount"
                r"|fee|depth|width|distance)\b"
            ),
            "measure",
        ),
        (r"\b(?:what|which) (?:\w+ )?(?:year|date|day|month|century|decade|time)\b|\bwhen\b|\bhow soon\b", "when"),
        (
            (
                r"\bwhere\b|\b(?:what|which) (?:\w+ )?(?:country|city|place|town|location|state|region|island|room"
                r"|building)\b"
            ),
            "where",
        ),
        (r"\bwhy\b|\bfor what (?:purpose|reason)\b|\bwhat reason\b", "why"),
        (r"\bby whom\b", "by_whom"),
        (r"\bwho(?:m|se)?\b", "who"),
        (r"\bhow\b", "how"),
        (r"\bwhich\b", "which"),
        (r"\bwhat\b", "what"),
        (rf"\A(?:{_AUXILIARY})\b", "yes_no"),
    )
)
_WHAT, _CLOZE = KINDS.index("what"), KINDS.index("cloze")
# words between the question word and the noun that names the answer
_UNTELLING = word_set("kind type sort form name the a an of one other single only exact")
_VERB_TAGS = frozenset(("VBZ", "VBD", "VBP", "MD", "VB"))
_NOUN_TAGS = frozenset(("NN", "NNS", "NNP", "NNPS", "JJ", "JJR", "JJS", "CD", "VBN", "VBG", "DT", "IN"))
_ASKING = frozenset(("what", "which", "many", "much"))
_QUESTION_WORDS = word_set("what which who whom whose when where why how")
_CLOZE_OPENING = re.compile(r'[^_“"]*: [“"](?=.*____)', re.DOTALL)
_BE = frozenset(("is", "are", "was", "were"))
_DO = frozenset(("do", "does", "did"))


@dataclass(frozen=True, eq=False)
class Question:
    """A question with the encoder's view of it."""

    text: str
    encoded: TokenStates
    is_gap: bool = False  # whether it asks for what fills its gap, whatever question word stands before that

    @cached_property
    def with_gap_first(self) -> "Question":
        """The question as one for what fills its gap; itself if it has none."""
        return replace(self, is_gap=True) if GAP in self.text else self

    @cached_property
    def kind(self) -> int:
        """Position in KINDS."""
        if self.is_gap:
            return _CLOZE
        places = [(match.start(), kind) for pattern, kind in _KIND_PATTERNS if (match := pattern.search(self.text))]
        found = KINDS.index(min(places, key=lambda place: place[0])[1] if places else "other")
        return self._kind_of_what() if found == _WHAT else found

    def _kind_of_what(self) -> int:
        """Return whether "what" acts ("What eats moths"), is an object ("What do bats eat"), or belongs to a noun."""
        place = self._asking
        following = self._tokens[place + 1] if place is not None and place + 1 < len(self._tokens) else None
        if following is None:
            return _WHAT
        if following.lower in _DO:
            return KINDS.index("what_object")
        if re.fullmatch(_AUXILIARY, following.lower):
            return _WHAT
        return KINDS.index("what_acts" if following.tag in _VERB_TAGS or following.tag == "RB" else "which")

    @cached_property
    def terms(self) -> list[str]:
        """Base forms of the words that carry meaning, in order."""
        return terms(self.text)

    @cached_property
    def term_set(self) -> frozenset[str]:
        """Base forms of the words that carry meaning."""
        return frozenset(self.terms)

    @cached_property
    def names(self) -> frozenset[str]:
        """Base forms of capitalized words after the first."""
        return frozenset(
            lemma(word) for word in WORD.findall(self.text)[1:] if word[0].isupper() and word.lower() not in STOP_WORDS
        )

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Words that begin with a digit."""
        return frozenset(word for word in WORD.findall(self.text) if word[0].isdigit())

    @cached_property
    def wanted(self) -> frozenset[str]:
        """Base forms of the nouns that name the answer: "which *board shaper* ...", "what is the *fee* for ..."."""
        place = self._asking
        if place is None or self.is_gap:
            return frozenset()
        tokens = self._tokens[place + 1 :]
        if len(tokens) > 1 and tokens[0].lower in _BE and tokens[1].tag in ("DT", "PRP$"):
            tokens = tokens[2:]
        elif KINDS[self.kind] in ("what_acts", "what_object", "what") or (tokens and tokens[0].lower in _DO):
            return frozenset()
        found: list[str] = []
        for number, token in enumerate(tokens):
            if token.lower in _UNTELLING:
                continue
            if not token.word[0].isalpha() or (number and (token.tag not in _NOUN_TAGS or token.lower in STOP_WORDS)):
                break
            found.append(lemma(token.word))
        return frozenset(found)

    @cached_property
    def frame(self) -> list[str]:
        """Base forms, in order, of the words around the answer in a sentence that says what is asked."""
        tokens = [token for token in self._tokens if token.word[0].isalnum()]
        if statement := _CLOZE_OPENING.match(self.text):
            return [lemma(token.word) for token in tokens if token.start >= statement.end()]
        place = next((place for place, token in enumerate(tokens) if token.lower in _QUESTION_WORDS), None)
        if place is None:
            return [lemma(token.word) for token in tokens]
        behind = tokens[place + 1 :]
        if behind and behind[0].lower in _DO:
            behind = behind[1:]
        return [lemma(token.word) for token in (*behind, *tokens[:place])]

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
        """Unit vectors (words, 384) of the nouns that name the answer."""
        rows = [row for row, word in enumerate(self.words) if word in self.wanted]
        return self.states[np.array(rows, np.int64)]

    @cached_property
    def _content(self) -> list[re.Match[str]]:
        return [match for match in WORD.finditer(self.text) if match.group().lower() not in STOP_WORDS]

    @cached_property
    def _tokens(self) -> list[Token]:
        return tagged(self.text)

    @cached_property
    def _asking(self) -> int | None:
        """Position of the word before the noun that names the answer: "what", "which", "how *many*"."""
        return next((place for place, token in enumerate(self._tokens) if token.lower in _ASKING), None)

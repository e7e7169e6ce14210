"""What a chunk itself shows about its names: which words are proper names, and which names are persons'."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.morphology import is_known_as
from raft_assets.embedded.teacher.phrases import Span, TaggedSentence
from raft_assets.embedded.teacher.tagging import PROPER
from raft_assets.embedded.teacher.words import word_set

_INSIDE = re.compile(r"(?<=[a-z0-9,;)] )([^\W\d_][\w'’-]+)")
_PERSONAL_VERBS = (
    "said|says|stated|states|wrote|writes|argued|argues|explained|explains|told|tells|directed|described|recalled|married"
    "|was born|asked|asks|graduated|attended|believes|believed|thinks|thought|noticed|observed|discovered|concluded"
    "|suggested|proposed|declared|performed|coined|invented|built|crafted|became|died|taught|studied|co-wrote|starred|played|moved|began|learned|won|met|joined|owns|leads|led"
)
_ACTING = re.compile(
    r"((?:[A-Z][\w'’-]+ (?:de |van |von |[A-Z]\. )?)?[A-Z][\w'’-]+),? "
    rf"(?:also |later |first |then |once |(?:him|her)self )?(?:who|{_PERSONAL_VERBS})\b"
)
_THING = re.compile(r"\b(?:[Tt]he|[Aa]n?) ([A-Z][\w'’-]+)\b")
_FULL_NAME = re.compile(r"\b([A-Z][\w'’-]+)((?: (?:de|van|von|di|[A-Z]\.|[A-Z][\w'’-]+)){1,3})")


_PLURAL = re.compile(r"\b[a-z]{3,}[^s\W]s\b")
_INTRODUCED = re.compile(r"\b(?:[Aa]n?|one|another|some|two|three|four|several)((?: [\w-]+){1,3})")


@dataclass(frozen=True)
class Names:
    """Evidence from one chunk. `proper`: words with a capital inside a sentence.

    `persons`: names, full or last, of persons.
    """

    proper: frozenset[str]
    persons: frozenset[str]

    def is_person(self, s: TaggedSentence, phrase: Span) -> bool:
        """Return whether the noun phrase names one person: "Donald Griffin", "the engineer Hiram Maxim"."""
        tokens = [token for token in s.tokens[slice(*phrase)] if token.tag not in ("(", ")")]
        if not tokens or tokens[-1].tag not in PROPER or any(token.tag in ("IN", "CC", "POS", ",") for token in tokens):
            return False
        role = max(
            (i for i, token in enumerate(tokens[:-1]) if is_person_noun(token.lower) or token.lower in words.TITLES),
            default=None,
        )
        if role is not None:
            return (
                role < len(tokens) - 2
                or tokens[role].lower in words.TITLES
                or not is_known_as(tokens[-1].lower, "NOUN")
            )
        if tokens[0].tag not in PROPER:
            return False
        name = s.words(*phrase)
        return name in self.persons or (
            len(tokens) > 1 and tokens[0].lower in words.FIRST_NAMES and not _is_place_noun(tokens[-1].lower)
        )

    def may_be_person(self, s: TaggedSentence, phrase: Span) -> bool:
        """Return whether the phrase is two or three names, none a common noun, so that only its verb can decide."""
        tokens = s.tokens[slice(*phrase)]
        return 2 <= len(tokens) <= 3 and all(
            token.tag == "NNP" and not is_known_as(token.lower, "NOUN") for token in tokens
        )


def names_in(sentences: Iterable[str]) -> Names:
    """Return the evidence that the sentences of a chunk give."""
    lower: Counter[str] = Counter()
    upper: Counter[str] = Counter()
    persons: Counter[str] = Counter()
    things: set[str] = set()
    for sentence in sentences:
        for word in _INSIDE.findall(sentence):
            (upper if word[0].isupper() else lower)[word.lower()] += 1
        things.update(_THING.findall(sentence))
        _count_persons(sentence, persons)
    proper = frozenset(word[0].upper() + word[1:] for word, count in upper.items() if count > lower[word])
    return Names(
        proper=proper, persons=frozenset(name for name, count in persons.items() if count and name not in things)
    )


def introduced_in(sentence: str) -> frozenset[str]:
    """Return the words that a sentence introduces: after "a receiver" and "hairs", "the hairs" means those hairs."""
    singular = {word.lower() for match in _INTRODUCED.finditer(sentence) for word in match.group(1).split()}
    return frozenset(singular.union(_PLURAL.findall(sentence)))


def is_person_noun(word: str) -> bool:
    """Return whether the common noun, in singular or plural, is used for persons."""
    if word.endswith("men") and len(word) > 3 and word[:-2] + "an" in words.PERSON_NOUNS:
        return True
    return (
        word in words.PERSON_NOUNS
        or (word.endswith("s") and word[:-1] in words.PERSON_NOUNS)
        or bool(re.search(r"(?:ologist|ographer|woman|women)s?$", word))
    )


def _is_place_noun(word: str) -> bool:
    return word in _PLACE_NOUNS


_PLACE_NOUNS = word_set(
    "street road bridge river university college bay island islands lake park house hall center centre museum"
    " library school beach point head county city town harbour harbor port company foundation institute award"
    " prize cup inc ltd church cathedral square avenue airport"
)


def _count_persons(sentence: str, persons: Counter[str]) -> None:
    for match in _FULL_NAME.finditer(sentence):
        first, last = match.group(1), match.group(2).split()[-1]
        if first.lower() in words.FIRST_NAMES and not _is_place_noun(last.lower()):
            persons.update((match.group(), last))
        elif (is_person_noun(first.lower()) and not is_person_noun(last.lower())) or first.lower() in words.TITLES:
            persons[last] += 1
    for match in _ACTING.finditer(sentence):
        name = match.group(1)
        if name.split()[0].lower() in words.PRONOUNS | {"the"} or _is_common(name.split()[-1]):
            continue
        persons.update((name, name.split()[-1]))


def _is_common(word: str) -> bool:
    """Return whether the word, but for its capital, is a common noun or begins sentences for other reasons."""
    return (
        is_known_as(word.lower(), "NOUN") or word.lower() in words.STOP_WORDS or word.lower() in words.OPENING_ADVERBS
    )

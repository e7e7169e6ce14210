"""Part-of-speech tags (Penn Treebank) of English sentences, with nothing to download.

The most likely tag of a word and the rules that correct it from context are Eric Brill's ("A simple rule-based part of
speech tagger", 1992); both files are in the `textblob` wheel and are read without importing it, because it imports
nltk. After them come corrections of our own, each for a mistake that turned a clause into a wrong question.
"""

import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from raft_assets.embedded.teacher.morphology import forms_of, is_known_as
from raft_assets.embedded.teacher.words import word_set

FINITE = frozenset(("VBZ", "VBD", "VBP", "MD"))
NOUNS = frozenset(("NN", "NNS", "NNP", "NNPS"))
PROPER = frozenset(("NNP", "NNPS"))
ADJECTIVES = frozenset(("JJ", "JJR", "JJS"))
BE = frozenset(("is", "are", "was", "were", "be", "been", "being", "am", "'s"))
HAVE = frozenset(("has", "have", "had", "having"))
MONTHS = word_set("January February March April May June July August September October November December")
_DETERMINERS = frozenset(("DT", "PRP$", "POS"))

_TOKEN = re.compile(
    r"\d+(?:-[A-Za-z]+)+"  # 12-year
    r"|\d+(?:[.,:]\d+)*(?:st|nd|rd|th|s)?(?:–\d+(?:[.,]\d+)*)?"  # 1,200 3.5 07:00 21st 1990s 4–5
    r"|[A-Za-z]\.(?:[A-Za-z]\.)+"  # U.S.
    r"|(?:Dr|Mr|Mrs|Ms|St|Jr|Sr|Prof|Inc|Ltd|Co|vs|No)\.(?=\s)"
    r"|(?<![^\W_])[A-Z]\.(?=\s[A-Z])"  # Donald R. Griffin
    r"|[^\W_]+(?:[-'’.&/_][^\W_]+)*"
    r"|\.\.\.|[^\w\s]|_"
)
_CLITIC = re.compile(r"(.+?)(['’]s|n['’]t|['’](?:re|ve|ll|d|m))$")
_NUMBER_WORDS = word_set(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion"
    " half dozen"
)
_LY_BUT_NO_ADVERB = word_set(
    "family early daily likely friendly deadly fly supply reply apply belly jelly assembly ally rely butterfly"
    " monopoly anomaly melancholy lovely weekly monthly yearly elderly costly ugly multiply imply holy hourly"
    " quarterly lily bully rally tally only italy july lonely silly lively orderly homily curly oily"
)
_FLOATING_ADVERBS = word_set(
    "therefore thus also sometimes even often still then usually typically generally only just however later now"
    " always never soon once twice again"
)
_PARTICLES = word_set("off out up down over away on back")
_ONLY_PREPOSITIONS = word_set(
    "of in on at by from with for into onto during among between through under within without"
)


@dataclass(frozen=True)
class Token:
    """A word or punctuation mark with its tag and its place in the sentence."""

    word: str
    tag: str
    start: int
    end: int

    @property
    def lower(self) -> str:
        """The word in lower case, with a straight apostrophe."""
        return self.word.lower().replace("’", "'")


def tagged(sentence: str, names: AbstractSet[str] = frozenset()) -> list[Token]:
    """Return the sentence's tokens with their tags.

    `names`: words known to be proper names, which decides about a capital at the beginning.
    """
    spans = _token_spans(sentence)
    words = [sentence[start:end].replace("’", "'") for start, end in spans]
    tags = _corrected(words, _mended_by_context(words, [_likely_tag(words, i, names) for i in range(len(words))]))
    return [Token(sentence[start:end], tag, start, end) for (start, end), tag in zip(spans, tags, strict=True)]


def is_number(token: Token) -> bool:
    """Return whether the token is a cardinal number, in digits or in words."""
    return token.tag == "CD" or token.lower in _NUMBER_WORDS


def _token_spans(sentence: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for match in _TOKEN.finditer(sentence):
        clitic = _CLITIC.match(match.group())
        if clitic and match.group().lower() != "o'clock":
            cut = match.start() + len(clitic.group(1))
            spans += [(match.start(), cut), (cut, match.end())]
        else:
            spans.append(match.span())
    return spans


def is_always_capitalised(word: str) -> bool:
    """Return whether the lexicon has the word with a capital only: European, Monday."""
    return word in _lexicon() and word.lower() not in _lexicon()


# ---- most likely tag


@cache
def _lexicon() -> dict[str, str]:
    """Return the most likely tag by word, 94 k entries."""
    return dict(line.split()[:2] for line in _wheel_lines("en-lexicon.txt"))


def _wheel_lines(name: str) -> list[str]:
    """Return the lines of a data file in the textblob wheel, without comments."""
    spec = find_spec("textblob")  # finds the package without running it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the embedded teacher needs the lexicon in the package textblob; install raft-assets with its dependencies"
        )
    path = Path(spec.origin).parent / "en" / name
    return [
        line
        for line in path.read_text(encoding="utf-8").splitlines()
        if len(line.split()) > 1 and not line.startswith(";;;")
    ]


def _likely_tag(words: Sequence[str], i: int, names: AbstractSet[str]) -> str:
    word = words[i]
    if not any(char.isalnum() for char in word):
        return _punctuation_tag(word, words[i - 1] if i else "")
    if word[0].isdigit():
        return "JJ" if re.search(r"\d(?:st|nd|rd|th)$|-[A-Za-z]+$", word) else "CD"
    if "_" in word or "." in word[1:-1] or (len(word) > 2 and word.endswith("()")):
        return "NNP"  # a name from code: os.path, ensure_ascii
    lexicon = _lexicon()
    if i == 0 and word[0].isupper():
        return _tag_of_first_word(word, words[1] if len(words) > 1 else "", names)
    known = lexicon.get(word) or (lexicon.get(word.lower()) if not word[0].isupper() else None)
    if word[0].isupper():
        return "NNPS" if known == "NNPS" else "NNP" if not known or known in _TAGS_OF_NAMES else known
    if known and not (known in PROPER and word[0].islower()):
        return known
    return _tag_by_ending(word, may_be_name=word[0].isupper())


def _tag_of_first_word(word: str, following: str, names: AbstractSet[str]) -> str:
    """Return the tag of a sentence's first word, which has a capital whether it is a name or not."""
    lexicon, lower = _lexicon(), word.lower()
    tag, tag_of_name = lexicon.get(lower), lexicon.get(word)
    before_noun = tag in NOUNS and lexicon.get(following, "")[:2] in (
        "NN",
        "JJ",
    )  # "Harbour electricity" in contrast to "Harbour Master"
    if (word in names and not before_noun) or (len(word) > 1 and word.isupper()):
        return "NNP"
    if tag_of_name and tag_of_name not in PROPER and not tag:
        return tag_of_name
    if tag and not (following[:1].isupper() and tag in _TAGS_OF_NAMES and tag_of_name in (None, *PROPER)):
        return tag
    if lower.endswith("s") and is_known_as(lower, "NOUN") and not following[:1].isupper():
        return "NNS"
    if "-" in word and not following[:1].isupper():
        return _tag_of_compound(lower)
    if lower.endswith("ers") and not following[:1].isupper():
        return "NNS"
    if tag_of_name in PROPER or following[:1].isupper():
        return "NNP"
    return _tag_by_ending(word, may_be_name=not is_known_as(lower, "NOUN"))


_TAGS_OF_NAMES = word_set("NN NNS NNP NNPS JJ JJR JJS VB VBN VBD VBG VBZ VBP RB FW UH")


def _punctuation_tag(mark: str, before: str) -> str:
    if mark == "'" and before.endswith("s"):
        return "POS"
    if mark in "$£€":
        return "$"
    return (
        mark[0]
        if mark[0] in ",.:;()"
        else '"'
        if mark[0] in "\"“”'‘’"
        else "NN"
        if mark == "%"
        else "CC"
        if mark == "&"
        else ":"
    )


def _tag_by_ending(word: str, *, may_be_name: bool) -> str:
    """Return the tag of a word that the lexicon doesn't have, from the dictionary of verbs and from its ending."""
    lower = word.lower()
    verb_forms = forms_of(lower)
    for ending, tag in (("ing", "VBG"), ("ed", "VBN"), ("s", "VBZ")):
        if lower.endswith(ending) and tag in verb_forms and not is_known_as(lower, "NOUN"):
            return tag
    if may_be_name:
        return "NNP"
    if "-" in word:
        return _tag_of_compound(lower)
    for pattern, tag in _ENDINGS:
        if re.search(pattern, lower):
            return tag
    return (
        "VB" if "VB" in verb_forms and not is_known_as(lower, "NOUN") else "JJ" if is_known_as(lower, "ADJ") else "NN"
    )


_ENDINGS = (
    (r"ly$", "RB"),
    (r"(?:ful|less|ous|ible|able|ic|ive|ish|al|ary|ory|esque)$", "JJ"),
    (r"(?:ss|us|is|ness|ment|tion|sion|ity|ism)$", "NN"),
    (r"s$", "NNS"),
    (r"ed$", "VBN"),
    (r"ing$", "VBG"),
)


def _tag_of_compound(lower: str) -> str:
    """Return the tag of a hyphenated word, which qualifies a noun unless it ends in one that the lexicon has.

    Such as long-eared, but merry-go-round.
    """
    last = lower.rsplit("-", 1)[1]
    tag = _lexicon().get(last, "JJ")
    return tag if tag in ("NN", "NNS") else "JJ"


# ---- Brill's contextual rules

_Condition = Callable[[Sequence[str], Sequence[str], int, str, str], bool]
_PAD = 3  # rules look at most three tokens to either side

# condition by its name in the file; arguments are padded words, padded tags, position, and the rule's one or two
# operands
_CONDITIONS: dict[str, _Condition] = {
    "PREVTAG": lambda _w, t, i, x, _y: t[i - 1] == x,
    "NEXTTAG": lambda _w, t, i, x, _y: t[i + 1] == x,
    "PREV2TAG": lambda _w, t, i, x, _y: t[i - 2] == x,
    "NEXT2TAG": lambda _w, t, i, x, _y: t[i + 2] == x,
    "PREV1OR2TAG": lambda _w, t, i, x, _y: x in t[i - 2 : i],
    "NEXT1OR2TAG": lambda _w, t, i, x, _y: x in t[i + 1 : i + 3],
    "PREV1OR2OR3TAG": lambda _w, t, i, x, _y: x in t[i - 3 : i],
    "NEXT1OR2OR3TAG": lambda _w, t, i, x, _y: x in t[i + 1 : i + 4],
    "SURROUNDTAG": lambda _w, t, i, x, y: t[i - 1] == x and t[i + 1] == y,
    "PREVBIGRAM": lambda _w, t, i, x, y: t[i - 2] == x and t[i - 1] == y,
    "NEXTBIGRAM": lambda _w, t, i, x, y: t[i + 1] == x and t[i + 2] == y,
    "CURWD": lambda w, _t, i, x, _y: w[i] == x,
    "PREVWD": lambda w, _t, i, x, _y: w[i - 1] == x,
    "NEXTWD": lambda w, _t, i, x, _y: w[i + 1] == x,
    "PREV1OR2WD": lambda w, _t, i, x, _y: x in w[i - 2 : i],
    "NEXT1OR2WD": lambda w, _t, i, x, _y: x in w[i + 1 : i + 3],
    "WDPREVTAG": lambda w, t, i, x, y: t[i - 1] == x and w[i] == y,
    "WDNEXTTAG": lambda w, t, i, x, y: w[i] == x and t[i + 1] == y,
    "WDAND2AFT": lambda w, _t, i, x, y: w[i] == x and w[i + 2] == y,
    "WDAND2TAGBFR": lambda w, t, i, x, y: t[i - 2] == x and w[i] == y,
    "WDAND2TAGAFT": lambda w, t, i, x, y: w[i] == x and t[i + 2] == y,
    "LBIGRAM": lambda w, _t, i, x, y: w[i - 1] == x and w[i] == y,
    "RBIGRAM": lambda w, _t, i, x, y: w[i] == x and w[i + 1] == y,
}


@cache
def _context_rules() -> dict[str, list[tuple[str, _Condition, str, str]]]:
    """Return, by tag, the rules that may change it, in order: (new tag, condition, operands)."""
    rules: dict[str, list[tuple[str, _Condition, str, str]]] = {}
    for line in _wheel_lines("en-context.txt"):
        old, new, name, x, *rest = line.split()
        if old in PROPER or new in PROPER:
            continue  # capitals and the chunk's own names show that better
        rules.setdefault(old, []).append((new, _CONDITIONS[name], x, rest[0] if rest else ""))
    return rules


def _mended_by_context(words: Sequence[str], tags: Sequence[str]) -> list[str]:
    padding = ["STAART"] * _PAD
    w, t = [*padding, *words, *padding], [*padding, *tags, *padding]
    rules = _context_rules()
    for i in range(_PAD, _PAD + len(words)):
        for new, condition, x, y in rules.get(t[i], ()):
            if condition(w, t, i, x, y) and (new != "VBG" or w[i].endswith("ing")):
                t[i] = new
                break
    return t[_PAD : _PAD + len(words)]


# ---- corrections


@dataclass
class _Place:
    """A token among its neighbours while tags are being corrected from left to right."""

    words: Sequence[str]
    tags: list[str]
    i: int

    @property
    def word(self) -> str:
        return self.words[self.i]

    @property
    def lower(self) -> str:
        return self.words[self.i].lower()

    @property
    def tag(self) -> str:
        return self.tags[self.i]

    def near(self, offset: int) -> str:
        """Return the tag that many tokens away, empty beyond the sentence."""
        return self.tags[self.i + offset] if 0 <= self.i + offset < len(self.tags) else ""

    def near_word(self, offset: int) -> str:
        """Return the word that many tokens away in lower case, empty beyond the sentence."""
        return self.words[self.i + offset].lower() if 0 <= self.i + offset < len(self.words) else ""

    def finite_before(self) -> bool:
        """Return whether a finite verb comes before, in the same clause."""
        for tag in reversed(self.tags[: self.i]):
            if tag in FINITE:
                return True
            if tag in ("WDT", "WP", "WRB", ";", ","):
                return False
        return False

    def finite_soon(self) -> bool:
        """Return whether one of the next five tokens is a finite verb of the same clause."""
        for tag in self.tags[self.i + 1 : self.i + 6]:
            if tag in FINITE:
                return True
            if tag in (",", ";", "CC", "WDT", "WP", "WRB"):
                return False
        return False


def _corrected(words: Sequence[str], tags: list[str]) -> list[str]:
    for i in range(len(words)):
        for correction in _CORRECTIONS:
            new = correction(_Place(words, tags, i))
            if new:
                tags[i] = new
                break
    if not FINITE.intersection(tags):
        _find_the_verb(words, tags)
    return tags


def _find_the_verb(words: Sequence[str], tags: list[str]) -> None:
    """Tag the verb that was taken for something else: the first word after a noun that can be one."""
    candidates: list[tuple[int, str]] = []
    for i in range(1, len(words) - 1):
        place = _Place(words, tags, i)
        subject = place.near(-2) if place.near(-1) == "RB" else place.near(-1)
        if subject not in NOUNS | {"CD", ")", ",", "VBG", '"'} or not words[i].islower():
            continue
        plural = bool({"NNS", "NNPS", "CC"}.intersection(tags[:i])) or words[0].lower() in ("staff", "people", "former")
        if tags[i] == "NNS" and "VBP" in forms_of(words[i + 1]) and tags[i + 1] in ("NN", "VB", "JJ"):
            continue  # "Rousettus bats click"
        if subject == "CD" and is_known_as(words[i], "NOUN") and tags[i - 2] not in PROPER:
            continue  # "over 50 knots"
        form = {"NNS": "VBZ", "VBZ": "VBZ", "VBN": "VBD", "VBD": "VBD"}.get(tags[i], "VBP" if plural else "VBD")
        if form == "VBD" and plural and form not in forms_of(words[i]):
            form = "VBP"
        if form in forms_of(words[i]) and not (form == "VBD" and place.near_word(1) in ("by", "as")):
            candidates.append((i, form))
    verbs = [(i, form) for i, form in candidates if _lexicon().get(words[i], "").startswith("VB")]
    for i, form in (verbs or candidates)[:1]:
        tags[i] = form


def _fixed_word(p: _Place) -> str | None:
    """Tag words whose tag hardly depends on anything."""
    if p.word in MONTHS and (p.word != "May" or p.near(1) == "CD" or p.near(-1) in ("IN", "CD", "CC")):
        return "NNP"
    if p.lower in ("'s", "’s"):
        return "VBZ" if p.near(-1) in ("PRP", "WP", "EX") or p.near_word(-1) in ("that", "there", "it") else "POS"
    if p.lower in _ONLY_PREPOSITIONS and p.tag in ("RB", "RP", "JJ", "FW", "NN", "WDT"):
        return "IN"
    if p.lower in ("species", "people", "staff", "police"):
        return (
            "NN"
            if {p.near_word(-k) for k in (1, 2, 3)} & {"a", "this", "that", "each", "every", "another", "one"}
            else "NNS"
        )
    return {"to": "TO", "which": "WDT", "who": "WP", "and": "CC", "or": "CC"}.get(p.lower)


def _relative_verb(p: _Place) -> str | None:
    """Tag the verb directly after a relative pronoun: "muscles that control the larynx"."""
    behind_pronoun = p.near(-1) in ("WDT", "WP") or (p.near_word(-1) == "that" and p.near(-2) in NOUNS)
    if behind_pronoun and p.tag in ("NN", "VB", "VBG", "JJ", "NNS", "VBN"):
        form = "VBZ" if p.tag == "NNS" else "VBD" if p.tag == "VBN" else "VBP"
        return form if form in forms_of(p.lower) else None
    return None


def _name(p: _Place) -> str | None:
    """Tag names: a capital inside a sentence makes a name, a small letter never does."""
    if p.i and p.word[0].isupper() and p.tag in _TAGS_OF_NAMES - {"NNPS"}:
        return "NNP"
    if p.word[0].islower() and p.tag in PROPER and "." not in p.word and "_" not in p.word:
        known = _lexicon().get(p.lower, "NNP")
        return known if known not in PROPER else _tag_by_ending(p.lower, may_be_name=False)
    return None


def _adverb(p: _Place) -> str | None:
    if (
        p.lower in _FLOATING_ADVERBS
        and p.tag in ("JJ", "NN", "RB", "VB", "RBR", "CC")
        and p.near(-1) not in _DETERMINERS
    ):
        return "RB"
    if (
        p.word.islower()
        and p.word.isalpha()
        and p.word.endswith("ly")
        and p.word not in _LY_BUT_NO_ADVERB
        and p.tag != "VB"
    ):
        return "RB"
    return None


def _participle(p: _Place) -> str | None:
    """Choose past tense or participle by the auxiliary, without which the lexicon is little better than a coin."""
    if p.tag not in ("VBD", "VBN") and not (p.tag == "JJ" and p.lower.endswith("ed")):
        return None
    j = p.i - 1
    while j >= 0 and p.tags[j] in ("RB", "RBR", "RBS"):
        j -= 1
    before, tag_before = (p.words[j].lower(), p.tags[j]) if j >= 0 else ("", "")
    forms = forms_of(p.lower)
    if p.tag == "VBN" and "VBN" not in forms and "VBD" in forms:
        return "VBD"
    if p.tag in ("VBD", "VBN") and p.tag not in forms:
        return next((form for form in ("VBN", "VBP") if form in forms), "JJ")
    if before in BE | HAVE | {"get", "got", "gets", "getting", "become", "became", "remain", "remained"}:
        return "VBN"
    if p.tag == "VBD" and (tag_before in _DETERMINERS or (tag_before in ("IN", "TO") and p.near(1) in NOUNS)):
        return "VBN"
    if p.tag == "VBD" and p.near(1) == "IN" and tag_before in NOUNS and "VBN" in forms and p.finite_soon():
        return "VBN"  # "a file opened in text mode makes"
    if p.tag == "JJ" or p.finite_before() or tag_before not in NOUNS | {"PRP", "WDT", "WP", "CD"}:
        return None
    followed_by_object = p.near(1) in ("DT", "PRP$", "PRP", "CD", "JJ", "NN", "NNS", "NNP", "$")
    if p.tag == "VBN" and "VBD" in forms and (followed_by_object or not p.finite_soon()) and p.near_word(1) != "by":
        return "VBD"
    return None


def _adjective(p: _Place) -> str | None:
    """Tag a noun that the dictionary has as an adjective only: "twin asymmetric fins"."""
    if p.tag == "NN" and p.word.islower() and is_known_as(p.lower, "ADJ") and not is_known_as(p.lower, "NOUN"):
        return "JJ"
    return None


def _noun_that_is_an_adverb_elsewhere(p: _Place) -> str | None:
    """Tag the noun in phrases such as "in a well beneath the steps"."""
    return "NN" if p.lower == "well" and p.near(-1) == "DT" and p.near(1) not in ADJECTIVES | NOUNS | {"VBN"} else None


def _noun_behind_determiner(p: _Place) -> str | None:
    """Make a verb form a noun after a determiner, adjective or possessive: the calls, his work."""
    if p.near(-1) not in _DETERMINERS | ADJECTIVES | {"CD"} or not p.word[0].islower():
        return None
    if p.near(-1) in ADJECTIVES | {"CD"} and not is_known_as(p.lower, "NOUN"):
        return None
    if p.near(-1) == "DT" and p.near_word(-1) in (
        "that",
        "this",
        "all",
        "both",
        "these",
        "those",
        "each",
        "some",
        "any",
    ):
        return None
    if p.near(-1) == "CD" and p.near(-2) in PROPER:
        return None  # "Berth 1 serves"
    if p.tag == "VBZ" and p.lower not in BE | HAVE | {"does"} and (p.near(-1) in _DETERMINERS or not _begins_object(p)):
        return "NNS"
    return "NN" if p.tag in ("VB", "VBP") and p.lower not in BE | HAVE | {"do"} else None


def _begins_object(p: _Place) -> bool:
    return p.near(1) in ("DT", "PRP$", "PRP", "IN", "TO", "RB", "CD") and not p.finite_before() and not p.finite_soon()


def _verb_taken_for_noun(p: _Place) -> str | None:
    """Tag the only word that can be the clause's verb as its verb: "The hut holds two beds"."""
    if not p.word.islower() or p.near(-1) not in NOUNS | {"CD", ")", "RB", '"'} or p.finite_before() or p.finite_soon():
        return None
    behind = p.near(1)
    if behind not in (
        "DT",
        "PRP$",
        "PRP",
        "NNP",
        "TO",
        "IN",
        "RB",
        "JJ",
        "CD",
        "NNS",
        "NN",
        "$",
        "WRB",
        "JJR",
        "VBN",
        "RP",
        "PDT",
        '"',
    ):
        return None
    plural_before = p.near(-1) in ("NNS", "NNPS") or (p.near(-1) == "RB" and p.near(-2) == "NNS")
    if p.tag == "NNS" and "VBZ" in forms_of(p.lower) and not plural_before and behind != "VBN":
        other = 2 if behind == "RB" else 1
        is_subject = "VBP" in forms_of(p.near_word(other)) and p.near(other) in ("NN", "VB", "VBN", "VBP", "JJ")
        return None if is_subject else "VBZ"  # "night boats run"
    if (
        p.tag in ("NN", "VB", "JJ", "IN")
        and plural_before
        and "VBP" in forms_of(p.lower)
        and p.lower not in _ONLY_PREPOSITIONS | {"like", "past"}
    ):
        return "VBP" if behind not in ("NN", "NNS") or not is_known_as(p.lower, "NOUN") else None
    return None


def _second_predicate(p: _Place) -> str | None:
    """Give the verb after "and" the form of the one before: "took over the harbour and moored minesweepers"."""
    if p.near(-1) != "CC" or p.tag not in ("VBN", "NN", "VB", "JJ") or not p.word.islower():
        return None
    last = next((k for k in range(p.i - 1, -1, -1) if p.tags[k].startswith("VB") or p.tags[k] == "MD"), None)
    if (
        last is None
        or p.words[last].lower() in BE | HAVE
        or p.tags[last] not in ("VBD", "VBP")
        or p.tags[last] not in forms_of(p.lower)
    ):
        return None
    objects = ("DT", "CD", "PRP$", "PRP", "NNS", "NNP", "RB", *(("IN", "TO", "NN") if p.tag == "VBN" else ("JJ", "TO")))
    return p.tags[last] if p.near(1) in objects or p.near_word(1) in _PARTICLES else None


def _verb_before_bare_object(p: _Place) -> str | None:
    """Make the second of two words that could be verbs the noun: "The pup drinks milk for nine months"."""
    if p.tag == "NNS" and p.near(-1) in ("NN", "NNP") and p.near(1) in ("VBP", "VB") and "VBZ" in forms_of(p.lower):
        return (
            "VBZ"
            if is_known_as(p.near_word(1), "NOUN")
            and p.near(2) in ("IN", "TO", ",", ".", "CC")
            and not p.finite_before()
            else None
        )
    if p.tag in ("VBP", "VB") and p.near(-1) in ("VBZ", "VBD") and p.near_word(-1) not in BE | HAVE | {"does", "did"}:
        return "NN" if is_known_as(p.lower, "NOUN") else None
    return None


def _infinitive(p: _Place) -> str | None:
    before = p.near(-2) if p.near(-1) == "RB" else p.near(-1)
    if (
        p.tag in ("NN", "VBP", "VBD", "JJ")
        and before in ("TO", "MD")
        and p.word.islower()
        and "VB" in forms_of(p.lower)
    ):
        return (
            "VB"
            if before == "MD" or _lexicon().get(p.lower, "").startswith("VB") or p.near(1) in ("DT", "PRP$", "PRP")
            else None
        )
    if (
        p.tag == "VB"
        and p.near(-1) in ("NNS", "NNPS", "PRP", "WDT", "WP")
        and before not in ("TO", "MD")
        and not p.finite_before()
    ):
        return "VBP"
    return None


def _reported(p: _Place) -> str | None:
    """Make raising verbs participles before an infinitive: "is thought to be"."""
    if p.lower in ("thought", "said", "believed", "considered", "known", "reported", "rumored") and p.near(1) == "TO":
        return "VBN"
    return None


_CORRECTIONS: tuple[Callable[[_Place], str | None], ...] = (
    _fixed_word,
    _name,
    _relative_verb,
    _reported,
    _adjective,
    _noun_that_is_an_adverb_elsewhere,
    _second_predicate,
    _participle,
    _adverb,
    _noun_behind_determiner,
    _verb_taken_for_noun,
    _verb_before_bare_object,
    _infinitive,
)

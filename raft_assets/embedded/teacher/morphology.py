"""Forms of English words: the border to `lemminflect`, imported at first use because it loads its tables and numpy."""

from functools import cache

# where the dictionary's first choice is the rarer verb
_BASE_EXCEPTIONS = {
    "found": "find",
    "lay": "lie",
    "premiered": "premiere",
    "premieres": "premiere",
    "feed": "feed",
    "fed": "feed",
    "left": "leave",
    "felt": "feel",
    "fell": "fall",
    "saw": "see",
    "sung": "sing",
    "bound": "bind",
    "wound": "wind",
    "ground": "grind",
    "born": "bear",
    "used": "use",
    "shed": "shed",
    "lit": "light",
    "bred": "breed",
    "dove": "dive",
    "wed": "wed",
}


@cache
def base_form(verb: str) -> str | None:
    """Return the infinitive of a verb in any form, None if the word is no verb: bought -> buy."""
    word = verb.lower()
    if word in _BASE_EXCEPTIONS:
        return _BASE_EXCEPTIONS[word]
    lemmas = _lemmas(word)
    return lemmas[0] if lemmas else None


@cache
def third_person(verb: str) -> str | None:
    """Return the third person singular of an infinitive: carry -> carries."""
    from lemminflect import getInflection

    forms = getInflection(verb.lower(), "VBZ")
    return str(forms[0]) if forms else None


@cache
def forms_of(verb: str) -> frozenset[str]:
    """Return the tags (VB, VBD, VBN, VBG, VBZ, VBP) that the word may have as a verb.

    Empty if no dictionary has it as one.
    """
    from lemminflect import getAllInflections, getAllLemmas

    word = verb.lower()
    found: set[str] = set()
    for lemma in getAllLemmas(word, "VERB").get("VERB", ()):
        found |= {tag for tag, forms in getAllInflections(lemma, "VERB").items() if word in forms}
    if "VBD" in found and word.endswith("ed"):
        found.add("VBN")  # the tables leave the participle out where it equals the past tense
    return frozenset(found)


@cache
def is_known_as(word: str, part: str) -> bool:
    """Return whether the dictionary has the word as a NOUN, VERB, ADJ or ADV."""
    from lemminflect import getAllLemmas

    return part in getAllLemmas(word.lower())


@cache
def _lemmas(word: str) -> tuple[str, ...]:
    from lemminflect import getAllLemmas

    return tuple(getAllLemmas(word, "VERB").get("VERB", ()))

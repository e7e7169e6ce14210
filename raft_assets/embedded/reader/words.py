"""What words are to the reader: base forms, which of them carry meaning, and small closed classes."""

import re
from functools import lru_cache

from lemminflect import getAllLemmas

WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")


def word_list(text: str) -> tuple[str, ...]:
    """Return the words of a text, in order."""
    return tuple(text.split())


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


STOP_WORDS = word_set(
    "a an the of in on at by for to from with and or but as is are was were be been being has have had do does"
    " did not no it its he she they his her their this that these those which who whom whose what when where"
    " why how many much more most than then also into onto over under up down out about after before between"
    " during through can could may might must shall should will would there such some any all each other"
    " another same very one s t 's ’s according document text words complete statement"
)
MONTHS = word_set("january february march april may june july august september october november december")
UNITS = word_set(
    "cm m mm km kg g t ft foot feet inch inches in meters metres kilometers kilometres kilograms grams pounds"
    " tonnes tons lb mph knots year years minute minutes hour hours day days second seconds week weeks month"
    " months people percent % million billion km/h m/s °c °f mi miles pages degrees euros dollars litres"
    " liters khz hz"
)
NUMBER_WORDS = word_set(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand"
    " million billion dozen half once twice two-thirds one-third"
)
PRONOUNS = word_set("he she it they this these those his her their its such")


@lru_cache(maxsize=200_000)
def lemma(word: str) -> str:
    """Return the base form under which words of question and document meet.

    It is that of the verb, else the noun, else the adjective.
    """
    lower = word.lower().replace("’", "'").removesuffix("'s")
    forms = getAllLemmas(lower)
    for part in ("VERB", "NOUN", "ADJ"):
        if part in forms:
            return str(min(forms[part], key=lambda form: (len(form), form)))
    return lower


def terms(text: str) -> list[str]:
    """Return base forms of the words that carry meaning, in order."""
    return [lemma(word) for word in WORD.findall(text) if word.lower() not in STOP_WORDS]

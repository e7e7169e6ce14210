"""The rule that asks where."""

import re
from collections.abc import Iterator

from raft_assets.embedded.teacher.cases import Case, QuestionDraft, belongs_to_verb
from raft_assets.embedded.teacher.phrases import TaggedSentence, has_name, head, noun_list_end, noun_phrase_end
from raft_assets.embedded.teacher.tagging import PROPER
from raft_assets.embedded.teacher.words import word_set

# verbs whose phrase "in ..." is a place when it contains a name
_PLACE_VERBS = word_set(
    "locate bear film shoot premiere hold base set raise settle grow occur originate situate hatch emerge open"
    " launch screen establish stay record stage exhibit bury park sell display berth build mount install place"
    " start begin end"
)
# verbs whose place comes next, whatever its name
_LOCATIVE_VERBS = word_set(
    "lie stand live roost reside locate situate sit hang breed nest hibernate winter store keep moor anchor house lodge"
)
_PREPOSITIONS = word_set(
    "in at near on under beneath beside behind above opposite outside inside along throughout between"
)
_CHAIN = _PREPOSITIONS | {"of", "to", "from", "with"}
_NO_PLACE = re.compile(
    r"\d{4}|\b(?:century|version|film|series|season|episode|novel|book|issue|comic|role|game|festival|term|order|case|use|condition|way|charge"
    r"|favou?r|pair|row|addition|contrast|general|particular|front|spring|summer|autumn|winter|month|year|week|day|hour|minute|time|night|morning"
    r"|evening|danger|service|weather|duty|request|call|average|least|most|speed|level|rate|price|cost|risk|length|height|form|number|group|style"
    r"|manner|conquest|war|January|February|March|April|May|June|July|August|September|October|November|December)s?\b",
    re.IGNORECASE,
)
# a common noun before "of" that makes a place of a name: "in the deserts of Nevada"
_PLACE_NOUNS = word_set(
    "city town village county region north south east west coast desert deserts forest forests mountains hills"
    " caves cave office hall room floor laboratory tower museum garden bay harbour port bank banks mouth edge"
    " centre center corner top foot end side sides islands island"
)


def place(case: Case) -> Iterator[QuestionDraft]:
    """Ask where: "A tide gauge stands in a well beneath the Pilot Steps"."""
    clause, s = case.clause, case.s
    native = clause.is_copula and s.word(clause.rest) in ("native", "endemic", "common")
    if not case.is_plain or not (clause.verb in _PLACE_VERBS | _LOCATIVE_VERBS or native):
        return
    i = next(
        (k for k in range(clause.rest, clause.end - 1) if s.word(k) in _PREPOSITIONS or (native and s.word(k) == "to")),
        None,
    )
    if i is None or not belongs_to_verb(clause, i) or s.any_tag(clause.rest, i, ("JJS", "RBS")):
        return
    end = noun_list_end(s, i + 1, clause.end)
    if end <= i + 1 or _is_no_place(s, i + 1, end) or case.points_back((i + 1, end)):
        return
    if i == clause.rest and clause.verb in _LOCATIVE_VERBS and (has_name(s, (i + 1, end)) or s.tag(i + 1) == "DT"):
        yield from case.ask("Where", stop=i, answer=(i, _chain_end(s, end, clause.end)))
    elif _names_place(s, i + 1, end) and (s.word(i) in ("in", "at", "near", "on") or native):
        end = _with_state(s, end, clause.end)
        yield from case.ask("Where", stop=clause.end, drop=(i, end), answer=(i, end))


def _names_place(s: TaggedSentence, start: int, end: int) -> bool:
    noun = head(s, (start, end))
    return s.tag(noun) in PROPER or (has_name(s, (start, end)) and s.word(noun) in _PLACE_NOUNS)


def _is_no_place(s: TaggedSentence, start: int, end: int) -> bool:
    return bool(_NO_PLACE.search(s.words(start, noun_phrase_end(s, start, end, of_phrases=False))))


def _chain_end(s: TaggedSentence, end: int, stop: int) -> int:
    """Return the end of a chain of place phrases: "in a well beneath the steps"."""
    while end < stop and s.word(end) in _CHAIN:
        following = noun_list_end(s, end + 1, stop)
        if following == end + 1 or _is_no_place(s, end + 1, following):
            break
        end = following
    return end


def _with_state(s: TaggedSentence, end: int, stop: int) -> int:
    """Return the end of a place with the larger place after its comma: "Ithaca, New York"."""
    while end + 1 < stop and s.word(end) == "," and s.tag(end + 1) == "NNP":
        end = noun_phrase_end(s, end + 1, stop)
    return end

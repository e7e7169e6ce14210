"""Quality gates: what a generated pair must pass before it becomes a RAFT row, each with a reason code.

What belongs here: which gates there are, in which order, and which of them count. A rejected pair stays a pair, with
its reason. The judge, the one gate that costs money, sees only what passed the others; a reviewer's verdict overrides
the gates that check content.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from types import MappingProxyType
from typing import NamedTuple

import regex

from raft_assets.core.abstention import GIVEN as _GIVEN
from raft_assets.core.abstention import TEXT as _TEXT
from raft_assets.core.abstention import denies_an_answer
from raft_assets.core.delimiters import escape_delimiters
from raft_assets.core.frequent_words import ALTERNATIVES
from raft_assets.core.identity import draw, normalize, question_id
from raft_assets.core.language_detection import is_other_language
from raft_assets.core.language_words import Terms, contains_words, numbers, terms
from raft_assets.core.languages import ENGLISH, is_unspaced
from raft_assets.core.progress import track
from raft_assets.core.prompt_contract import (
    ANSWER_TAG,
    BEGIN_QUOTE,
    END_QUOTE,
    ParsedAnswer,
    instructions_in,
    is_verbatim_quote,
    parse_answer,
    render_user_message,
    repeats,
)
from raft_assets.core.row_file import DiskBackedRows
from raft_assets.core.sentences import split_sentences
from raft_assets.core.similarity import contains_phrase, content_words, is_english, near_duplicate_pairs, words
from raft_assets.core.tables import Chunk, QAPair
from raft_assets.llm.requests import Answer, Request
from raft_assets.pairs.judge import judge_request, parse_verdict
from raft_assets.pairs.questions import Draft, classify_question, has_list_marker
from raft_assets.pairs.reviews import Review
from raft_assets.settings.domain import QuestionSettings
from raft_assets.settings.domains import PAIRS_FILE

GATES_VERSION = "2"  # changes whenever the same draft gets another outcome from the same set of gates
# the set of gates that a domain's pairs pass: domains keep theirs, so gates that are added make no pairs stale
FIRST_GATE_SET, GATE_SET = 2, 6
LANGUAGE_GATE_SET = 4  # from this one on languages are told apart
SAME_ANSWER_GATE_SET = 5  # from this one on a question may bring back another passage that answers it as well
PASS = "pass"  # noqa: S105 - the outcome of a gate
OFF = "language_unknown"  # the outcome of a gate that doesn't know the language, and so says nothing of the pair
MIN_SHARED_WORDS = 0.75  # Jaccard similarity of the content words of two questions with one chunk and one answer
MIN_CONTENT_WORDS = 3  # content words of a question with a pronoun: with fewer it is unclear what "it" is
MIN_ANTECEDENT_WORDS = 2  # content words of a clause before "this": with fewer nothing is there that it can mean
MIN_ASKED_AGAIN = 0.5  # share of a question's content words around its answer in another passage that answers it
QUESTION_SHINGLE_WORDS = 2  # longer shingles would call two questions different for a single other word
MIN_KNOWN_WORDS = 0.5  # share of a question's content words that the documents use: people paraphrase, but not half
KNOWN_LANGUAGE_WORDS = 2_000  # distinct words, of some 30 pages; of fewer a paraphrase uses fewer, in proportion
MAX_COPIED_SENTENCE = 0.75  # share of a quoted sentence's content words that an answer may be made of
MIN_QUOTED_SUPPORT = 0.5  # share of the answer's content words in the quoted sentences: names replace pronouns
MAX_REMARK_CHARACTERS = 500  # of the judge's reason that are kept
SEED = 0  # of the draws that decide which duplicate survives

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "call_failed": "The teacher's service gave no answer, or filtered it.",
        "oracle_not_found": "The text that holds the answer of an imported pair is in no document of the domain.",
        "no_question": "The teacher wrote no question about this passage.",
        "numbering": "A number, bullet or preamble is left in the question.",
        "empty_answer": "The teacher's answer is empty.",
        "refusal": "The teacher refused to answer.",
        "looping": "The teacher repeated itself until the maximum of tokens; set another teacher.",
        "repeats_prompt": "The teacher repeated its instructions or the document and gave no answer.",
        "truncated": "The answer reached the maximum of tokens; raise max_answer_tokens.",
        "no_answer_tag": f"The answer does not end in exactly one {ANSWER_TAG} with a final answer.",
        "abstained": "The teacher says that the document does not hold the answer.",
        "quote_missing": "The answer quotes nothing, or a quotation isn't closed.",
        "quote_not_verbatim": "A quotation does not stand in the document word for word.",
        "other_language": "The question or its answer is in another language than the passage.",
        "answer_not_supported": "Too few of the final answer's words stand in the document.",
        "answer_not_in_quote": "The quoted sentences don't hold the final answer, or it is most of one of them.",
        "question_gives_answer": "The whole final answer stands in the question.",
        "points_at_text": "The question points at a text that its reader doesn't see (the passage, the author, above).",
        "question_words_unknown": "Most of the question's words are in no document of the domain.",
        "duplicate_question": "Another pair asks the same question.",
        "near_duplicate_question": "Another pair with the passage or the answer asks nearly the same question.",
        "not_self_contained": "The question doesn't name what it is about: it has hardly more than a pronoun, "
        "points at something outside of itself (this species, another 7), or retrieval over the domain brings it back "
        "neither to its passage nor to one that answers it as well.",
        "no_vector": "The service of EMBEDDING refuses the passage or the question, so retrieval can't bring it back.",
        "judged_unsupported": "The judge says that the document does not support the answer.",
        "judge_failed": "The judge gave no verdict that can be read, so nothing vouches for the answer.",
        "rejected_by_reviewer": "A person rejected the pair.",
    }
)

# gates of content, which a reviewer's accept overrides; never those of form: without them a row can't be trained
OVERRIDABLE_GATES = frozenset(
    {
        "language",
        "support",
        "quoted_support",
        "quoted_numbers",
        "own_words",
        "named",
        "antecedent",
        "question_words",
        "retrieval",
        "near_duplicate",
        "judge",
    }
)

RankOf = Callable[[str, str], int | None]
RetrievedInstead = Callable[[str, str], Iterable[Chunk]]
ReasonWithoutVector = Callable[[str, str], str]
Ask = Callable[[Iterable[Request]], Iterator[Answer]]
NO_REVIEWS: Mapping[str, Review] = MappingProxyType({})


@dataclass(frozen=True)
class _GatedDraft:
    """A draft as the gates see it."""

    draft: Draft
    question_id: str
    parsed: ParsedAnswer
    settings: QuestionSettings
    rank_of: RankOf | None
    retrieved_instead: RetrievedInstead
    review: Review | None
    vocabulary: "Vocabulary"
    reason_without_vector: ReasonWithoutVector

    @property
    def is_accepted_by_reviewer(self) -> bool:
        """Whether a reviewer accepted the pair."""
        return self.review is not None and self.review.verdict == "accept"

    @property
    def has_question(self) -> bool:
        """Whether the draft has a question."""
        return bool(self.draft.question)

    @property
    def has_oracle(self) -> bool:
        """Whether a chunk of the domain is the oracle."""
        return bool(self.draft.chunk.chunk_id)

    @property
    def has_answer(self) -> bool:
        """Whether the draft has a question and an answer."""
        return self.has_question and bool(self.draft.answer.strip())

    @property
    def has_final_answer(self) -> bool:
        """Whether the answer has a final answer."""
        return self.has_answer and bool(self.parsed.final_answer)

    @cached_property
    def refusal(self) -> str:
        """Why retrieval can't be checked: question or chunk has no vector. Empty where it can be, or isn't to be."""
        if not (self.has_question and self.has_oracle and self.rank_of):
            return ""
        return self.reason_without_vector(self.draft.question, self.draft.chunk.chunk_id)

    @property
    def language(self) -> str:
        """The language of the passage; English where languages aren't told apart."""
        return self.draft.chunk.language or ENGLISH

    @cached_property
    def is_english(self) -> bool:
        """Whether the language is one that gates of words know."""
        return is_english(f"{self.draft.question} {self.draft.chunk.passage}")

    @cached_property
    def quoted_sentences(self) -> list[str]:
        """The sentences of the passage that the answer quotes, each whole."""
        passage = self.draft.chunk.passage
        sentences = {
            normalize(escape_delimiters(sentence)): sentence
            for sentence in split_sentences(passage, self.draft.chunk.language)
        }
        quoted = list[str]()
        for quote in self.parsed.quotes:
            if not is_verbatim_quote(quote, passage):
                continue
            bare = normalize(escape_delimiters(quote))
            quoted += [sentence for known, sentence in sentences.items() if bare in known or known in bare] or [quote]
        return list(dict.fromkeys(quoted))


class Vocabulary:
    """The words of a domain's documents, inflected or not."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._words = {word for text in texts for word in words(text)}

    def knows(self, question: str) -> bool:
        """Return whether the documents use enough of the question's words."""
        return self.share(question) >= MIN_KNOWN_WORDS * min(1.0, len(self._words) / KNOWN_LANGUAGE_WORDS)

    def share(self, text: str) -> float:
        """Return the share of the text's content words that the documents use, numbers left out; 1 if it has none."""
        content = {word for word in content_words(text) if not word.isdigit()}
        return sum(self._holds(word) for word in content) / len(content) if content else 1.0

    def _holds(self, word: str) -> bool:
        return word in self._words or _stem(word) in self._stems or not self._lemmas.isdisjoint(_lemmas(word))

    @cached_property
    def _stems(self) -> set[str]:
        return {_stem(word) for word in self._words}

    @cached_property
    def _lemmas(self) -> set[str]:
        return {lemma for word in self._words for lemma in _lemmas(word)}


class _JudgeOutcome(NamedTuple):
    """The outcome of asking the judge."""

    verdict: str
    remark: str
    call: str


class _Gate(NamedTuple):
    """A gate that checks a pair by itself: when it can run, and when it fails.

    `gate_set`: the first set of gates that it is in; `english`: off where a text doesn't read like English.
    `elsewhere`: what decides instead where the passage is known to be in another language; None of it says nothing.
    """

    name: str
    code: str
    applies: Callable[[_GatedDraft], bool]
    fails: Callable[[_GatedDraft], bool]
    gate_set: int = FIRST_GATE_SET
    english: bool = False
    elsewhere: Callable[[_GatedDraft], bool | None] | None = None

    def verdict(self, case: _GatedDraft) -> str:
        """Return the gate's outcome for a case."""
        if self.elsewhere and case.language != ENGLISH:
            fails = self.elsewhere(case)
            return OFF if fails is None else self.code if fails else PASS
        if self.english and not case.is_english:
            return OFF
        return self.code if self.fails(case) else PASS


def apply_gates(
    drafts: Iterable[Draft],
    *,
    settings: QuestionSettings,
    rank_of: RankOf | None,
    retrieved_instead: RetrievedInstead = lambda *_: (),
    ask_judge: Ask | None = None,
    reviews: Mapping[str, Review] = NO_REVIEWS,
    vocabulary: Vocabulary | None = None,
    gate_set: int = GATE_SET,
    reason_without_vector: ReasonWithoutVector = lambda *_: "",
) -> Iterator[QAPair]:
    """Yield every draft as a pair with the outcome of every gate that could run, sorted by question_id.

    `rank_of(question, chunk_id)` is the rank from 1 of the chunk among the domain's chunks when they are retrieved for
    the question, None if the chunk isn't among the first; without the function that gate is off.
    `retrieved_instead(question, chunk_id)` are the chunks that are first where it isn't. `ask_judge` asks the judge;
    without it there is none. `reviews`: reviewers' verdicts by question_id. `vocabulary`: the words of the
    domain, by default of the drafts' chunks. `reason_without_vector(question, chunk_id)` says why one of them has no
    vector; such a pair is rejected, and its rank isn't looked up. A question asked twice about one chunk is one pair.

    Pairs are in a file until they are yielded: memory holds the question of each.
    """
    if vocabulary is None:
        drafts = list(drafts)
        vocabulary = Vocabulary({draft.chunk.passage for draft in drafts})
    known = vocabulary
    retrieved = retrieved_instead if gate_set >= SAME_ANSWER_GATE_SET else lambda *_: ()

    def case_of(draft: Draft, name: str) -> _GatedDraft:
        parsed, review = parse_answer(draft.answer, instructions_in(draft.chunk.language)), reviews.get(name)
        return _GatedDraft(draft, name, parsed, settings, rank_of, retrieved, review, known, reason_without_vector)

    ranked: list[_RankedPair] = []
    chunks: dict[str, Chunk] = {}  # whose pairs the judge may see
    checked = DiskBackedRows(
        QAPair, _check(drafts, case_of, gate_set, ranked=ranked, chunks=chunks), lambda pair: pair.question_id
    )
    # of two duplicates the accepted one survives, and one that a reviewer accepted before all others; otherwise a draw
    # decides, never their order
    ranked.sort()
    duplicates = _find_duplicates(ranked)
    near_duplicates = _find_near_duplicates([pair for pair in ranked if pair.question_id not in duplicates], settings)
    with_question = {pair.question_id for pair in ranked}
    judged = {pair.question_id for pair in ranked if pair.passed} - duplicates - near_duplicates if ask_judge else set()
    requests = (_judge_request(checked[name], chunks) for name in sorted(judged))
    answers = ask_judge(requests) if ask_judge else iter(())
    for name in track("pairs decided", sorted(checked), len(checked)):
        pair, judgement = checked[name], _NO_JUDGEMENT
        verdicts = dict(pair.gates)
        if name in with_question:
            verdicts["duplicate"] = "duplicate_question" if name in duplicates else PASS
            verdicts["near_duplicate"] = "near_duplicate_question" if name in near_duplicates else PASS
        if name in judged:
            judgement = _read_judgement(next(answers))
            verdicts["judge"] = judgement.verdict
        yield _decide(pair, verdicts, reviews.get(name), judgement)
    for _ in answers:  # asking may fail at its end as well
        raise AssertionError("more verdicts than requests")


class _RankedPair(NamedTuple):
    """What decides between duplicates, in the order in which it counts, and by what they are found."""

    is_rejected: bool
    is_not_chosen: bool  # by a reviewer
    drawn: float
    question_id: str
    chunk_id: str
    question: str
    answer_words: str
    passed: bool  # every gate, whatever a reviewer said
    language: str


def _check(
    drafts: Iterable[Draft],
    case_of: Callable[[Draft, str], _GatedDraft],
    gate_set: int,
    *,
    ranked: list[_RankedPair],
    chunks: dict[str, Chunk],
) -> Iterator[QAPair]:
    """Yield a pair per draft with the verdicts of the gates that look at a pair by itself; of equal drafts the first.

    Those with a question are added to `ranked`, and the chunks of those that passed to `chunks`.
    """
    names: set[str] = set()
    for draft in track("pairs checked", drafts):
        name = question_id(draft.chunk.chunk_id, draft.question)
        if name in names:
            continue
        names.add(name)
        case = case_of(draft, name)
        verdicts = _run_gates(case, gate_set)
        pair = _build_pair(case, verdicts)
        if case.has_question:
            passed = _all_passed(verdicts)
            answer_words = " ".join(words(pair.final_answer))
            ranked.append(
                _RankedPair(
                    bool(pair.reason),
                    not case.is_accepted_by_reviewer,
                    draw(SEED, name),
                    name,
                    pair.chunk_id,
                    pair.question,
                    answer_words,
                    passed,
                    case.language,
                )
            )
            if passed:
                chunks.setdefault(pair.chunk_id, draft.chunk)
        yield pair


def support_share(final_answer: str, document: str) -> float:
    """Return the share of the answer's content words that the document contains, inflected or not, in English.

    It is 1 if the answer has none ("Yes.").
    """
    content = content_words(final_answer)
    contained = {_stem(word) for word in words(document)}
    missing = [word for word in content if _stem(word) not in contained]
    if missing:  # irregular forms, "left" of "leave": only the remaining words are looked up in a dictionary
        contained = {lemma for word in set(words(document)) for lemma in _lemmas(word)}
        missing = [word for word in missing if contained.isdisjoint(_lemmas(word))]
    return (len(content) - len(missing)) / len(content) if content else 1.0


_NO_OBJECTION = (PASS, OFF)
_NO_JUDGEMENT = _JudgeOutcome("", "", "")

_ENDINGS = ("ing", "ies", "ied", "ed", "es", "ly", "s", "y", "e")
_STEM_LENGTH = 3  # letters that an ending leaves at least

_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = (
    "zero/no/none one/first/a/an/single two/second/both three/third four/fourth five/fifth six/sixth seven/seventh"
    " eight/eighth nine/ninth ten/tenth eleven twelve/dozen thirteen fourteen fifteen sixteen seventeen eighteen"
    " nineteen"
)
# numbers that sentences write as words: each to its words, of which one is enough
_SPELT: Mapping[str, frozenset[str]] = {
    **{str(number): frozenset(spelt.split("/")) for number, spelt in enumerate(_SMALL.split())},
    **{str(10 * number): frozenset({word}) for number, word in enumerate(_TENS, start=2)},
    "100": frozenset({"hundred", "century"}),
    "1000": frozenset({"thousand"}),
}

_LEFT_OVERS = re.compile(
    r"""\s*(?:
        [-*•\#>|]
      | (?:sure|certainly|here\ (?:are|is))\b[^?]*:
      | .*\n
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"""\W*(?:
        (?:i['’]?m|i\ am)\ (?:very\ )?sorry | sorry, | i\ apologi[sz]e | as\ an\ ai\b
      | (?:unfortunately,?\ )?i(?:['’]m|\ am)?\ (?:can(?:not|['’]t)|unable|not\ able|won['’]t)\b
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_WRITER = r"(?:author|writer|narrator)"
_SAYS = (
    r"(?:say|state|mention|describe|discuss|explain|note|claim|refer|suggest|list|imply|define|call|provide|give|argue"
    r"|present|highlight|emphasi[sz]e|tell|focus)(?:s|es)?"
)
_STATED = (
    r"(?:mentioned|described|stated|listed|discussed|given|provided|presented|shown|referred\ to|quoted|explained)"
)
_CODE = r"(?:function|method|call|endpoint|snippet|code)"
_POINTING = re.compile(
    rf"""
        \b(?:according\ to|based\ on|as\ per|as\ {_STATED}\ in)\ (?:the|this|these)
            \ (?:\w+\ )?(?:{_TEXT}|{_WRITER}|description|documentation)s?\b
      | \bthis\ (?:{_TEXT}|{_CODE})\b
      | \bthe\ {_GIVEN}\ (?:\w+\ )?(?:{_TEXT}|{_CODE}|documentation|information|description|table|figure)\b
      | \bthe\ (?:\w+\ )?(?:{_TEXT}|{_CODE}|table|figure)\ (?:above|below|provided|given)\b
      | \b{_STATED}\ (?:above|below|here|(?:in|by)\ (?:the|this)\ (?:{_TEXT}|{_WRITER}))\b
      | \bthe\ (?:passage|text|document|article|excerpt|{_WRITER})\ {_SAYS}\b
      | \b(?:does|do|did)\ the\ (?:paragraph|section|chapter)\ {_SAYS}\b
      | \b(?:topic|subject|theme|idea|purpose|point|focus|title|tone)\ of\ the\ {_TEXT}\b
      | ^(?:in|from)\ the\ {_TEXT},
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PRONOUN = re.compile(r"\b(?:it|its|he|she|him|her|his|they|them|their|this|that|these|those|there)\b", re.IGNORECASE)
_SHOWN_TEXT = re.compile(r'[^“"]*: (?=[“"])')  # what introduces a text within the question ("complete this statement:")
_KINDS = r"(?:ones?|types?|kinds?|species|groups?|ways?|methods?|reasons?|examples?|steps?|items?|points?|options?)"
_COUNT = r"(?:\d+|two|three|four|five|six|seven|eight|nine|ten|dozen)"
_OUTSIDE = re.compile(
    rf"""
        \b(?:this|these)\b(?!\ days\b)(?<!\bto\ this)
      | \bthose\b(?!\ (?:who|whom|whose|which|that|of|in|on|at|to|for|with|without|from|under|over|by|as|\w+ing
            |\w+ed)\b)
      | \b(?:in|on|at|of|by|for|to|with|from|during|after|before|since|until)\ that\ (?!is\b|are\b|was\b|were\b)\w
      | \bthat\ (?:year|month|day|time|period|species|place|case)\b
      | \bsuch\ (?!as\b|an?\b)\w
      | \A\W*another\b | \banother\ {_COUNT}\b
      | \bthe\ above\b | \b(?:the|as)\ (?:above|afore)-?mentioned\b | \b(?:the|as)\ aforesaid\b
      | \b(?:the|of\ the)\ following\b(?!\ (?:day|week|month|year|morning|night|season)\b)
      | \bthe\ (?:former|latter)\b | \bthe\ others\b
      | \bthe\ (?:second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last|next|previous|other|remaining)
            \ (?:{_COUNT}\ )?(?:{_KINDS}|(?<=\d\ )\w+)\b(?!\ (?:of|in|to|for|that|which|who|on|at|from|by|with)\b)
      | \b(?:the\ other|the\ remaining|the\ same)\ {_COUNT}\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CLAUSE_BREAK = re.compile(r"[,;:—–](?!\d)|\b(?:and|or|but|than|that|which|who)\b", re.IGNORECASE)
_FULL_STOP = re.compile(r"[.!?][\"”’')\]*_]*$")
_STOPPED = regex.compile(r"[\p{SB=STerm}.…]\p{SB=Close}*$")
_QUOTATION = re.compile(rf"{BEGIN_QUOTE}.*?{END_QUOTE}", re.DOTALL)
_ALTERNATIVE = re.compile(r"\bor\b", re.IGNORECASE)


def _has_list_marker(case: _GatedDraft) -> bool:
    question = case.draft.question
    return bool(_LEFT_OVERS.match(question)) or has_list_marker(question)


def _gives_answer(case: _GatedDraft) -> bool:
    """Return whether the answer is in the question, and not as one of the things to choose from."""
    question, final = case.draft.question, case.parsed.final_answer
    return contains_phrase(question, final) and not _ALTERNATIVE.search(question)


def _is_refusal(case: _GatedDraft) -> bool:
    final = case.parsed.final_answer
    return bool(_REFUSAL.match(case.draft.answer) or (_REFUSAL.match(final) and not _is_quoted(case, final)))


def _is_abstention(case: _GatedDraft) -> bool:
    """Return whether the answer says that there is none; the document itself may say "None" or "Unknown"."""
    final = case.parsed.final_answer
    return case.parsed.abstained or (denies_an_answer(final) and not _is_quoted(case, final))


def _is_quoted(case: _GatedDraft, phrase: str) -> bool:
    return any(
        contains_phrase(quote, phrase) if case.language == ENGLISH else contains_words(quote, phrase, case.language)
        for quote in case.parsed.quotes
        if is_verbatim_quote(quote, case.draft.chunk.passage)
    )


def _is_not_self_contained(case: _GatedDraft) -> bool:
    question = case.draft.question
    return bool(_PRONOUN.search(question)) and len(set(content_words(question))) < MIN_CONTENT_WORDS


def _points_outside(case: _GatedDraft) -> bool:
    """Return whether the question points at something that it doesn't name: "this species", "another 7", "the above".

    A clause before the pointing word may name it ("When a bat meets a net, what does this tell it?").
    """
    question = _SHOWN_TEXT.sub("", case.draft.question, count=1)
    for pointing in _OUTSIDE.finditer(question):
        breaks = [mark.start() for mark in _CLAUSE_BREAK.finditer(question, 0, pointing.start())]
        named = [word for word in content_words(question[: breaks[-1]]) if not word.isdigit()] if breaks else []
        if len(named) < MIN_ANTECEDENT_WORDS:
            return True
    return False


def _is_in_other_language(case: _GatedDraft) -> bool:
    """Return whether the question, or what the answer says apart from its quotations, is in another language."""
    own_words = _QUOTATION.sub(" ", case.parsed.reasoning)
    return any(is_other_language(text, case.language) for text in (case.draft.question, own_words))


def _lacks_terms(case: _GatedDraft) -> bool:
    """Return whether the document lacks the answer's terms, in another language than English."""
    return not _holds_terms(case, [case.draft.chunk.passage], case.settings.min_support)


def _lacks_quoted_terms(case: _GatedDraft) -> bool:
    """Return what `_lacks_quoted_support` says of an English answer."""
    if not _holds_terms(case, case.quoted_sentences, MIN_QUOTED_SUPPORT):
        return True
    given = set(terms(case.parsed.final_answer, case.language))
    return any(
        bool(_STOPPED.search(sentence)) and len(content & given) > MAX_COPIED_SENTENCE * len(content)
        for sentence in case.quoted_sentences
        for content in [set(terms(sentence, case.language))]
    )


def _holds_terms(case: _GatedDraft, texts: Sequence[str], share: float) -> bool:
    """Return whether texts hold enough of the answer's terms, and every number of it."""
    final = case.parsed.final_answer
    known = set().union(*map(numbers, texts))
    return numbers(final) <= known and Terms(texts, case.language).share(final) >= share


def _gives_answer_elsewhere(case: _GatedDraft) -> bool | None:
    """Return what `_gives_answer` says in English; None where the words of a choice aren't known."""
    choices = ALTERNATIVES.get(case.language)
    if choices is None:
        return None
    question = case.draft.question
    is_choice = any(
        word in question if is_unspaced(word[0]) else contains_words(question, word, "") for word in choices
    )
    return not is_choice and contains_words(question, case.parsed.final_answer, case.language)


def _says_nothing(_: _GatedDraft) -> None:
    """Stand for a gate of English words in another language."""


def _is_quotation_missing(case: _GatedDraft) -> bool:
    marks = {case.draft.answer.count(mark) for mark in (BEGIN_QUOTE, END_QUOTE)}
    return marks != {len(case.parsed.quotes)} or not any(case.parsed.quotes)


def _has_unverbatim_quote(case: _GatedDraft) -> bool:
    return not all(is_verbatim_quote(quote, case.draft.chunk.passage) for quote in case.parsed.quotes)


def _is_not_retrieved(case: _GatedDraft) -> bool:
    asked = case.draft.question, case.draft.chunk.chunk_id
    if case.rank_of is None or case.rank_of(*asked) is not None:
        return False
    return not any(_is_answered_in(case, chunk) for chunk in case.retrieved_instead(*asked))


def _is_answered_in(case: _GatedDraft, chunk: Chunk) -> bool:
    """Return whether a passage answers the question as its own does.

    A sentence holds the whole final answer, and with the sentence before it enough of the question's words.
    """
    question, final, before = case.draft.question, case.parsed.final_answer, ""
    for sentence in split_sentences(chunk.passage, chunk.language):
        around, before = f"{before} {sentence}", sentence
        if case.language == ENGLISH:
            is_held = contains_phrase(sentence, final)
            asked = support_share(question, around) if is_held else 0.0
        else:
            is_held = contains_words(sentence, final, case.language)
            asked = Terms([around], case.language).share(question) if is_held else 0.0
        if asked >= MIN_ASKED_AGAIN:
            return True
    return False


def _repeats_prompt(case: _GatedDraft) -> bool:
    if case.parsed.is_echo:
        return True
    shown = render_user_message(case.draft.question, [case.draft.chunk.passage])
    return not case.parsed.final_answer and repeats(case.draft.answer, shown)


def _lacks_quoted_support(case: _GatedDraft) -> bool:
    """Return whether the quoted sentences don't hold the answer, or one of them is little more than it."""
    final = case.parsed.final_answer
    if support_share(final, " ".join(case.quoted_sentences)) < MIN_QUOTED_SUPPORT:
        return True
    return any(_is_mostly(sentence, final) for sentence in case.quoted_sentences)


def _lacks_quoted_numbers(case: _GatedDraft) -> bool:
    """Return whether the quoted sentences lack a number of the answer, in figures or in English words.

    So is a number that the answer calculates: nothing here can tell whether it is right.
    """
    lacking = numbers(case.parsed.final_answer) - set().union(*map(numbers, case.quoted_sentences))
    spelt = {word for sentence in case.quoted_sentences for word in words(sentence)}
    return not all(spelt & _SPELT.get(number, frozenset()) for number in lacking)


def _is_mostly(sentence: str, answer: str) -> bool:
    """Return whether an answer has most of the content words of a sentence.

    A heading, an item of a list and a field of an API description are no sentences, and may be the whole answer.
    """
    content, given = set(content_words(sentence)), set(content_words(answer))
    return bool(_FULL_STOP.search(sentence)) and len(content & given) > MAX_COPIED_SENTENCE * len(content)


_GATES = (
    _Gate("call", "call_failed", lambda _: True, lambda case: case.draft.call_status in ("failed", "filtered")),
    _Gate("loop", "looping", lambda case: case.draft.call_status == "looping", lambda _: True, 3),
    _Gate("oracle", "oracle_not_found", lambda case: not case.draft.question_call, lambda case: not case.has_oracle),
    _Gate("question", "no_question", lambda _: True, lambda case: not case.has_question),
    _Gate(
        "review",
        "rejected_by_reviewer",
        lambda case: case.review is not None,
        lambda case: not case.is_accepted_by_reviewer,
    ),
    _Gate("numbering", "numbering", lambda case: case.has_question, _has_list_marker),
    _Gate("answer", "empty_answer", lambda case: case.has_question, lambda case: not case.has_answer),
    _Gate("refusal", "refusal", lambda case: case.has_answer, _is_refusal),
    _Gate(
        "length",
        "truncated",
        lambda case: case.has_question,
        lambda case: case.draft.call_status in ("truncated", "looping"),
    ),
    _Gate("echo", "repeats_prompt", lambda case: case.has_answer, _repeats_prompt, 3),
    _Gate(
        "answer_tag",
        "no_answer_tag",
        lambda case: case.has_answer,
        lambda case: not case.has_final_answer or case.draft.answer.count(ANSWER_TAG) != 1,
    ),
    _Gate("abstention", "abstained", lambda case: case.has_final_answer, _is_abstention),
    _Gate("quotation", "quote_missing", lambda case: case.has_answer, _is_quotation_missing),
    _Gate(
        "verbatim",
        "quote_not_verbatim",
        lambda case: case.has_answer and bool(case.parsed.quotes),
        _has_unverbatim_quote,
    ),
    _Gate(
        "language",
        "other_language",
        lambda case: case.has_question and bool(case.draft.chunk.language),
        _is_in_other_language,
        4,
    ),
    _Gate(
        "support",
        "answer_not_supported",
        lambda case: case.has_final_answer,
        lambda case: support_share(case.parsed.final_answer, case.draft.chunk.passage) < case.settings.min_support,
        elsewhere=_lacks_terms,
    ),
    _Gate(
        "quoted_support",
        "answer_not_in_quote",
        lambda case: case.has_final_answer and bool(case.quoted_sentences),
        _lacks_quoted_support,
        3,
        english=True,
        elsewhere=_lacks_quoted_terms,
    ),
    _Gate(
        "quoted_numbers",
        "answer_not_in_quote",
        lambda case: case.has_final_answer and bool(case.quoted_sentences),
        _lacks_quoted_numbers,
        6,
    ),
    _Gate(
        "open_question",
        "question_gives_answer",
        lambda case: case.has_final_answer,
        _gives_answer,
        elsewhere=_gives_answer_elsewhere,
    ),
    _Gate(
        "own_words",
        "points_at_text",
        lambda case: case.has_question,
        lambda case: bool(_POINTING.search(case.draft.question)),
        elsewhere=_says_nothing,
    ),
    _Gate(
        "named",
        "not_self_contained",
        lambda case: case.has_question,
        _is_not_self_contained,
        elsewhere=_says_nothing,
    ),
    _Gate(
        "antecedent",
        "not_self_contained",
        lambda case: case.has_question,
        _points_outside,
        5,
        elsewhere=_says_nothing,
    ),
    _Gate(
        "question_words",
        "question_words_unknown",
        lambda case: case.has_question,
        lambda case: not case.vocabulary.knows(case.draft.question),
        3,
        english=True,
        elsewhere=_says_nothing,
    ),
    _Gate("retrieval", "no_vector", lambda case: bool(case.refusal), lambda _: True),
    _Gate(
        "retrieval",
        "not_self_contained",
        lambda case: case.has_question and case.has_oracle and case.rank_of is not None and not case.refusal,
        _is_not_retrieved,
    ),
)


def _run_gates(case: _GatedDraft, gate_set: int) -> dict[str, str]:
    gates = (gate for gate in _GATES if gate.gate_set <= gate_set)
    return {gate.name: gate.verdict(case) for gate in gates if gate.applies(case)}


def _find_duplicates(ranked: Sequence[_RankedPair]) -> set[str]:
    """Return the ids of pairs that ask what one before them asks in the same words."""
    first: dict[str, str] = {}
    return {
        pair.question_id
        for pair in ranked
        if first.setdefault(" ".join(words(pair.question)), pair.question_id) != pair.question_id
    }


def _find_near_duplicates(ranked: Sequence[_RankedPair], settings: QuestionSettings) -> set[str]:
    """Return the ids of pairs that ask nearly what a kept one before them asks.

    Both are about the same chunk or have the same answer.
    """
    by_id = {pair.question_id: pair for pair in ranked}
    neighbours: dict[str, set[str]] = defaultdict(set)
    alike = near_duplicate_pairs(
        by_id,
        lambda name: by_id[name].question,
        settings.near_duplicate,
        SEED,
        length=QUESTION_SHINGLE_WORDS,
        groupings=(lambda name: by_id[name].chunk_id, lambda name: by_id[name].answer_words or None),
    )
    for one, other in alike:
        if _have_same_target(by_id[one], by_id[other]):
            neighbours[one].add(other)
            neighbours[other].add(one)
    for one, other in _same_word_pairs(ranked):
        neighbours[one].add(other)
        neighbours[other].add(one)
    kept: set[str] = set()
    for pair in ranked:
        if kept.isdisjoint(neighbours.get(pair.question_id, ())):
            kept.add(pair.question_id)
    return by_id.keys() - kept


def _same_word_pairs(pairs: Sequence[_RankedPair]) -> Iterator[tuple[str, str]]:
    """Yield the ids of two pairs about one chunk with one answer and nearly the same content words.

    The order of the words doesn't count.
    """
    groups: dict[tuple[str, str], list[_RankedPair]] = defaultdict(list)
    for pair in pairs:
        if pair.answer_words:
            groups[pair.chunk_id, pair.answer_words].append(pair)
    for alike in groups.values():
        if len(alike) == 1:
            continue
        stems = {pair.question_id: _question_stems(pair) for pair in alike}
        for one, other in combinations(stems, 2):
            shared = stems[one] & stems[other]
            if len(shared) >= MIN_SHARED_WORDS * len(stems[one] | stems[other]) > 0:
                yield one, other


def _question_stems(pair: _RankedPair) -> set[str]:
    if pair.language != ENGLISH:
        return set(terms(pair.question, pair.language))
    return {_stem(word) for word in content_words(pair.question)}


def _have_same_target(one: _RankedPair, other: _RankedPair) -> bool:
    return one.answer_words == other.answer_words != "" or one.chunk_id == other.chunk_id


@lru_cache(maxsize=1 << 16)
def _lemmas(word: str) -> frozenset[str]:
    """Return the dictionary forms of an English word, of whatever part of speech it may be."""
    from lemminflect import getAllLemmas  # loads its tables

    return frozenset(lemma for lemmas in getAllLemmas(word).values() for lemma in lemmas)


def _stem(word: str) -> str:
    """Return the word without one inflectional ending; doubled consonants ("stopped") stay two."""
    ending = next(
        (ending for ending in _ENDINGS if word.endswith(ending) and len(word) - len(ending) >= _STEM_LENGTH), ""
    )
    return word[: len(word) - len(ending)]


def _judge_request(pair: QAPair, chunks: Mapping[str, Chunk]) -> Request:
    documents = [pair.path, PAIRS_FILE] if pair.is_imported else [pair.path]
    return judge_request(pair.question, pair.answer, chunks[pair.chunk_id].passage).about(documents)


def _read_judgement(answer: Answer) -> _JudgeOutcome:
    """Return the judge's outcome; a call that failed and a reply without a verdict are none, and never an accept."""
    verdict = parse_verdict(answer.text) if answer.status == "ok" else None
    if verdict is None:
        remark = answer.detail or f"no verdict in: {answer.text[:MAX_REMARK_CHARACTERS]}"
        return _JudgeOutcome("judge_failed", remark, answer.key)
    code = PASS if verdict.supported else "judged_unsupported"
    return _JudgeOutcome(code, verdict.reason[:MAX_REMARK_CHARACTERS], answer.key)


def _all_passed(verdicts: Mapping[str, str]) -> bool:
    return all(verdict in _NO_OBJECTION for verdict in verdicts.values())


def _rejection_reason(verdicts: Mapping[str, str], review: Review | None) -> str:
    is_accepted = review is not None and review.verdict == "accept"
    overridden = OVERRIDABLE_GATES if is_accepted else frozenset[str]()
    return next(
        (verdict for gate, verdict in verdicts.items() if verdict not in _NO_OBJECTION and gate not in overridden), ""
    )


def _build_pair(case: _GatedDraft, verdicts: dict[str, str]) -> QAPair:
    """Return the pair as the gates that look at it alone leave it."""
    draft, parsed, reason = case.draft, case.parsed, _rejection_reason(verdicts, case.review)
    call_details = {"call_failed": draft.call_detail, "no_vector": case.refusal}
    return QAPair(
        question_id=case.question_id,
        chunk_id=draft.chunk.chunk_id,
        doc_id=draft.chunk.doc_id,
        path=draft.chunk.path,
        question=draft.question,
        kind=classify_question(draft.question, draft.chunk.kind, draft.chunk.language),
        answer=draft.answer,
        final_answer=parsed.final_answer,
        quotes=list(parsed.quotes),
        accepted=not reason,
        reason=reason,
        gates=verdicts,
        question_call=draft.question_call,
        answer_call=draft.answer_call,
        review_note=case.review.note if case.review else "",
        call_detail=call_details.get(reason, ""),
        structured=draft.structured,
        language=draft.chunk.language,
    )


def _decide(pair: QAPair, verdicts: dict[str, str], review: Review | None, judgement: _JudgeOutcome) -> QAPair:
    """Return the pair with the verdicts of all gates; a reason that it had already stays the first."""
    reason = _rejection_reason(verdicts, review)
    return pair.model_copy(
        update={
            "accepted": not reason,
            "reason": reason,
            "gates": verdicts,
            "judge_call": judgement.call,
            "judge_remark": judgement.remark,
        }
    )

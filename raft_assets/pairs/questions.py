"""Ask the teacher for questions: how many about which chunk, the requests, and the parser of the replies.

The prompts are files (`llm/prompts`), two for every style: for prose and for API descriptions. What a pair must pass
belongs in `gates`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from raft_assets.core.frequent_words import QUESTION_WORDS
from raft_assets.core.identity import draw
from raft_assets.core.languages import ENGLISH, is_unspaced
from raft_assets.core.prompt_contract import EXAMPLE_DOCUMENT
from raft_assets.core.similarity import words
from raft_assets.core.tables import Chunk
from raft_assets.llm.prompts import answer_request, read_prompt
from raft_assets.llm.requests import Request
from raft_assets.llm.thoughts import strip_thoughts
from raft_assets.settings.domain import QuestionSettings
from raft_assets.settings.domains import PAIRS_FILE

# passages with questions, for models that go on with a text instead of doing what it says
_EXAMPLES = {
    "prose": (
        EXAMPLE_DOCUMENT,
        ("In which year was the Halden bridge opened?", "Why did Marit Lund choose granite for the Halden bridge?"),
    ),
    "api": (
        "api_call: tides.load(port, days=7)\nfunctionality: Reads the tide table of a port.",
        (
            "Which call of the tides library reads the tide table of a port?",
            "How many days does tides.load read unless it is told otherwise?",
        ),
    ),
}
QUESTIONS_VERSION = "2"  # of the plan and the parser: changes whenever the same replies give other questions
MIN_WORDS = 3  # "Why?" and "How so?" ask nothing on their own
LETTERS_PER_WORD = 4 / 3  # of a script that puts no spaces between words
QUESTION_MARKS = "?？؟\u037e՞፧"  # of Latin and Cyrillic, full width, Arabic, Greek, Armenian, Ethiopic


@dataclass(frozen=True)
class Draft:
    """A question and its answer as they came from the teacher, for the gates to check.

    A chunk from which no question came is a draft whose question and answer are empty. `call_status` and `call_detail`
    are those of the call that failed, else of the answer's.
    """

    chunk: Chunk
    question: str
    question_call: str
    answer: str
    answer_call: str
    call_status: str
    call_detail: str
    structured: bool = False  # the answer came in parts (`structured`), and its text was rendered from them

    @property
    def documents(self) -> list[str]:
        """The paths of what its text is of: the document, and the file that it was imported from."""
        return [self.chunk.path] if self.question_call else [self.chunk.path, PAIRS_FILE]


def plan_questions(
    chunks: Sequence[Chunk], settings: QuestionSettings, wanted: int, seed: int
) -> list[tuple[Chunk, int]]:
    """Return the chunks with the number of questions to ask about each, `wanted` in all.

    Every chunk comes once before any comes twice. Their order is by draw, so that a generation that stops early is an
    even sample, and more questions are asked about the same chunks and then about further ones. No chunk has more than
    `questions_per_chunk`; chunks without a question are left out.
    """
    order = sorted(chunks, key=lambda chunk: (draw(seed, chunk.chunk_id, "ask"), chunk.chunk_id))
    each, more = divmod(min(wanted, len(order) * settings.questions_per_chunk), max(len(order), 1))
    counts = (each + (position < more) for position in range(len(order)))
    return [(chunk, count) for chunk, count in zip(order, counts, strict=True) if count]


def question_request(chunk: Chunk, count: int, settings: QuestionSettings) -> Request:
    """Return the request for `count` questions about a chunk.

    What all chunks share comes first, for caches.
    """
    prompt = read_prompt("raft_assets.pairs", _prompt_name(settings.style, chunk.kind))
    questions_in = prompt.in_language(chunk.language)
    messages = questions_in.messages([chunk.passage], questions=f"{count} question{'s' * (count > 1)}")
    passage, questions = _EXAMPLES["api" if chunk.kind == "api" else "prose"]
    shown = prompt.messages([passage], questions=f"{len(questions)} questions")[-1]["content"]
    shown = shown.removeprefix(f"{prompt.instructions}\n\n")
    request = Request(
        "chat",
        {"messages": messages, "max_completion_tokens": settings.max_answer_tokens},
        examples=((shown, "\n".join(questions)),),
    )
    return request.with_parameters(temperature=settings.temperature, reasoning_effort=settings.reasoning_effort)


def question_prompts(settings: QuestionSettings) -> dict[str, str]:
    """Return the prompt files that the settings use, with their versions."""
    names = [_prompt_name(settings.style, kind) for kind in ("prose", "api")]
    return {name: read_prompt("raft_assets.pairs", name).version for name in names}


def teacher_answer_request(
    question: str, chunk: Chunk, settings: QuestionSettings, instructions: str | None = None
) -> Request:
    """Return the request that asks the teacher to answer a question from its oracle document alone.

    `instructions`: those set for the domain.
    """
    request = answer_request(
        question, [chunk.passage], "chat", settings.max_answer_tokens, instructions, language=chunk.language
    )
    return request.with_parameters(temperature=settings.temperature, reasoning_effort=settings.reasoning_effort)


def classify_question(question: str, chunk_kind: str, language: str = "") -> str:
    """Return the type of a question.

    It is cloze, api (of an API description), other (opens with a verb: "Is ..."), or else the first question word. In
    a language whose question words aren't known it is other.
    """
    if _CLOZE.search(question):
        return "cloze"
    if chunk_kind == "api":
        return "api"
    if (language or ENGLISH) != ENGLISH:
        return _kind_elsewhere(question, language)
    question_words = words(question)
    if not question_words or question_words[0] in _AUXILIARIES:
        return "other"
    return next((_KIND_OF_WORD[word] for word in question_words if word in _KIND_OF_WORD), "other")


def _kind_elsewhere(question: str, language: str) -> str:
    """Return the type of a question in another language than English."""
    kinds = QUESTION_WORDS.get(language, {})
    asked = question.casefold()
    if any(is_unspaced(word[0]) for word in kinds):
        found = [(asked.find(word), -len(word), kind) for word, kind in kinds.items() if word in asked]
        return min(found)[2] if found else "other"
    return next((kinds[word] for word in words(question) if word in kinds), "other")


def has_list_marker(question: str) -> bool:
    """Return whether a number, bullet or label is before the question."""
    return bool(_LIST_MARKER.match(question))


def parse_questions(text: str, limit: int) -> list[str]:
    """Return at most `limit` questions in a model's reply, without what is around them. Never raises.

    A question is a line, or a string of a JSON value, that ends in a question mark once numbers, bullets, labels,
    quotation marks, Markdown and trailing remarks are removed. Questions to the user ("Could you share the document?")
    don't count.
    """
    text = strip_thoughts(text, everywhere=True)
    questions = _distinct_questions(_strings(_json_value(text))) or _distinct_questions(_lines(text))
    return questions[:limit]


_KIND_OF_WORD = {word: word for word in ("what", "who", "when", "where", "why", "how", "which")} | {
    "whom": "who",
    "whose": "who",
}
_AUXILIARIES = frozenset(
    words(
        """is are was were am be do does did has have had can could may might must shall should will would
        name list describe explain"""
    )
)
_OPENINGS = _AUXILIARIES | _KIND_OF_WORD.keys() | {"in", "at", "on", "by", "for", "from", "to", "with"}
_CLOZE = re.compile(r"_{3,}|\bcompletes? (?:this|the) (?:statement|sentence)\b", re.IGNORECASE)

_FENCE = re.compile(r"^\s*(?:```|~~~).*$", re.MULTILINE)
_HTML_TAG = re.compile(r"</?(?:questions?|q|li|ol|ul|p|br|b|i|em|strong|item)\s*/?>", re.IGNORECASE)
_JSON_STRING = re.compile(rf'"((?:[^"\\]|\\.)*[{QUESTION_MARKS}])"')
_CHATTER = re.compile(
    r"^(?:sure|certainly|of course|ok(?:ay)?|absolutely|great|here (?:are|is)|here['’]s|below are)\b[^?]*?:\s+(?=\S)",
    re.IGNORECASE,
)
# more questions after the first on a line: only where a number says so
_NEXT_NUMBER = re.compile(
    rf"([{QUESTION_MARKS}][\"”’*_)]*)\s+(?=[(\[]?(?:Q(?:uestion)?\s*)?\d{{1,3}}\s?[.):\]]+\s*\S)", re.IGNORECASE
)
_BOLD = re.compile(r"(?<!\w)\*\*(?=\S)([^*]+)(?<=\S)\*\*(?!\w)")
_LABELS = "q|question|query|pregunta|pergunta|domanda|frage|vraag|fråga|spørgsmål|вопрос|问题|問題|質問|سؤال|ερώτηση"
_ANSWER_LABELS = (
    "a|ans|answer|response|respuesta|resposta|risposta|réponse|antwort|antwoord|svar|ответ|答案|答え|回答|答|إجابة|الجواب"
    "|απάντηση"
)
_LIST_MARKER = re.compile(
    rf"""(?:
        [-*•‣▪◦–—+>\#]+\s+                                        # bullet, quotation, heading
      | \[[ xX]?\]\s+                                             # box of a task list
      | (?:\#\s?)?[(\[]?\d{{1,3}}(?:[.):\]、．）：]+|\s[-–—])\s*(?=\D)  # 1. 1) (1) [1] 1: #1: 1 - 1、
      | \#\d{{1,3}}\s+
      | [(\[]?(?:[a-hA-H]|[ivx]{{1,4}})[)\]]\s*                     # a) (iv)
      | [ivx]{{1,4}}\.\s+(?=\S)
      | (?i:(?:\w+\s)?(?:{_LABELS})\s*(?:no\.?|number|n[.º°])?    # Q: Question 1: Easy question (2) -
            \s*\#?\s?\d*\s*(?:\([^()]*\)\s*)?(?:[:.)：．）]+|\s[-–—])\s*)
      | (?i:q(?:uestion)?\s?\d{{1,3}}\s+)
    )""",
    re.VERBOSE,
)
_CLOSING = {  # of quotation marks in English, German, Danish, French, Japanese
    "“": "”", "‘": "’", "„": "“”", "‚": "‘’", "»": "«»", "›": "‹", "«": "»", "‹": "›", "「": "」", "『": "』", "”": "”",
}  # fmt: skip
_WRAPPED = re.compile(
    r"^(\*{1,3}|_{1,2}(?!_)|`+|[\"'“‘„‚»›«‹「『”])(.+?)(\*{1,3}|(?<!_)_{1,2}|`+|[\"'”’“‘«‹»›」』])[.,;]?$"
)
_REMARK = re.compile(
    rf"""(?<=[{QUESTION_MARKS}])(["”’*_`]*)\s*(?:
        [(\[{{（][^?？؟]*[)\]}}）]                                   # (easy) [Answer: a bat]
      | (?:[-–—|(*_]+\s*)?(?:{_ANSWER_LABELS}|difficulty|type|source|hint)\b[*_]*\s*[:=：].*
      | (?:->|→|=>).*
      | [;,.|，。]+
    )$""",
    re.VERBOSE | re.IGNORECASE,
)
_LABELLED_ANSWER = re.compile(rf"\W*(?:{_ANSWER_LABELS}|hint|note|explanation|rationale)\W*\d*\W*[:：]", re.IGNORECASE)
_GREEK_QUESTION = re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]\s*;$")  # its mark is the Latin semicolon
# scripts that need no mark: Chinese and Japanese questions end in a particle, Thai has no mark, an Armenian one is on
# the word that is asked for
_UNMARKED = (
    r"[吗嗎呢么麼][。．.]?|(?:です|ます|した|だろう|でしょう|の|ある|いる|ない)か[。．.]?"
    r"|(?:อะไร|ใคร|ที่ไหน|ไหน|เมื่อไร|เมื่อไหร่|เมื่อใด|ทำไม|อย่างไร|เท่าไร|เท่าไหร่|เท่าใด|หรือไม่|ไหม|ใด)"
    r"|\w*՞\w*\b[^՞]*[։:]?"
)
_ENDED = re.compile(rf"(?:[{QUESTION_MARKS}]|{_UNMARKED})[\"”»“«‹›」』]?$")
_TO_THE_USER = re.compile(
    r"(?:i['’]?m |i am |we are )?sorry\b|unfortunately\b|apologies\b"
    r"|(?:could|can|would|will) you (?:please )?(?:provide|share|paste|send|give|clarify|specify|upload|tell)\b[^?]*"
    r"\b(?:document|text|passage|content|context|details|information|article|excerpt|it|me|us)\b"
    r"|(?:would|do|are|were) you (?:like|want|prefer|need|looking|happy|satisfied)\b"
    r"|(?:shall|should|may|can|could) (?:i|we)"
    r" (?:help|provide|write|generate|add|continue|rewrite|create|make|proceed)\b[^?]*\b(?:you|questions?|more)\b"
    r"|(?:is there )?anything else\b|(?:how|what) about (?:these|this)\b"
    r"|(?:does|do|are|is) (?:this|these|that|those) (?:questions? )?(?:help|work|ok|okay|fine|good)\b",
    re.IGNORECASE,
)


def _prompt_name(style: str, chunk_kind: str) -> str:
    return f"{style}/{'api_questions' if chunk_kind == 'api' else 'questions'}"


def _distinct_questions(candidates: Iterable[str]) -> list[str]:
    """Return the questions among the candidates; of those with the same words the first."""
    by_words: dict[str, str] = {}
    for question in map(_extract_question, candidates):
        question_words = words(question)
        letters = sum(is_unspaced(word[0]) for word in question_words)
        long_enough = len(question_words) - letters + letters / LETTERS_PER_WORD >= MIN_WORDS
        if long_enough and not _TO_THE_USER.match(question):
            by_words.setdefault(" ".join(question_words), question)
    return list(by_words.values())


def _json_value(text: str) -> Any:
    """Return the JSON list or object in a reply, whatever chatter or code fence is around it.

    None if there is none.
    """
    for opening, closing in ("[]", "{}"):
        start, end = text.find(opening), text.rfind(closing)
        if 0 <= start < end:
            try:
                return json.loads(text[start : end + 1])
            except (ValueError, RecursionError):
                continue
    return None


def _strings(value: Any) -> Iterator[str]:
    """Yield the candidates of a JSON value: its strings.

    Of an object, only those named as questions if it has such.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for entry in value:
            yield from _strings(entry)
    elif isinstance(value, dict):
        named = [entry for name, entry in value.items() if name.casefold() == "q" or "question" in name.casefold()]
        for entry in named or value.values():
            yield from _strings(entry)


def _lines(text: str) -> Iterator[str]:
    """Yield the candidates of a reply in lines.

    Wrapped lines are joined, numbered questions on one line are split.
    """
    joined: list[str] = []
    for line in map(str.strip, _HTML_TAG.sub("\n", _FENCE.sub("", text)).splitlines()):
        if joined and _continues(joined[-1], line):
            joined[-1] += " " + line
        else:
            joined.append(line)
    for line in joined:
        if line.startswith(("[", "{")):  # JSON with a fault in it
            yield from _JSON_STRING.findall(line)
        yield from _NEXT_NUMBER.sub(r"\1\n", line).split("\n")


def _continues(before: str, line: str) -> bool:
    """Return whether a line continues the question that the line before it began."""
    goes_on = not before.endswith((".", ":", "!", ",", "]", "}", '"')) and not _ENDED.search(before)
    if not before or not line or not goes_on or _LIST_MARKER.match(line):
        return False
    first, opening = words(_strip_list_marker(before))[:1], words(line)[:1]
    return line[0].islower() or (first != [] and first[0] in _OPENINGS and not (opening and opening[0] in _OPENINGS))


def _extract_question(candidate: str) -> str:
    """Return the bare question in a candidate; empty if there is none."""
    if _LABELLED_ANSWER.match(candidate):
        return ""
    if "|" in (candidate[:1], candidate[-1:]):  # row of a table
        candidate = next((cell for cell in candidate.split("|") if cell.strip().endswith(tuple(QUESTION_MARKS))), "")
    bare, before = _BOLD.sub(r"\1", " ".join(candidate.split())), ""
    while bare != before:
        before = bare
        bare = _GREEK_QUESTION.sub(lambda end: f"{end[0][:-1]}\u037e", bare)
        bare = _REMARK.sub(r"\1", _unwrap(_strip_list_marker(_CHATTER.sub("", bare)))).strip()
    return bare if _ENDED.search(bare) else ""


def _strip_list_marker(text: str) -> str:
    match = _LIST_MARKER.match(text)
    return text[match.end() :] if match else text


def _unwrap(text: str) -> str:
    """Return the text without quotation marks or Markdown around the whole of it."""
    match = _WRAPPED.match(text)
    if not match:
        return text
    opening, inner, closing = match.groups()
    whole = (
        closing in _CLOSING.get(opening, opening)
        and inner.count(opening) == inner.count(closing)
        and (opening in _CLOSING or inner.count(opening) % 2 == 0)
    )
    return inner.strip() if whole else text

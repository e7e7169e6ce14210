"""Quality gates."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.identity import draw, question_id
from raft_assets.core.prompt_contract import INSTRUCTIONS, render_prompt
from raft_assets.core.tables import QAPair
from raft_assets.documents.retrieval import RetrievalRanks, VectorIndex
from raft_assets.embedded.encoder import Encoder
from raft_assets.llm.requests import Answer, Request, Status, Usage
from raft_assets.pairs.gates import (
    FIRST_GATE_SET,
    GATE_SET,
    LANGUAGE_GATE_SET,
    MAX_REMARK_CHARACTERS,
    OFF,
    OVERRIDABLE_GATES,
    PASS,
    REASONS,
    Vocabulary,
    apply_gates,
    support_share,
)
from raft_assets.pairs.questions import Draft
from raft_assets.pairs.reviews import Review
from raft_assets.settings.domain import QuestionSettings
from raft_assets_tests.builders import a_chunk, an_answer

EATS = "Vampire bats eat blood and nothing else."
SLEEPS = "The harbour authority bought the Customs House in 1926 for 14,500 crowns."
PASSAGE = f"{EATS} {SLEEPS} Their roosts are caves, and the author of the survey was Anna Lowe."
CHUNK = a_chunk("c", PASSAGE).model_copy(update={"language": "en"})
SOUND = Draft(
    CHUNK,
    "What do vampire bats eat?",
    "question-call",
    an_answer(EATS, "blood and nothing else"),
    "answer-call",
    "ok",
    "",
)


def judged(drafts: Iterable[Draft], **settings: float) -> list[QAPair]:
    return list(apply_gates(drafts, settings=QuestionSettings(**settings), rank_of=None))  # type: ignore[arg-type]


def verdict(draft: Draft) -> QAPair:
    return judged([draft])[0]


def asking(question: str) -> Draft:
    return replace(SOUND, question=question)


def answering(answer: str) -> Draft:
    return replace(SOUND, answer=answer)


def concluding(final_answer: str) -> Draft:
    return answering(an_answer(EATS, final_answer))


SOUND_DRAFTS = {
    "a usual one": SOUND,
    "inflected words": concluding("eating the blood"),
    "yes, which no document holds": concluding("Yes."),
    "a number at the start of the question": asking("1926 was the year in which who bought the Customs House?"),
    "a decimal at the start of the question": asking("1.5 million bats eat what at night?"),
    "an author who is asked for": replace(
        SOUND,
        question="Who was the author of the survey?",
        answer=an_answer("the author of the survey was Anna Lowe", "Anna Lowe"),
    ),
    "a passage that ships take": asking("What leads through the passage to the harbour?"),
    "a text that a program reads": asking("How are all bats in the text of the survey replaced?"),
    "a quotation with other white space": answering(an_answer("Vampire bats  eat\nblood and nothing else.", "blood")),
    "several quotations": answering(
        f"First {an_answer(EATS, '')} and then".replace("\n<ANSWER>: ", "") + an_answer(SLEEPS, "blood")
    ),
    "a reasoning that begins with what it can't": answering("I was not told more. " + an_answer(EATS, "blood")),
    "an answer that shares words with the question": asking("What do bats eat instead of insects and nothing?"),
}

SPOILT_DRAFTS: dict[str, list[Draft]] = {
    "call_failed": [
        replace(SOUND, answer="", call_status="failed"),
        replace(SOUND, question="", answer="", call_status="filtered"),
    ],
    "oracle_not_found": [replace(SOUND, chunk=CHUNK.model_copy(update={"chunk_id": ""}), question_call="")],
    "no_question": [
        replace(SOUND, question="", answer=""),
        replace(SOUND, question="", answer="I can't.", call_status="truncated"),
    ],
    "numbering": [asking(f"{mark}{SOUND.question}") for mark in ("1. ", "- ", "2) ", "Q3: ", "Here are two: ", "**")],
    "looping": [
        replace(SOUND, answer="The answer is: " * 40, call_status="looping"),
        replace(SOUND, question="", answer="What do bats eat? " * 40, call_status="looping"),
    ],
    "repeats_prompt": [
        answering(INSTRUCTIONS),
        answering(INSTRUCTIONS.splitlines()[-1]),
        answering(render_prompt(SOUND.question, [CHUNK.text])),
        answering(f"<DOCUMENT>{CHUNK.text}</DOCUMENT>\n\n{SOUND.question}"),
    ],
    "other_language": [
        asking("Was fressen die Vampirfledermäuse in der Nacht?"),
        answering(SOUND.answer.replace("The document says", "Das Dokument nennt die Nahrung in diesem Satz")),
    ],
    "answer_not_in_quote": [
        answering(an_answer(SLEEPS, "blood and nothing else")),  # a sentence of the passage, but not the answer's
        concluding("Vampire bats eat blood and nothing else."),
        answering(an_answer("Vampire bats eat blood", "Vampire bats eat blood and nothing")),  # a part of it was quoted
    ],
    "question_words_unknown": [
        asking("Which painter decorated the cathedral?"),
        asking("What is the best programming language?"),
    ],
    "empty_answer": [answering(""), replace(SOUND, answer=" \n", call_status="empty")],
    "refusal": [
        answering("I'm sorry, but I can't help with that."),
        answering("As an AI language model I do not know. " + an_answer(EATS, "blood")),
        answering("I cannot answer this. " + an_answer(EATS, "blood")),
    ],
    "truncated": [
        replace(SOUND, call_status="truncated"),
        replace(SOUND, answer="The document says", call_status="truncated"),
    ],
    "no_answer_tag": [
        answering(SOUND.answer.replace("<ANSWER>:", "So")),
        answering(SOUND.answer + "\n<ANSWER>: blood"),
        concluding(""),
    ],
    "abstained": [
        concluding("The documents do not contain the answer."),
        concluding("Not mentioned in the document."),
        concluding("N/A"),
        concluding("The text does not say what they eat"),
    ],
    "quote_missing": [
        answering("It says so.\n<ANSWER>: blood"),
        answering(SOUND.answer.replace("##end_quote##", "")),
        answering(an_answer("", "blood")),
    ],
    "quote_not_verbatim": [
        answering(an_answer("Vampire bats drink blood.", "blood")),
        answering(an_answer(EATS, "").replace("<ANSWER>: ", "") + an_answer("Bats are blind.", "blood")),
    ],
    "answer_not_supported": [concluding("fruit nectar"), concluding("mostly small flying insects and blood")],
    "question_gives_answer": [
        asking("Do they eat blood and nothing else?"),
        replace(SOUND, question="Is blood what vampire bats eat?", answer=an_answer(EATS, "Blood.")),
    ],
    "points_at_text": [
        asking(question)
        for question in (
            "According to the passage, what do vampire bats eat?",
            "What does this document say that vampire bats eat?",
            "What do vampire bats eat, as described in the text?",
            "What does the author mention about vampire bats?",
            "What is the food of vampire bats mentioned above?",
            "What do the bats in the text above eat?",
            "Based on the given context, what do vampire bats eat?",
        )
    ],
}


@pytest.mark.parametrize("draft", SOUND_DRAFTS.values(), ids=SOUND_DRAFTS.keys())
def test_sound_pairs_are_accepted(draft: Draft) -> None:
    pair = verdict(draft)
    assert (pair.accepted, pair.reason) == (True, "")
    assert set(pair.gates.values()) == {PASS}


@pytest.mark.parametrize(
    ("reason", "draft"), [(reason, draft) for reason, drafts in SPOILT_DRAFTS.items() for draft in drafts]
)
def test_spoilt_pairs_are_rejected_with_their_reason(reason: str, draft: Draft) -> None:
    pair = verdict(draft)
    assert (pair.accepted, pair.reason) == (False, reason)


def test_every_reason_is_tested_and_explained() -> None:
    among_others = {"duplicate_question", "near_duplicate_question", "not_self_contained"}
    among_others |= {"judged_unsupported", "judge_failed", "rejected_by_reviewer", "no_vector"}
    assert SPOILT_DRAFTS.keys() | among_others == REASONS.keys()
    assert all(sentence.endswith(".") for sentence in REASONS.values())


def test_pairs_of_a_domain_that_had_pairs_before_pass_the_gates_that_they_passed_then() -> None:
    drafts = [
        replace(SOUND, question=f"{SOUND.question[:-1]} {number}?", answer=draft.answer)
        for number, draft in enumerate([*SPOILT_DRAFTS["answer_not_in_quote"], answering(INSTRUCTIONS)])
    ]
    of_then = list(apply_gates(drafts, settings=QuestionSettings(), rank_of=None, gate_set=FIRST_GATE_SET))
    added_gates = {"loop", "echo", "quoted_support", "question_words", "antecedent", "quoted_numbers"}
    assert all(added_gates.isdisjoint(pair.gates) for pair in of_then)
    assert sorted({pair.reason for pair in of_then} - {"near_duplicate_question"}) == ["", "no_answer_tag"]
    (looping,) = apply_gates(
        [replace(SOUND, call_status="looping")], settings=QuestionSettings(), rank_of=None, gate_set=FIRST_GATE_SET
    )
    assert looping.reason == "truncated"


def test_gates_of_words_are_off_in_a_language_that_they_dont_know_and_say_so() -> None:
    text = "Die Brücke von Halden wurde 1907 eröffnet. Marit Lund wählte Granit, weil Eisen in der Seeluft rostet."
    german = replace(
        SOUND,
        chunk=a_chunk("german", text),
        question="Weshalb hat sich die Architektin für Granit entschieden?",
        answer=an_answer(text.split(". ")[1], "weil Eisen in der Seeluft rostet"),
    )
    pair = verdict(german)
    assert (pair.gates["quoted_support"], pair.gates["question_words"]) == (OFF, OFF)
    assert (pair.accepted, pair.reason) == (True, "")


BRIDGE = (
    "The Halden bridge was opened on 3 May 1907 and closed in 1932. It has three piers and is 1,200 metres long. In "
    "1951 twenty trains crossed it each day."
)


@pytest.mark.parametrize(
    ("quoted", "answer", "accepted"),
    [
        (0, "3 May 1907", True),
        (0, "in May 1908", False),
        (0, "in May 1932", True),
        (0, "in May 1951", False),  # of another sentence
        (0, "25 years after it was opened", False),  # calculated, which nothing here can check
        (1, "3 piers", True),
        (1, "4 piers", False),
        (1, "1200 metres", True),
        (1, "1,300 metres", False),
        (2, "20 trains each day", True),
        (2, "twenty trains", True),
    ],
)
def test_every_number_of_an_answer_is_in_what_it_quotes(quoted: int, answer: str, *, accepted: bool) -> None:
    sentences = re.split(r"(?<=[.]) ", BRIDGE)
    draft = replace(
        SOUND,
        chunk=a_chunk("bridge", BRIDGE),
        question="What is told of the bridge at Halden?",
        answer=an_answer(sentences[quoted], answer),
    )
    (pair,) = apply_gates([draft], settings=QuestionSettings(), rank_of=None)
    assert pair.gates["quoted_numbers"] == (PASS if accepted else "answer_not_in_quote")
    (before,) = apply_gates([draft], settings=QuestionSettings(), rank_of=None, gate_set=5)
    assert "quoted_numbers" not in before.gates


def test_what_is_no_sentence_may_be_the_whole_answer() -> None:
    chunk = a_chunk("list", "## Wax for surfers\n\n- base coat\n- tropical top coat\n\nThe top coat is for warm water.")
    draft = replace(
        SOUND,
        chunk=chunk,
        question="Which wax for surfers is the top coat for warm water?",
        answer=an_answer("tropical top coat", "tropical top coat"),
    )
    assert verdict(draft).accepted


def test_a_question_in_other_words_is_judged_by_the_whole_domains_vocabulary() -> None:
    paraphrased = asking("Which nourishment do these nocturnal mammals consume?")
    others = ["Nocturnal animals consume insects.", "Mammals find nourishment in winter."]
    (alone,) = judged([paraphrased])
    (among_others,) = apply_gates(
        [paraphrased], settings=QuestionSettings(), rank_of=None, vocabulary=Vocabulary([CHUNK.text, *others])
    )
    assert (alone.gates["question_words"], among_others.gates["question_words"]) == ("question_words_unknown", PASS)


def test_a_rejected_pair_keeps_what_the_teacher_wrote_and_the_other_verdicts() -> None:
    pair = verdict(replace(SOUND, question="1. According to the passage, what do they eat?"))
    assert (pair.question, pair.answer) == ("1. According to the passage, what do they eat?", SOUND.answer)
    assert pair.reason == "numbering"
    assert pair.gates["own_words"] == "points_at_text"
    assert pair.gates["support"] == PASS
    assert (pair.question_call, pair.answer_call) == ("question-call", "answer-call")


def test_the_share_of_words_that_must_be_supported_is_a_setting() -> None:
    half_supported = concluding("blood nectar")
    assert judged([half_supported], min_support=0.5)[0].accepted
    assert judged([half_supported], min_support=0.6)[0].reason == "answer_not_supported"


def test_the_same_question_is_accepted_once_wherever_it_was_asked() -> None:
    other = replace(SOUND, chunk=a_chunk("other", CHUNK.text), question="what do vampire bats eat")
    pairs = judged([SOUND, other])
    assert sorted(pair.reason for pair in pairs) == ["", "duplicate_question"]


def test_a_question_asked_twice_of_a_chunk_is_one_pair() -> None:
    assert len(judged([SOUND, SOUND])) == 1


def test_a_spoilt_duplicate_never_costs_the_sound_pair() -> None:
    copies = [replace(SOUND, chunk=a_chunk(f"copy {number}", CHUNK.text), answer="") for number in range(20)]
    pairs = judged([*copies, SOUND])
    assert [pair.chunk_id for pair in pairs if pair.accepted] == [CHUNK.chunk_id]


LONG = "Which company of the northern harbour paid for the new lamp of the old lighthouse in the year after the storm"


def near_duplicates(first: Draft, second: Draft) -> list[str]:
    return sorted(
        pair.reason for pair in judged([replace(first, question=f"{LONG}?"), replace(second, question=f"{LONG} then?")])
    )


def test_nearly_the_same_question_of_one_chunk_is_accepted_once() -> None:
    assert near_duplicates(SOUND, concluding("bats")) == ["", "near_duplicate_question"]


def test_nearly_the_same_question_with_the_same_answer_is_accepted_once() -> None:
    assert near_duplicates(SOUND, replace(SOUND, chunk=a_chunk("other", CHUNK.text))) == ["", "near_duplicate_question"]


def test_nearly_the_same_question_with_another_answer_of_another_chunk_is_another_question() -> None:
    assert near_duplicates(SOUND, replace(concluding("bats"), chunk=a_chunk("other", CHUNK.text))) == ["", ""]


def test_a_question_that_differs_in_one_word_is_another_question() -> None:
    questions = [
        f"What is the fee for a {boat} that stays in the inner harbour at night?" for boat in ("yacht", "trawler")
    ]
    assert all(pair.accepted for pair in judged(map(asking, questions)))


@settings(deadline=None)
@given(st.permutations(range(6)))
def test_which_duplicates_survive_does_not_depend_on_their_order(order: list[int]) -> None:
    questions = [
        f"{LONG}?",
        f"{LONG} then?",
        f"{LONG} also?",
        "What do bats eat?",
        "what do BATS eat?",
        "Where do bats sleep?",
    ]
    drafts = [
        replace(asking(question), chunk=a_chunk(f"c{number % 2}", CHUNK.text))
        for number, question in enumerate(questions)
    ]
    assert judged(drafts[number] for number in order) == judged(drafts)


def test_a_question_that_retrieval_does_not_bring_back_to_its_chunk_is_rejected() -> None:
    lost, found = asking("What do they eat in the evening?"), SOUND

    def rank_of(question: str, chunk_id: str) -> int | None:
        assert chunk_id == CHUNK.chunk_id
        return 1 if question == found.question else None

    pairs = apply_gates([lost, found], settings=QuestionSettings(), rank_of=rank_of)
    assert {pair.question: pair.reason for pair in pairs} == {found.question: "", lost.question: "not_self_contained"}


def test_without_retrieval_that_gate_does_not_run() -> None:
    assert "retrieval" not in verdict(SOUND).gates


def test_a_chunk_without_a_question_is_a_pair_of_its_own_whose_other_gates_did_not_run() -> None:
    empty = [replace(SOUND, chunk=a_chunk(name, CHUNK.text), question="", answer="") for name in ("a", "b")]
    pairs = list(apply_gates(empty, settings=QuestionSettings(), rank_of=lambda *_: 1))
    assert len({pair.question_id for pair in pairs}) == 2
    assert [pair.gates for pair in pairs] == [{"call": PASS, "question": "no_question"}] * 2


def reviewed(verdict: Literal["accept", "reject"], *drafts: Draft, rank: int | None = 1) -> list[QAPair]:
    """The drafts where a person said the same of each."""
    ids = [question_id(draft.chunk.chunk_id, draft.question) for draft in drafts]
    reviews = {name: Review(question_id=name, verdict=verdict, note="seen") for name in ids}
    return list(apply_gates(drafts, settings=QuestionSettings(), rank_of=lambda *_: rank, reviews=reviews))


def test_a_persons_reject_takes_a_sound_pair_out_and_keeps_the_note() -> None:
    (pair,) = reviewed("reject", SOUND)
    assert (pair.accepted, pair.reason, pair.review_note) == (False, "rejected_by_reviewer", "seen")


CONTENT = ("other_language", "answer_not_supported", "answer_not_in_quote", "points_at_text", "question_words_unknown")


@pytest.mark.parametrize("reason", SPOILT_DRAFTS)
def test_a_persons_accept_overrides_the_gates_that_judge_content_and_none_of_form(reason: str) -> None:
    for draft in SPOILT_DRAFTS[reason]:
        (pair,) = reviewed("accept", draft)
        assert pair.accepted == (reason in CONTENT)
        assert pair.reason == ("" if reason in CONTENT else reason)
        assert reason in pair.gates.values()  # what the gate said stays to be seen


def test_a_persons_accept_overrides_retrieval_and_near_duplicates_but_not_duplicates() -> None:
    assert reviewed("accept", SOUND, rank=None)[0].accepted
    alike = [asking(f"{LONG}?"), asking(f"{LONG} then?")]
    assert all(pair.accepted for pair in reviewed("accept", *alike))
    same = [SOUND, replace(SOUND, chunk=a_chunk("other", CHUNK.text))]
    assert sorted(pair.reason for pair in reviewed("accept", *same)) == ["", "duplicate_question"]


@pytest.mark.parametrize("gate_set", [FIRST_GATE_SET, GATE_SET])
def test_a_pair_whose_question_or_passage_has_no_vector_is_rejected_in_the_words_of_the_service(gate_set: int) -> None:
    other = replace(SOUND, question="What is all that vampire bats eat in the survey?")
    said = {SOUND.question: "EMBEDDING gave no vector: it refuses the text (Zounds)."}
    pairs = apply_gates(
        [SOUND, other],
        settings=QuestionSettings(near_duplicate=1),
        rank_of=lambda question, _: None if question in said else 1,
        reason_without_vector=lambda question, _: said.get(question, ""),
        gate_set=gate_set,
    )
    of_question = {pair.question: pair for pair in pairs}
    assert (of_question[SOUND.question].reason, of_question[SOUND.question].call_detail) == (
        "no_vector",
        said[SOUND.question],
    )
    assert of_question[other.question].accepted
    assert of_question[other.question].call_detail == ""


def test_without_the_gate_of_retrieval_nothing_needs_a_vector() -> None:
    (pair,) = apply_gates(
        [SOUND], settings=QuestionSettings(), rank_of=None, reason_without_vector=lambda *_: "it refuses the text"
    )
    assert pair.accepted


def test_the_near_duplicate_that_a_person_accepted_survives() -> None:
    alike = [asking(f"{LONG}{end}?") for end in ("", " then", " also", " too")]
    for chosen in alike:
        name = question_id(CHUNK.chunk_id, chosen.question)
        reviews = {name: Review(question_id=name, verdict="accept")}
        pairs = apply_gates(alike, settings=QuestionSettings(), rank_of=None, reviews=reviews)
        assert [pair.question for pair in pairs if pair.accepted] == [chosen.question]


def test_every_gate_that_an_accept_overrides_is_there() -> None:
    pairs = reviewed("accept", SOUND)
    assert OVERRIDABLE_GATES - {"judge"} <= pairs[0].gates.keys()


@pytest.mark.parametrize(
    ("final_answer", "document", "share"),
    [
        ("blood and insects", "They eat blood.", 0.5),
        ("the walls were carried", "a wall that carries", 1.0),  # inflected
        ("they left early", "Bats leave the cave early.", 1.0),  # irregular
        ("it sings", "a song about as", 0.0),  # a stem has three letters at least: "s" and "as" are not alike
        ("red", "reds and a rose", 1.0),
        ("ring", "a red rose", 0.0),
        ("Yes.", "", 1.0),  # nothing that a document could hold
    ],
)
def test_support_is_the_share_of_content_words_that_the_document_holds(
    final_answer: str, document: str, share: float
) -> None:
    assert support_share(final_answer, document) == share


@pytest.mark.parametrize(
    ("question", "accepted"),
    [
        ("What do they eat at night?", False),  # two content words and a pronoun
        ("What do they eat at night in caves?", True),
        ("What do bats eat?", True),  # two content words that name something
        ("What do they eat, and eat, and eat at night?", False),  # a word counts once
    ],
)
def test_a_question_with_a_pronoun_names_three_things_at_least(question: str, accepted: bool) -> None:
    assert verdict(asking(question)).reason == ("" if accepted else "not_self_contained")


@pytest.mark.parametrize(
    ("question", "accepted"),
    [
        ("What does this species of vampire bat eat?", False),
        ("Another 7 species of vampire bats eat what?", False),
        ("What do the above bats of the caves eat?", False),
        ("What do these two bats eat in their roosts?", False),
        ("What do the other three species of the survey eat?", False),
        ("What do those bats eat in the caves?", False),
        ("Which words complete this statement: “These vampire bats eat ____ and nothing else”?", False),
        ("Which words complete this statement: “Vampire bats eat ____ and nothing else”?", True),
        ("When vampire bats return to their roosts, what do these eat?", True),  # a clause before names them
        ("What do bats that live in caves, such as vampire bats, eat?", True),
        ("What do those of the bats that roost in caves eat?", True),
        ("What do the two vampire bats of the survey eat?", True),
        ("What is another name of the roosts of vampire bats?", True),
    ],
)
@pytest.mark.parametrize("gate_set", [GATE_SET, LANGUAGE_GATE_SET])
def test_a_question_that_points_outside_of_itself_names_nothing(question: str, accepted: bool, gate_set: int) -> None:
    (pair,) = apply_gates([asking(question)], settings=QuestionSettings(), rank_of=None, gate_set=gate_set)
    of_before = gate_set == LANGUAGE_GATE_SET  # a domain that has pairs keeps its result
    assert pair.reason == ("" if accepted or of_before else "not_self_contained")


LOST = "not_self_contained"
PIER = "The ferry to Saltholm leaves from the north pier."
KAI = "Die Fähre nach Saltholm fährt am Nordkai ab."


@pytest.mark.parametrize(
    ("sentence", "question", "answer", "other", "reason"),
    [
        (PIER, "From where does the ferry to Saltholm leave?", "the north pier", "From the north pier", ""),
        (PIER, "From where does the ferry to Saltholm leave?", "the north pier", "From the south pier", LOST),
        (PIER, "At which place do travellers wait in rain?", "the north pier", "From the north pier", LOST),
        (KAI, "Wo fährt die Fähre nach Saltholm ab?", "am Nordkai", "Am Nordkai", ""),
        (KAI, "Wo fährt die Fähre nach Saltholm ab?", "am Nordkai", "Am Südkai", LOST),
    ],
)
def test_a_question_that_brings_back_another_passage_with_its_answer_is_clear(
    sentence: str, question: str, answer: str, other: str, reason: str
) -> None:
    """Five timetables come before the passage that was asked about, whose other sentences are about prices."""
    is_english = sentence == PIER
    prices = "Children pay nothing, adults 40 crowns, cars 190 crowns, bicycles 25 crowns and dogs 10 crowns."
    about = "the ferry to Saltholm leaves at {}:00." if is_english else "legt um {} Uhr die Fähre nach Saltholm ab."
    if not is_english:
        prices = "Kinder zahlen nichts, Erwachsene 40 Kronen, Autos 190 Kronen, Räder 25 Kronen, Hunde 10 Kronen."
    texts = [f"{prices * 3} {sentence}", *(f"{other} {about.format(hour)}" for hour in range(6, 12))]
    language = "en" if is_english else "de"
    chunks = {
        f"c{number}": a_chunk(f"c{number}", text).model_copy(update={"language": language})
        for number, text in enumerate(texts)
    }
    encoder = Encoder.load()
    index = VectorIndex(list(chunks), encoder.encode([chunk.text for chunk in chunks.values()]))
    ranks = RetrievalRanks(index, lambda questions: encoder.encode(list(questions)), 5)
    ranks.look_up([(question, "c0")])
    quoted = an_answer(sentence, answer)
    if not is_english:
        quoted = quoted.replace("The document says", "Im Dokument steht")
    draft = Draft(chunks["c0"], question, "q", quoted, "a", "ok", "")
    for gate_set, expected in ((GATE_SET, reason), (LANGUAGE_GATE_SET, LOST)):
        (pair,) = apply_gates(
            [draft],
            settings=QuestionSettings(),
            rank_of=ranks.rank_of,
            retrieved_instead=lambda *asked: [chunks[name] for name in ranks.retrieved_instead(*asked)],
            vocabulary=Vocabulary(texts),
            gate_set=gate_set,
        )
        assert (pair.gates["retrieval"], pair.accepted) == (expected or PASS, not expected)


@pytest.mark.parametrize(
    ("other", "reasons"),
    [
        ("In caves, the northern ones, what do bats eat?", ["", "near_duplicate_question"]),
        ("What is it in a northern cave for a bat?", ["", "near_duplicate_question"]),  # three of four, inflected
        ("What do bats hunt in northern caves?", ["", ""]),  # three of five
    ],
)
def test_the_same_content_words_asked_of_one_chunk_for_one_answer_are_one_question(
    other: str, reasons: list[str]
) -> None:
    pairs = judged([asking("What do bats eat in northern caves?"), asking(other)])
    assert sorted(pair.reason for pair in pairs) == reasons


def test_questions_of_no_content_words_are_not_called_the_same() -> None:
    pairs = judged([asking("What is it?"), asking("Who was that?")])
    assert [pair.gates["near_duplicate"] for pair in pairs] == [PASS, PASS]


def test_questions_without_an_answer_are_not_asking_for_the_same() -> None:
    first, second = asking(f"{LONG}?"), asking(f"{LONG} then?")
    unanswered = [replace(first, answer=""), replace(second, answer="", chunk=a_chunk("other", CHUNK.text))]
    assert {pair.gates["near_duplicate"] for pair in judged(unanswered)} == {PASS}


def test_which_of_two_sound_duplicates_survives_is_drawn() -> None:
    for number in range(8):
        copies = [replace(SOUND, chunk=a_chunk(f"{name} {number}", CHUNK.text)) for name in ("one", "other")]
        kept, dropped = sorted(judged(copies), key=lambda pair: pair.reason)
        assert (kept.reason, dropped.reason) == ("", "duplicate_question")
        assert draw(0, kept.question_id) < draw(0, dropped.question_id)
        assert dropped.gates["near_duplicate"] == PASS  # said once


def test_an_answer_among_things_to_choose_from_is_not_given_away() -> None:
    assert verdict(
        replace(asking("Is it blood or fruit that vampire bats eat?"), answer=an_answer(EATS, "blood"))
    ).accepted


@pytest.mark.parametrize(
    ("sentence", "question", "final_answer", "reason"),
    [
        ("The origin of the name is unknown.", "What is the origin of the name?", "unknown", "abstained"),
        ('The sign says "I cannot fly".', "What does the sign of the bat house say?", "I cannot fly", "refusal"),
    ],
)
def test_words_like_a_refusal_are_an_answer_where_the_document_says_them(
    sentence: str, question: str, final_answer: str, reason: str
) -> None:
    draft = Draft(a_chunk("c", f"{sentence} {SLEEPS}"), question, "q", an_answer(sentence, final_answer), "a", "ok", "")
    assert verdict(draft).accepted
    elsewhere = replace(draft, chunk=a_chunk("c", f"{SLEEPS} Of names, {final_answer} ones."))
    assert verdict(elsewhere).reason == reason  # what is quoted must be in the document
    assert verdict(replace(draft, answer=an_answer(SLEEPS, final_answer))).reason == reason


@pytest.mark.parametrize(
    ("question", "kind"), [("What do vampire bats eat?", "what"), ("Why do vampire bats need the blood?", "why")]
)
def test_a_pair_says_what_kind_of_question_it_is(question: str, kind: str) -> None:
    assert verdict(asking(question)).kind == kind


class Judge:
    """Says the same of every pair that it is asked about."""

    def __init__(self, text: str, status: Status = "ok", detail: str = "") -> None:
        self.asked: list[Request] = []
        self._answer = Answer("judge-call", text, status, detail, Usage(), 0.1, from_store=False)

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer]:
        for request in requests:
            self.asked.append(request)
            yield self._answer


YES = '{"supported": true, "reason": "it says so"}'


@pytest.mark.parametrize(
    ("judge", "reason", "remark"),
    [
        (Judge(YES), "", "it says so"),
        (Judge(YES.replace("true", "false")), "judged_unsupported", "it says so"),
        (Judge("Well."), "judge_failed", "no verdict in: Well."),
        (Judge("w" * 9000), "judge_failed", f"no verdict in: {'w' * MAX_REMARK_CHARACTERS}"),
        (Judge(YES, "truncated", "The answer reached the maximum."), "judge_failed", "The answer reached the maximum."),
        (Judge("", "failed", "JUDGE gave no answer."), "judge_failed", "JUDGE gave no answer."),
        (Judge(YES.replace("it says so", "r" * 9000)), "", "r" * MAX_REMARK_CHARACTERS),
    ],
    ids=["supported", "unsupported", "no verdict", "a long reply", "cut off", "no answer", "a long reason"],
)
def test_only_a_judge_that_says_yes_lets_a_pair_pass(judge: Judge, reason: str, remark: str) -> None:
    (pair,) = apply_gates([SOUND], settings=QuestionSettings(), rank_of=None, ask_judge=judge.ask)
    assert (pair.reason, pair.judge_remark, pair.judge_call) == (reason, remark, "judge-call")
    assert pair.gates["judge"] == (reason or PASS)


def test_the_judge_is_asked_only_about_what_passed_every_other_gate() -> None:
    judge = Judge(YES)
    drafts = [SOUND, asking("1. What is eaten?"), replace(SOUND, chunk=a_chunk("other", CHUNK.text))]
    pairs = list(apply_gates(drafts, settings=QuestionSettings(), rank_of=None, ask_judge=judge.ask))
    assert len(judge.asked) == 1
    assert [pair.judge_call for pair in pairs if pair.reason] == ["", ""]
    assert all("judge" not in pair.gates for pair in pairs if pair.reason)


def test_without_a_judge_that_gate_does_not_run() -> None:
    pair = verdict(SOUND)
    assert "judge" not in pair.gates
    assert (pair.judge_call, pair.judge_remark) == ("", "")

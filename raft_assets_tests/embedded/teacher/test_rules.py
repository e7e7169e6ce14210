"""What each rule of the embedded teacher asks, and what it refuses to ask."""

import pytest

from raft_assets.embedded.teacher.ask import GeneratedQuestion, generate_questions

# rule, sentence, question, answer
ASKED = [
    (
        "time_in_lead",
        "In 1793, Spallanzani noticed a strange owl.",
        "In what year did Spallanzani notice a strange owl?",
        "1793",
    ),
    (
        "time_behind_verb",
        "The Moss Bridge was opened on 17 November 1978.",
        "When was the Moss Bridge opened?",
        "17 November 1978",
    ),
    (
        "time_behind_verb",
        "Fishing in Marrow Bay was closed for fourteen months.",
        "For how long was fishing in Marrow Bay closed?",
        "fourteen months",
    ),
    (
        "time_behind_verb",
        "Bait boxes along the quays are checked every ten days by Wendell Hobbs.",
        "How often are bait boxes along the quays checked by Wendell Hobbs?",
        "every ten days",
    ),
    (
        "time_behind_verb",
        "Boats must leave Gannet Head alone between 1 March and 15 August.",
        "When must boats leave Gannet Head alone?",
        "between 1 March and 15 August",
    ),
    ("duration", "The probation period lasts six months.", "How long does the probation period last?", "six months"),
    (
        "count_of_existence",
        "There are more than thirty companies in the kite trade.",
        "How many companies are there in the kite trade?",
        "more than thirty",
    ),
    (
        "count_of_subject",
        "Thirty-eight pairs raised chicks on Gravel Island.",
        "How many pairs raised chicks on Gravel Island?",
        "Thirty-eight",
    ),
    (
        "count_of_object",
        "The dredger Patient Mole removes about 95,000 tonnes of silt each year.",
        "How many tonnes of silt does the dredger Patient Mole remove each year?",
        "about 95,000",
    ),
    (
        "count_of_object",
        "Water samples are taken at twelve points.",
        "At how many points are water samples taken?",
        "twelve",
    ),
    ("amount_of_money", "A night at a mooring costs 15 euros.", "How much does a night at a mooring cost?", "15 euros"),
    (
        "measure",
        "A common vampire bat weighs between 25 and 40 grams.",
        "How much does a common vampire bat weigh?",
        "between 25 and 40 grams",
    ),
    ("measure", "The Teal Sands raft is 12 metres long.", "How long is the Teal Sands raft?", "12 metres"),
    (
        "reason",
        "Helmets must be exchanged every four years, because sunlight makes the shell brittle.",
        "Why must helmets be exchanged every four years?",
        "sunlight makes the shell brittle",
    ),
    (
        "reason",
        "Pilots and tugs switch to channel 8 for manoeuvres so that the main channel stays free.",
        "Why do pilots and tugs switch to channel 8 for manoeuvres?",
        "so that the main channel stays free",
    ),
    (
        "means",
        "Hungry bats find moths at night by listening to echoes.",
        "How do hungry bats find moths at night?",
        "by listening to echoes",
    ),
    (
        "used_for",
        "Dry suits are used to kitesurf in cold conditions.",
        "For what purpose are dry suits used?",
        "to kitesurf in cold conditions",
    ),
    (
        "place",
        "A tide gauge stands in a well beneath the Pilot Steps.",
        "Where does a tide gauge stand?",
        "in a well beneath the Pilot Steps",
    ),
    ("called", "A winter roost is called a hibernaculum.", "What is a winter roost called?", "a hibernaculum"),
    (
        "definition",
        "Hibernation is a long sleep that saves energy in winter.",
        "What is hibernation?",
        "a long sleep that saves energy in winter",
    ),
    (
        "definition",
        "Polar bears are the largest mammals of the far north.",
        "What are the largest mammals of the far north?",
        "Polar bears",
    ),
    (
        "apposition",
        "Louis Jurine, a Swiss surgeon, blocked the ears of bats with wax.",
        "Who was Louis Jurine?",
        "a Swiss surgeon",
    ),
    (
        "alias",
        "The harbour seal, also known as the common seal, eats fish.",
        "By what other name is the harbour seal known?",
        "common seal",
    ),
    (
        "agent",
        "The film Echo was directed by Anna Pearson in Geneva.",
        "By whom was the film Echo directed in Geneva?",
        "Anna Pearson",
    ),
    (
        "agent",
        "The size of a swell is determined by the strength of the wind, and the length of its fetch.",
        "What is the size of a swell determined by?",
        "the strength of the wind, and the length of its fetch",
    ),
    (
        "object",
        "Honduran white bats build tents from the leaves of Heliconia plants.",
        "What do Honduran white bats build from the leaves of Heliconia plants?",
        "tents",
    ),
    (
        "subject",
        "Donald Griffin carried a cage of bats to the laboratory of George Pierce.",
        "Who carried a cage of bats to the laboratory of George Pierce?",
        "Donald Griffin",
    ),
    (
        "subject",
        "The pallid bat hunts on the ground in the deserts of Nevada.",
        "Which bat hunts on the ground in the deserts of Nevada?",
        "The pallid bat",
    ),
    (
        "subject",
        "Ultraviolet light makes infected spots on a bat wing glow.",
        "What makes infected spots on a bat wing glow?",
        "Ultraviolet light",
    ),
]


@pytest.mark.parametrize(("rule", "sentence", "question", "answer"), ASKED, ids=[f"{c[0]}: {c[2]}" for c in ASKED])
def test_a_rule_asks_its_question(rule: str, sentence: str, question: str, answer: str) -> None:
    found = {(asked.rule, asked.question): asked for asked in generate_questions(sentence, count=20)}
    assert (rule, question) in found
    assert found[rule, question].answer == answer
    assert found[rule, question].sentence == sentence


# why it must not be asked, and the sentence
REFUSED = {
    "a pronoun as subject": "It was opened in 1978 by the mayor of Oxley.",
    "a subject spoken of before": "The film was released in 1984 by the studio.",
    "a demonstrative": "This method was invented in 1912 in Geneva.",
    "an event that only its neighbours explain": "A huge jump followed in March 2016.",
    "a heading": "## The bridge was opened in 1978",
    "a caption that ran into a sentence": "A bat in flight The cave was closed in 1978 by rangers.",
    "a fragment": "World champion in 1978 and 1979 in Sydney.",
    "an unbalanced parenthesis": "The bridge at Oxley was opened (in 1978.",
    "a unit that looks like a verb": "First man over 50 knots in official timing over 500 metres in Walvis Bay.",
    "a label that ran into its sentence": "Open cell Open cell foils rely on a constant airflow against the valves.",
    "an adverb that looks like its subject": "Traditionally board lengths are sized by the height of Lowe.",
    "a participle that looks like a verb": "Ear plugs designed for surfers, swimmers and divers by Anna Lowe.",
    "a lead that points back": "From that point on, surfing became an integral part of the California lifestyle.",
    "a number torn from its noun by a date": "In November 2014, 20 athletes attended the final in Abu Dhabi.",
    "a web address": "The bridge at Oxley was opened in 1978 (https://example.org).",
}


def wh(chunk: str) -> list[GeneratedQuestion]:
    return [asked for asked in generate_questions(chunk, count=20) if asked.kind != "cloze"]


@pytest.mark.parametrize("sentence", REFUSED.values(), ids=REFUSED.keys())
def test_no_question_comes_of_a_sentence_that_does_not_stand_alone(sentence: str) -> None:
    assert wh(sentence) == []


def test_a_noun_that_an_earlier_sentence_introduced_is_not_asked_about_alone() -> None:
    story = "Pierce built a receiver for ultrasound in 1935. The receiver stands in a museum at Harvard University."
    assert all("the receiver" not in asked.question for asked in wh(story))


def test_what_stands_instead_of_something_is_not_said_of_it() -> None:
    asked = wh("Grooming would then distribute protection instead of poison.")
    assert all("instead of poison" in question.question for question in asked if "poison" in question.question)


def test_an_enumeration_is_not_cut_off_before_its_last_member() -> None:
    asked = wh("In 2005, Bow kites were made with features including a wide edge, a shallow arc, and a bridle of Lowe.")
    assert not any(question.question.endswith("a shallow arc?") for question in asked)


def test_who_did_it_is_not_answered_by_a_description_when_the_name_follows() -> None:
    asked = wh("The Starfin was designed in the 1980s by the America's Cup yacht designer, Ben Lexcen, in Sydney.")
    assert all(not question.question.startswith("By whom") for question in asked)


def test_a_question_that_two_sentences_answer_is_not_asked() -> None:
    twice = "Vampire bats share food in winter. Vampire bats share food in winter."
    assert wh(twice) == []


def test_a_phrase_that_leads_the_sentence_leads_the_question() -> None:
    asked = wh("In the surf zone, local winds push shallow water waves to the beach.")
    assert asked
    assert all(question.question.startswith("In the surf zone, ") for question in asked)


def test_the_last_name_of_a_person_is_known_as_a_person_from_the_chunk_itself() -> None:
    chunk = "Donald Griffin studied at Harvard University. Griffin coined the word echolocation in a journal article."
    assert any(question.question.startswith("Who coined") and question.answer == "Griffin" for question in wh(chunk))

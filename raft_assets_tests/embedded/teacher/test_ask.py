"""What holds for all questions of the embedded teacher, whatever the text."""

import subprocess
import sys

from hypothesis import example, given, settings
from hypothesis import strategies as st

from raft_assets.embedded.teacher.ask import generate_questions

KINDS = {"what", "who", "when", "where", "why", "how", "which", "cloze", "api", "other"}
PROSE = """# Bats of Marrow Bay

The pallid bat hunts on the ground in the
deserts of Nevada. **Donald Griffin** coined the word echolocation in 1944.[3]

- Thirty-eight pairs raised chicks on Gravel Island.
- A winter roost is called a hibernaculum.
"""
TEXT = (
    "The a bat bats of in 1998 is are was were hunts hunted by Donald Griffin because there , . ; : ( ) \" “ ” 's and"
    " that which called used to for three metres long \n\n - # [3] *x* api_call: functionality: never it not —"
)


@given(
    st.text(max_size=300) | st.lists(st.sampled_from(TEXT.split(" ")), max_size=60).map(" ".join), st.integers(-1, 5)
)
@example(PROSE, 5)
@example("api_call: f(\nfunctionality: Runs a thing.\napi_arguments.: x", 5)
@settings(deadline=None, max_examples=300)
def test_any_text_gives_questions_with_exact_quotes_or_none(chunk: str, count: int) -> None:
    questions = generate_questions(chunk, count=count)
    assert len(questions) <= max(count, 0)
    assert len({asked.question for asked in questions}) == len(questions)
    for asked in questions:
        assert asked.question.endswith("?")
        assert "\n" not in asked.question
        assert asked.sentence in chunk
        assert asked.answer in asked.sentence
        assert asked.answer.strip()
        assert asked.kind in KINDS


def test_lists_line_breaks_emphasis_and_reference_marks_do_not_reach_the_questions() -> None:
    asked = {question.question: question for question in generate_questions(PROSE, count=10)}
    assert asked["Which bat hunts on the ground in the deserts of Nevada?"].sentence.count("\n") == 1
    assert asked["In what year did Donald Griffin coin the word echolocation?"].answer == "1944"
    assert asked["How many pairs raised chicks on Gravel Island?"].answer == "Thirty-eight"
    assert not any(mark in question for question in asked for mark in "*[#")


def test_different_sentences_come_before_second_questions_of_one() -> None:
    questions = generate_questions(PROSE, count=4)
    assert len({asked.sentence for asked in questions}) == 4


def test_fewer_questions_are_the_best_of_more() -> None:
    assert generate_questions(PROSE, count=2) == generate_questions(PROSE, count=5)[:2]


def test_cloze_questions_come_last_of_other_sentences_and_only_until_there_are_two_questions() -> None:
    plain = "They gave the museum at Oxley some coal in winter. Perhaps Oxley never minded the smell of smoke."
    questions = generate_questions(plain, count=5)
    assert [asked.kind for asked in questions] == ["cloze"]
    assert questions[0].answer not in questions[0].question
    one_found = generate_questions(f"The first steam crane has four wheels. {plain}", count=5)
    assert [asked.kind for asked in one_found] == ["how", "cloze"]
    assert one_found[0].sentence != one_found[1].sentence
    assert all(asked.kind != "cloze" for asked in generate_questions(PROSE + plain, count=10))


def test_nothing_is_asked_of_nothing() -> None:
    assert generate_questions("", count=3) == []
    assert generate_questions("1 2 3\n\n--- ???", count=3) == []
    assert generate_questions("Les chauves-souris dorment.", count=3) == []


def test_the_same_text_gives_the_same_questions_in_another_process() -> None:
    program = f"from raft_assets.embedded.teacher.ask import generate_questions as g; print(g({PROSE!r}, count=9))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(generate_questions(PROSE, count=9))


def test_importing_the_teacher_loads_neither_its_lexicon_nor_nltk() -> None:
    program = (
        "import sys, raft_assets.embedded.teacher.ask as a;"
        "print(sorted({'nltk', 'textblob', 'lemminflect', 'numpy'} & set(sys.modules)));"
        "a.generate_questions('The bat Rex weighs 2 grams.', count=1);"
        "print(sorted({'nltk', 'textblob'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["[]", "[]"]

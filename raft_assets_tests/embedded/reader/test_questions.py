"""What a question asks for is read from its words."""

import pytest

from raft_assets.embedded.encoder import Encoder
from raft_assets.embedded.reader.passages import Analyst
from raft_assets.embedded.reader.questions import KINDS

CASES = (
    ("When was the lighthouse built?", "when", set()),
    ("In which year was it built?", "when", {"year"}),
    ("What caught the surfer when he fell?", "what_acts", set()),  # the first question word counts
    ("How many unused holiday days are left?", "how_many", {"unused", "holiday", "day"}),
    ("How long is a longboard?", "measure", set()),
    ("What does a boat owner pay for a mooring?", "measure", set()),
    ("Where does the mud end up?", "where", set()),
    ("Why is ice made at night?", "why", set()),
    ("Whom did the crew elect?", "who", set()),
    ("By whom was the crew elected?", "by_whom", set()),
    ("What causes surfer's ear?", "what_acts", set()),
    ("How is butter made?", "how", set()),
    ("How do I copy a folder?", "how_to", set()),
    ("Which call copies a folder?", "call", {"call"}),
    ("What kind of vessel drags the buoys?", "which", {"vessel"}),
    ("What eats moths?", "what_acts", set()),
    ("What do bats eat?", "what_object", set()),
    ("What is the longest time that a ship may stay?", "what", {"long", "time"}),
    ("The bat is a ____.", "cloze", set()),
    ("Is a bat a bird?", "yes_no", set()),
    ("Tell me about bats.", "other", set()),
)


@pytest.mark.parametrize(("text", "kind", "wanted"), CASES)
def test_kind_and_wanted_noun_are_read(encoder: Encoder, text: str, kind: str, wanted: set[str]) -> None:
    question = Analyst(encoder).question(text)
    assert (KINDS[question.kind], set(question.wanted)) == (kind, wanted)


def test_a_gap_says_what_is_asked_for_whatever_question_word_stands_before_it(encoder: Encoder) -> None:
    question = Analyst(encoder).question("Which words complete this statement: “Boards with ____ are used”?")
    gap = question.with_gap_first
    assert (KINDS[question.kind], KINDS[gap.kind], set(gap.wanted)) == ("which", "cloze", set())
    plain = Analyst(encoder).question("Which boards are used?")
    assert plain.with_gap_first is plain


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("What do kites develop in low winds?", "kite develop in low wind"),
        ("In 2016, what was added by the committee?", "be add by the committee in 2016"),
        ("By whom are smaller kites used?", "be small kite use by"),
        ("Which words complete this statement: “Boards with ____ are used”?", "board with be use"),
        ("Tell me about bats.", "tell me about bat"),
    ],
)
def test_the_frame_is_what_stands_around_the_answer(encoder: Encoder, text: str, frame: str) -> None:
    assert " ".join(Analyst(encoder).question(text).frame) == frame

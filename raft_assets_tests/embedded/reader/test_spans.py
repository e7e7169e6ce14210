"""Every plausible answer is a candidate span."""

import numpy as np
import pytest

from raft_assets.embedded.encoder import DIMENSIONS, Encoder
from raft_assets.embedded.reader import span_features
from raft_assets.embedded.reader.passages import Analyst
from raft_assets.embedded.reader.spans import CATEGORIES

CASES = (
    ("The port bought it in 1926 for 14,500 crowns.", ["The port", "1926", "14,500 crowns", "in 1926"]),
    ("The tower is made of grey\ngranite from Corran.", ["grey\ngranite", "grey\ngranite from Corran"]),
    ("It costs $3.5 million (or 40% more).", ["$3.5 million", "40%"]),
    ("api_call: json.dumps(obj, indent=2)", ["json.dumps(obj, indent=2)", "json.dumps"]),
    # a value that no rule would end where it ends
    ("api_call: service.users().get(userId='me').execute();", ["service.users().get(userId='me').execute();"]),
)


@pytest.mark.parametrize(("text", "answers"), CASES)
def test_answers_are_candidates(encoder: Encoder, text: str, answers: list[str]) -> None:
    ((sentence,),) = Analyst(encoder).documents([text])
    assert set(answers) <= {sentence.span_text(number) for number in range(len(sentence.spans))}


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("They crown the champions each year.[69]", ["69", "each year.[69", "[69]"]),
        ("He received the first patent[3] for kites.", ["the first patent[3"]),
        ("It breaks because the reef is shallow.", ["because the reef is shallow"]),
    ],
)
def test_numbers_of_notes_and_halves_of_brackets_are_no_answers(
    encoder: Encoder, text: str, refused: list[str]
) -> None:
    ((sentence,),) = Analyst(encoder).documents([text])
    assert not set(refused) & {sentence.span_text(number) for number in range(len(sentence.spans))}


@pytest.mark.parametrize(
    ("text", "span", "cut"),
    [
        ("It began on May 21, 1967, at sea.", "May 21, 1967", "no"),
        ("It began on May 21, 1967, at sea.", "May 21", "right"),
        ("It began on May 21, 1967, at sea.", "May", "right"),
        ("It lasted over ten years.", "ten years", "left"),
        ("It lasted over ten years.", "over ten years", "no"),
        ("A red kite boat sank.", "kite", "both"),
    ],
)
def test_what_cuts_a_phrase_is_told(encoder: Encoder, text: str, span: str, cut: str) -> None:
    ((sentence,),) = Analyst(encoder).documents([text])
    [number] = [number for number in range(len(sentence.spans)) if sentence.span_text(number) == span]
    column = [category.name for category in CATEGORIES].index("extensible")
    assert CATEGORIES[column].values[sentence.spans.codes[number, column]] == cut


@pytest.mark.parametrize(
    ("question", "text", "span", "joint"),
    [
        # develop | more power | in
        ("What do kites develop in a storm?", "Kites develop more power in a storm.", "more power", "asked|next asked"),
        ("What runs along the line?", "However, the board runs along the line.", "the board", "edge|first asked"),
        ("By whom are kites used?", "Kites are used by light riders, or in storms.", "light riders", "last asked|edge"),
        ("What is a kite?", "Most kites are toys of old.", "toys", "asked|other"),
    ],
)  # fmt: skip
def test_how_neighbours_of_a_span_stand_in_the_question_is_told(
    encoder: Encoder, question: str, text: str, span: str, joint: str
) -> None:
    analyst = Analyst(encoder)
    ((sentence,),) = analyst.documents([text])
    axes = np.zeros((DIMENSIONS, span_features.MEANING_DIMENSIONS), np.float32)
    described = span_features.describe(analyst.question(question), sentence, score=0.0, rank=0, axes=axes)
    [number] = [number for number in range(len(sentence.spans)) if sentence.span_text(number) == span]
    column = [category.name for category in span_features.TABLE.categories].index("joint")
    assert span_features.TABLE.categories[column].values[described.codes[number, column]] == joint


@pytest.mark.parametrize("text", ["…", "\u200b", "[1]", "~~~"])
@pytest.mark.parametrize("question", ["What is it?", "?", "What", "____"])
def test_a_sentence_or_a_question_without_words_is_described(encoder: Encoder, text: str, question: str) -> None:
    analyst = Analyst(encoder)
    ((sentence,),) = analyst.documents([text])
    axes = np.zeros((DIMENSIONS, span_features.MEANING_DIMENSIONS), np.float32)
    described = span_features.describe(analyst.question(question), sentence, score=0.0, rank=0, axes=axes)
    assert len(described) == len(sentence.spans)


@pytest.mark.parametrize(("text", "answers"), CASES)
def test_every_value_of_a_category_is_one_of_its_values(encoder: Encoder, text: str, answers: list[str]) -> None:
    ((sentence,),) = Analyst(encoder).documents([text])
    assert (sentence.spans.codes >= 0).all()
    assert (sentence.spans.codes < [len(category.values) for category in CATEGORIES]).all()

"""Every plausible answer is a candidate span."""

import pytest

from raft_assets.embedded.encoder import Encoder
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


@pytest.mark.parametrize(("text", "answers"), CASES)
def test_every_value_of_a_category_is_one_of_its_values(encoder: Encoder, text: str, answers: list[str]) -> None:
    ((sentence,),) = Analyst(encoder).documents([text])
    assert (sentence.spans.codes >= 0).all()
    assert (sentence.spans.codes < [len(category.values) for category in CATEGORIES]).all()

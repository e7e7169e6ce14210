"""Answers that run in a circle, as small models wrote them, and cut-off answers that don't."""

import pytest

from raft_assets.llm.loops import is_looping
from raft_assets_tests.llm.conftest import MakeCaller, ask_about
from raft_assets_tests.llm.service import Service, chat

# of SmolLM2 135M Instruct and of Gemma 3 270M (a base model), served by llama.cpp; each was cut off at its maximum
CIRCLES = {
    "a sentence": "The bat's tongue is used to eat the blood of its prey, which is a very important part of its diet. "
    "It is also used to eat the blood of other animals, which is a very important part of its diet. "
    + "The bat uses its tongue to eat the blood of its prey, which is a very important part of its diet. "
    * 4,
    "a numbered list of one item": "\n".join(f"{n}. What is the mating season?" for n in range(1, 14)),
    "a list in JSON": '{\n  "questions": [\n    "What is the larynx used for?",\n'
    + '    "What is the tongue used for?",\n' * 9,
    "a paragraph": (
        "The origin of the term is attributed to the English sailor Hiram Maxim, who was describing a bat that he "
        "encountered while sailing the Mediterranean. The term is a reference to the bat that Maxim used to detect the "
        "presence of icebergs in the ocean.\n\n"
    )
    * 3,
    "the marks of another model's template": "<|im_start|>user\n" * 25,
    "a phrase": "The answer is: " * 40,
    "digits": '"reasoning": "2017-01-11 14:52:52.115' + "8" * 300,
    "a clock": '"reasoning": "2016-01-01T00:00:00.000000' + "-00:00:00" * 40,
    "white space": '{"reasoning": "Bats gather.", "quotes": [' + "\n   \t" * 80,
    "a version number": '"2.1.2.2' + ".1" * 150,
    "a sentence in Chinese": "蝙蝠在夜间飞行，用回声寻找昆虫。" * 12,
}
CUT_OFF = {
    "prose": "The mating season of many hibernating bats falls in autumn. Bats gather at cave entrances on late summer "
    "nights, and this gathering is called swarming. Animals from many summer colonies meet there and exchange genes. "
    "Young bats probably learn the location of winter roosts during these visits. Females store the sperm through the",
    "questions that begin alike": "What do vampire bats eat?\nWhat do fruit bats eat?\nWhere do vampire bats sleep?\n"
    "Who discovered the noctule?\nWhy do bats swarm in autumn?\nWhen does fertilisation follow?\nHow long does the",
    "quotations and reasoning about them": "##begin_quote##The crane lifts 42 tonnes.##end_quote## So the crane lifts "
    "42 tonnes. The question asks how much the crane on quay 2 lifts, and the crane that the sentence names is the one "
    "on quay 2, as the heading shows. The maximum of the other crane is not asked for. So the answer would be that",
    "a table": "| port | depth |\n|---|---|\n| Halden | 12 m |\n| Moss | 9 m |\n| Larne | 14 m |\n| Kelso | 7 m |",
    "a short one": "So the",
    "nothing": "",
}


@pytest.mark.parametrize("text", CIRCLES.values(), ids=CIRCLES.keys())
def test_a_circle_is_noticed(text: str) -> None:
    assert is_looping(text)


@pytest.mark.parametrize("text", CUT_OFF.values(), ids=CUT_OFF.keys())
def test_an_answer_that_needs_more_tokens_is_no_circle(text: str) -> None:
    assert not is_looping(text)


def test_an_answer_that_runs_in_a_circle_is_not_asked_for_again_with_more_tokens(
    service: Service, caller: MakeCaller
) -> None:
    service.replies = [chat(CIRCLES["a sentence"], finish="length")]
    (answer,) = caller().ask([ask_about(1)])
    assert (answer.status, len(service.seen)) == ("looping", 1)
    assert answer.text == CIRCLES["a sentence"]
    assert "repeated itself" in answer.detail

    (again,) = caller().ask([ask_about(1)])
    assert (again.status, again.from_store, len(service.seen)) == ("looping", True, 1)

"""What of a model's text is its answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.core.prompt_contract import parse_answer
from raft_assets.llm.thoughts import strip_stop_tokens, strip_thoughts

ANSWER = "The chart says ##begin_quote##The pier has 14 piles.##end_quote##.\n<ANSWER>: 14"

THINKING = {
    "a block": f"<think>\nIs it 12? <ANSWER>: 12. No, 14.\n</think>\n\n{ANSWER}",
    "no white space around it": f"<think>It is 14.</think>{ANSWER}",
    "an empty block": f"<think>\n\n</think>\n\n{ANSWER}",
    "white space before it": f"\n <think>It is 14.</think>\n{ANSWER}",
    "a closing tag alone, as where the prompt opens the block": f"I look for the number.\n</think>\n\n{ANSWER}",
    "a closing tag alone in a line": f"I copy it between ##begin_quote## and ##end_quote##. </think> {ANSWER}",
    "thoughts that open a quotation": f"First ##begin_quote##, then the words.</think>\n{ANSWER}",
    "a block in a block": f"<think>One <think>two</think> three</think>\n{ANSWER}",
    "two blocks": f"<think>One.</think>\n<think>Two.</think>\n{ANSWER}",
    "another spelling": f"<thinking>It is 14.</thinking>\n{ANSWER}",
    "thought": f"<thought>It is 14.</thought>\n{ANSWER}",
    "in capitals": f"<THINK>It is 14.</THINK>\n{ANSWER}",
    "with an attribute": f'<think time="3">It is 14.</think>\n{ANSWER}',
    "Magistral": f"[THINK]It is 14.[/THINK]{ANSWER}",
    "Kimi": f"◁think▷It is 14.◁/think▷{ANSWER}",
    "Command A": f"<|START_THINKING|>It is 14.<|END_THINKING|>{ANSWER}",
    "Seed": f"<seed:think>It is 14.</seed:think>{ANSWER}",
    "channels": (
        "<|channel|>analysis<|message|>It is 14. <ANSWER>: 14<|end|><|start|>assistant<|channel|>final<|message|>"
        f"{ANSWER}"
    ),
    "channels of which the tokens are not printed": f"analysisWe look for the piles.assistantfinal{ANSWER}",
}


@pytest.mark.parametrize("text", THINKING.values(), ids=THINKING)
def test_thoughts_are_no_part_of_the_answer(text: str) -> None:
    assert strip_thoughts(text) == ANSWER
    parsed = parse_answer(strip_thoughts(text))
    assert (parsed.well_formed, parsed.final_answer) == (True, "14")


def test_thoughts_in_the_middle_leave_what_is_around_them() -> None:
    assert strip_thoughts(f"Well.\n<think>Hm, 12?</think>\n{ANSWER}") == f"Well.\n{ANSWER}"
    assert strip_thoughts(f"{ANSWER}\n<think>\nWas that right? I") == ANSWER


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nThe user asks for the number of piles, so I",
        "<|channel|>analysis<|message|>The user asks",
        "I look for it.\n</think>",
    ],
)
def test_a_model_that_only_thought_has_answered_nothing(text: str) -> None:
    assert strip_thoughts(text) == ""


ORDINARY = [
    ANSWER,
    f" {ANSWER}\n",
    "The page says ##begin_quote##The tag <think> opens a block.##end_quote##\n<ANSWER>: <think>",
    "The page says ##begin_quote##A block ends with </think> and nothing else.##end_quote##\n<ANSWER>: with a tag",
    "It ends with `</think>`.\n<ANSWER>: a tag",
    "I think so.\n<ANSWER>: thought",
    "analysis of the final\n<ANSWER>: assistant",
    "",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_an_answer_that_speaks_of_tags_stays_as_it_is(text: str) -> None:
    assert strip_stop_tokens(strip_thoughts(text)) == text


@given(st.text(alphabet="ab \n.<>/|think:`#", max_size=60))
def test_any_text_has_an_answer_that_is_part_of_it(text: str) -> None:
    assert len(strip_stop_tokens(strip_thoughts(text))) <= len(text)


@pytest.mark.parametrize(
    "token",
    [
        "<|im_end|>",
        "<|eot_id|>",
        "</s>",
        " </s>",
        "<end_of_turn>\n",
        "<eos>",
        "<|endoftext|>",
        "<|return|>",
        "<｜end▁of▁sentence｜>",
        "\n<|im_end|>\n<|endoftext|>",
        "<|im_end|>\n<|im_start|>user\nHow many piers?<|im_end|>",
        "<end_of_turn>\n<start_of_turn>user\nHow many piers?",
    ],
)
def test_stop_tokens_at_the_end_are_no_part_of_the_answer(token: str) -> None:
    assert strip_stop_tokens(ANSWER + token) == ANSWER


@pytest.mark.parametrize("text", ["<ANSWER>: </s>", "It begins with <|im_start|> and a role.\n<ANSWER>: a role", "a\n"])
def test_a_token_that_is_the_answer_stays(text: str) -> None:
    assert strip_stop_tokens(text) == text


def test_nothing_but_a_stop_token_is_no_answer() -> None:
    assert strip_stop_tokens("<|im_end|>") == ""

"""How many texts, and how long ones, a service embeds, as its refusals say it."""

import pytest

from raft_assets.llm.input_limits import is_about_inputs, is_too_long, read_texts_limit, read_tokens_limit
from raft_assets.llm.service_errors import ContentFiltered, FailCall, Retry, StopEndpoint, UnsupportedParameter

COUNTS = {
    "<400> InternalError.Algo.InvalidParameter: batch size is invalid, it should not be larger than 25.: input": 25,
    "batch size 64 > maximum allowed batch size 32": 32,
    "invalid request: total number of texts must be at most 60 - received 64": 60,
    "Too many inputs. The max number of inputs is 16.": 16,
    "array too long. Expected an array with maximum length 20, but got an array with length 64 instead.": 20,
    "BatchEmbedContentsRequest.requests: at most 50 requests can be in one batch": 50,
    "input数组最大不得超过10条": 10,
    "Too many inputs in request, split into more batches.": None,
    "input[17] is too long": None,
    "Range of input length should be [1, 48]": None,
    "The model needs version 2": None,
}


@pytest.mark.parametrize(("said", "texts"), COUNTS.items())
def test_the_number_of_texts_is_read_where_a_service_tells_it(said: str, texts: int | None) -> None:
    assert read_texts_limit(said, sent=64) == texts


def test_a_number_above_those_sent_is_about_something_else() -> None:
    assert read_texts_limit("`inputs` must have less than 512 tokens. Given: 530", sent=64) is None


LENGTHS = {
    "Input validation error: `inputs` must have less than 512 tokens. Given: 703": 512,
    "This model's maximum context length is 8192 tokens, however you requested 9000 tokens (9000 in your prompt)": 8192,
    "This model's maximum context length is 8,192 tokens.": 8192,
    "input (1200 tokens) is too large to process. increase the physical batch size (current batch size: 256)": 256,
    "<400> InternalError: Range of input length should be [1, 2048]": 2048,
    "the input length exceeds the context length": None,
}


@pytest.mark.parametrize(("said", "tokens"), LENGTHS.items())
def test_the_length_of_a_text_is_read_where_a_service_tells_it(said: str, tokens: int | None) -> None:
    assert is_too_long(400, said)
    assert read_tokens_limit(said) == tokens


def test_other_words_are_about_no_length() -> None:
    assert not is_too_long(400, "no such model, code 512")
    assert read_tokens_limit("no such model, code 512") is None
    assert is_too_long(413, "")


@pytest.mark.parametrize(
    ("status", "said", "meaning", "about"),
    [
        (400, "", StopEndpoint("no"), True),
        (413, "", FailCall("too long"), True),
        (200, "", FailCall("too long"), True),
        (400, "", ContentFiltered("no"), True),
        (500, "input is too large: 512 tokens at most", Retry("busy"), True),
        (500, "busy", Retry("busy"), False),
        (404, "", StopEndpoint("no model"), False),
        (401, "", StopEndpoint("no key"), False),
        (400, "", UnsupportedParameter("encoding_format", "no"), False),
    ],
)
def test_fewer_texts_are_tried_where_they_may_pass(status: int, said: str, meaning: object, about: bool) -> None:
    assert is_about_inputs(status, said, meaning) is about  # type: ignore[arg-type]

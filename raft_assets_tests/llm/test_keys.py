"""A call's key changes if, and only if, something changes that determines the answer."""

import random
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from raft_assets.llm.keys import call_key, canonical, embedding_key
from raft_assets.llm.requests import Request
from raft_assets.settings.endpoints import Endpoint, Role

ENDPOINT = Endpoint(Role.TEACHER, "openai", "gpt", "http://service/v1", SecretStr("sk-1"), "2026-01-01")
BODY = {"messages": [{"role": "user", "content": "why?"}], "max_completion_tokens": 50, "temperature": 0.5}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(st.text(), json_values, max_size=4)


def key(
    endpoint: Endpoint = ENDPOINT,
    *,
    kind: Any = "chat",
    body: Any = None,
    sample: int = 0,
    model: str = "gpt",
    model_version: str = "v1",
) -> str:
    return call_key(
        endpoint, Request(kind, BODY if body is None else body, sample), model=model, model_version=model_version
    )


def shuffled(value: Any, draw: random.Random) -> Any:
    if isinstance(value, dict):
        names = list(value)
        draw.shuffle(names)
        return MappingProxyType({name: shuffled(value[name], draw) for name in names})
    return tuple(shuffled(inner, draw) for inner in value) if isinstance(value, list) else value


def test_everything_that_determines_the_answer_is_in_the_key() -> None:
    keys = [
        key(),
        key(replace(ENDPOINT, base_url="http://elsewhere/v1")),
        key(replace(ENDPOINT, provider="azure")),
        key(model="gpt-mini"),
        key(model_version="v2"),
        key(kind="completion"),
        key(sample=1),
        key(body=BODY | {"temperature": 0.6}),
        key(body=BODY | {"max_completion_tokens": 51}),
        key(body={name: value for name, value in BODY.items() if name != "temperature"}),
        key(body=BODY | {"messages": [{"role": "user", "content": "why? "}]}),
        key(body=BODY | {"messages": [{"role": "system", "content": "why?"}]}),
        embedding_key(ENDPOINT, "why?", model="gpt", model_version="v1"),
        embedding_key(ENDPOINT, "why", model="gpt", model_version="v1"),
        embedding_key(ENDPOINT, "why?", model="gpt", model_version="v2"),
    ]
    assert len(set(keys)) == len(keys)


def test_nothing_else_is_in_the_key() -> None:
    others = [
        replace(ENDPOINT, role=Role.JUDGE),
        replace(ENDPOINT, api_key=SecretStr("sk-2")),
        replace(ENDPOINT, api_key=None),
        replace(ENDPOINT, api_version="2026-02-02"),
        replace(ENDPOINT, base_url="http://service/v1/"),
        replace(ENDPOINT, model="an alias; the model is resolved"),
    ]
    assert {key(other) for other in others} == {key()}


def test_keys_of_this_format_never_change() -> None:
    """If this fails, every paid call is paid again: then raise KEY_FORMAT, and mean it."""
    assert key() == "530effce5e74f6f921658d4ca2c63763976ba2d3c8a58e20e8a0e4928d795183"
    assert (
        embedding_key(ENDPOINT, "why?", model="gpt", model_version="v1")
        == "6084137e1ba8e6301a613116f08589ed3acada7f6863ef9ae09850a48584b5aa"
    )


@given(body=bodies, seed=st.integers())
def test_the_order_of_names_and_the_kinds_of_containers_do_not_matter(body: dict[str, Any], seed: int) -> None:
    assert key(body=shuffled(body, random.Random(seed))) == key(body=body)


@given(one=bodies, other=bodies)
def test_two_bodies_have_one_key_only_if_they_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (key(body=one) == key(body=other)) == (canonical(one) == canonical(other))


@given(one=json_values, other=json_values)
def test_canonical_json_tells_different_values_apart(one: Any, other: Any) -> None:
    def typed(value: Any) -> Any:  # True == 1 in Python, not in JSON
        if isinstance(value, dict):
            return {name: typed(inner) for name, inner in value.items()}
        return [typed(inner) for inner in value] if isinstance(value, list) else (isinstance(value, bool), value)

    assert (canonical(one) == canonical(other)) == (typed(one) == typed(other))


def test_a_whole_number_is_one_number_however_it_is_spelt() -> None:
    assert key(body=BODY | {"temperature": 0}) == key(body=BODY | {"temperature": 0.0})

"""Tokens are those of bpe-openai's public class, at a third of its memory."""

import subprocess
import sys

import bpe_openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.core.vocabularies import encode, token_bytes

VOCABULARIES = ("o200k_base", "cl100k_base")


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@given(text=st.text(st.characters(), max_size=200))  # halves of characters included
def test_a_text_has_the_tokens_that_the_public_class_gives(vocabulary: str, text: str) -> None:
    assert encode(text, vocabulary) == bpe_openai.get_encoding(vocabulary).encode_ordinary(text)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_the_bytes_of_every_token_are_those_of_the_public_class(vocabulary: str) -> None:
    ordinary = token_bytes(vocabulary)
    values = bpe_openai.get_encoding(vocabulary).token_byte_values()
    assert ordinary.tolist() == [len(value) for value in values[: len(ordinary)]]
    assert not any(b"<|" not in value for value in values[len(ordinary) :] if value), "what is left is special"


def test_the_package_that_unpacks_every_vocabulary_is_not_imported() -> None:
    asked = (
        "import sys; from raft_assets.core.vocabularies import encode, token_bytes; encode('a', 'o200k_base');"
        "token_bytes('o200k_base'); print('bpe_openai' in sys.modules); import bpe_openai;"
        "print(bpe_openai.get_encoding('o200k_base').encode_ordinary('a') == encode('a', 'o200k_base'))"
    )
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "True"]

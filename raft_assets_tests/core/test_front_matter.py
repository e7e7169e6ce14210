"""The head of a card is YAML that can't be left, with names in the Hub's form."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.front_matter import front_matter, hub_id, is_own_card, main_languages, without_front_matter

HEAD = front_matter({"pretty_name": "a\n---\nb: |", "license": "", "tags": ["raft-assets"], "language": []})


def test_a_head_is_read_back_as_it_was_given_without_what_is_empty() -> None:
    assert (HEAD[0], HEAD[-1]) == ("---", "---")
    assert yaml.safe_load("\n".join(HEAD[1:-1])) == {"pretty_name": "a\n---\nb: |", "tags": ["raft-assets"]}


def test_a_card_is_known_again_and_told_from_other_files() -> None:
    card = "\n".join([*HEAD, "", "# Card", "---"])
    assert is_own_card(card)
    assert without_front_matter(card) == "\n# Card\n---"
    assert not is_own_card("# My project\n\n- raft-assets\n")
    assert not is_own_card("---\ntags:\n- mine\n---\n\n- raft-assets\n")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("ft:gpt-4.1-nano:org::abc", "ft-gpt-4.1-nano-org-abc"),
        ("azureml://registries/x/models/gpt-oss-20b", "azureml-registries-x-models-gpt-oss-20b"),
        ("harbor handbook", "harbor-handbook"),
        ("飞机", "unnamed"),
    ],
)
def test_an_id_has_the_form_of_the_hub(name: str, found: str) -> None:
    assert hub_id(name) == found


@settings(deadline=None)  # the first example imports the Hub's library
@given(st.text())
def test_every_id_passes_the_hubs_own_check(name: str) -> None:
    hub = pytest.importorskip("huggingface_hub.utils")
    hub.validate_repo_id(hub_id(name))


def test_a_language_that_hardly_occurs_is_not_one_of_the_card() -> None:
    assert main_languages({"la": 1, "de": 30, "en": 70}) == ["en", "de"]

"""Lexical likeness."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.similarity import (
    connected_components,
    contains_phrase,
    content_words,
    jaccard,
    near_duplicate_pairs,
    shingles,
    words,
)
from raft_assets_tests.builders import prose

TEXTS = st.lists(st.sampled_from(["bat", "moth", "cave", "wave"]), max_size=12).map(" ".join)


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_likeness_is_the_share_of_runs_of_three_words(one: str, other: str) -> None:
    def runs(text: str) -> set[tuple[str, ...]]:
        parts = text.split()
        return {tuple(parts[start : start + 3]) for start in range(max(1, len(parts) - 2))}

    expected = len(runs(one) & runs(other)) / len(runs(one) | runs(other))
    assert jaccard(shingles(one), shingles(other)) == pytest.approx(expected)


def test_case_punctuation_and_white_space_do_not_count() -> None:
    assert jaccard(shingles("The bat — it flies!"), shingles("the BAT it\nflies")) == 1


def test_texts_without_a_word_are_alike_only_if_they_are_equal() -> None:
    assert jaccard(shingles("---"), shingles("***")) == 0
    assert jaccard(shingles("---"), shingles(" --- ")) == 1


def groups(texts: dict[str, str], threshold: float, seed: int) -> list[set[str]]:
    return sorted(connected_components(near_duplicate_pairs(texts, texts.__getitem__, threshold, seed)), key=min)


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 99).map(str), TEXTS, max_size=12), st.sampled_from([0.5, 0.8, 1.0]))
def test_groups_are_those_that_comparing_every_pair_finds(texts: dict[str, str], threshold: float) -> None:
    alike = [
        (one, other)
        for one, other in combinations(texts, 2)
        if jaccard(shingles(texts[one]), shingles(texts[other])) >= threshold
    ]
    assert groups(texts, threshold, 0) == sorted(connected_components(alike), key=min)


def test_near_duplicates_among_many_texts_are_found_whatever_the_seed() -> None:
    texts = {f"t{number:03}": prose(str(number), length=100) for number in range(300)}
    near = {f"copy of {name}": f"{text} and more" for name, text in list(texts.items())[::10]}
    expected = [{name, f"copy of {name}"} for name in list(texts)[::10]]
    for seed in range(3):
        assert groups(texts | near, 0.8, seed) == sorted(expected, key=min)


def test_a_text_that_differs_more_is_no_near_duplicate() -> None:
    text = prose("some", length=100)
    half = " ".join(text.split()[:50]) + " " + prose("other", length=50)
    assert groups({"a": text, "b": half}, 0.8, 0) == []


def test_components_hang_together_over_several_links() -> None:
    links = [("a", "b"), ("c", "d"), ("b", "c"), ("e", "e"), ("f", "g")]
    assert sorted(map(sorted, connected_components(links))) == [["a", "b", "c", "d"], ["e"], ["f", "g"]]


def test_a_phrase_stands_in_a_text_word_for_word() -> None:
    assert contains_phrase("It cost 14,500 crowns (in 1926).", "14,500 Crowns")
    assert not contains_phrase("It cost 14,500 crowns.", "500 crown")
    assert not contains_phrase("No, there is none.", "no")
    assert not contains_phrase("Anything", "")


def test_content_words_are_what_a_text_is_about() -> None:
    assert content_words("Yes, it was in the old Tower.") == ["old", "tower"]


def test_scripts_without_spaces_have_a_word_a_letter_and_vowel_signs_belong_to_theirs() -> None:
    assert words("于1932年，NASA建成") == ["于", "1932", "年", "nasa", "建", "成"]
    assert words("सड़क है") == ["सड़क", "है"]
    assert words("Naïve café – Straße x²") == ["naïve", "café", "strasse", "x²"]


def test_edited_questions_of_a_script_without_spaces_are_near_duplicates() -> None:
    texts = {
        "a": "北码头的灯塔于哪一年首次点亮？",
        "b": "北码头的灯塔在哪一年首次点亮？",
        "c": "东岸船厂的起重机有多高？",
    }
    alike = near_duplicate_pairs(texts, texts.__getitem__, 0.7, 0, length=2)
    assert set(alike) == {("a", "b")}


def test_within_groups_every_near_duplicate_is_found_that_is_in_one_of_them() -> None:
    texts = {f"t{number:03}": prose(str(number // 4), length=60) + f" {number}" for number in range(200)}
    found = set(near_duplicate_pairs(texts, texts.__getitem__, 0.8, 0))
    chunk_of = {name: name[-1] for name in texts}  # of its last digit
    answer_of = {name: name[:2] if name < "t1" else None for name in texts}
    within = set(
        near_duplicate_pairs(texts, texts.__getitem__, 0.8, 0, groupings=(chunk_of.__getitem__, answer_of.__getitem__))
    )

    def shares_group(one: str, other: str) -> bool:
        return chunk_of[one] == chunk_of[other] or answer_of[one] == answer_of[other] is not None

    assert len(found) > 200
    assert {pair for pair in within if shares_group(*pair)} == {pair for pair in found if shares_group(*pair)}

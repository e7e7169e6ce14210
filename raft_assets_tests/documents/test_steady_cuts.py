"""An edit changes the chunks around it and no others."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.tables import Chunk
from raft_assets.documents.chunking import EVEN, ChunkForm, chunk_document, find_even_sections, section_digest
from raft_assets.documents.readers.content import Section, split_sections
from raft_assets.settings.domain import ChunkSettings
from raft_assets_tests.documents.test_chunking import make_document, markdown, texts

NOUNS = [
    "crane",
    "quay",
    "lock",
    "mast",
    "berth",
    "tug",
    "pilot",
    "lamp",
    "chain",
    "winch",
    "basin",
    "ledger",
    "clerk",
    "tide",
    "gauge",
    "rope",
]
VERBS = [
    "lifts",
    "guards",
    "greases",
    "inspects",
    "paints",
    "measures",
    "counts",
    "closes",
    "opens",
    "repairs",
    "rents",
    "weighs",
]


def sentence(number: int) -> str:
    """Return a sentence of its own for every number, of 8 to 16 words."""
    chance = random.Random(number)
    words = [f"the {chance.choice(NOUNS)} of berth {number}", chance.choice(VERBS)]
    words += [f"the {chance.choice(NOUNS)}" for _ in range(chance.randint(1, 5))]
    return " and ".join([" ".join(words[:3]), *words[3:]]).capitalize() + "."


def prose(start: int, paragraphs: int) -> list[str]:
    """Return so many paragraphs of two to six sentences each."""
    chance, found, number = random.Random(start), [], start
    for _ in range(paragraphs):
        count = chance.randint(2, 6)
        found.append(" ".join(sentence(number + step) for step in range(count)))
        number += count
    return found


def one_paragraph(start: int) -> list[str]:
    return [sentence(number) for number in range(start, start + 60)]


def dictated(start: int) -> list[str]:
    """Words without any punctuation."""
    return [word for number in range(start, start + 90) for word in sentence(number).rstrip(".").casefold().split()]


def chinese(start: int) -> list[str]:
    """Sentences without blanks."""
    words = [chr(code) for code in range(0x4E00, 0x4E00 + 400)]
    sentences = []
    for number in range(start, start + 90):
        chance = random.Random(number)
        sentences.append("".join(chance.choices(words, k=chance.randint(8, 25))) + "。")
    return sentences


def characters(start: int) -> list[str]:
    """A text without a blank or punctuation, as of a script that has none."""
    chance = random.Random(start)
    return [chr(chance.randint(0x0E01, 0x0E2E)) for _ in range(3000)]


def entries(start: int) -> list[str]:
    """Sections that are too small to be chunks."""
    return [f"## Term {number}\n\nA {random.Random(number).choice(NOUNS)}." for number in range(start, start + 60)]


def items(start: int) -> list[str]:
    return [f"- {sentence(number)}" for number in range(start, start + 60)]


TEXTS: dict[str, tuple[Callable[[int], list[str]], str]] = {
    "paragraphs": (lambda start: prose(start, 25), "\n\n"),
    "sentences of one paragraph": (one_paragraph, " "),
    "words without punctuation": (dictated, " "),
    "sentences without blanks": (chinese, ""),
    "characters": (characters, ""),
    "small sections": (entries, "\n\n"),
    "items of a list": (items, "\n"),
}
EVERY_TEXT = pytest.mark.parametrize(("make", "separator"), TEXTS.values(), ids=TEXTS.keys())


def cut(parts: list[str], separator: str) -> list[str]:
    return texts(chunk_document(markdown(separator.join(parts)), ChunkSettings()))


def new_chunks(before: list[str], after: list[str]) -> int:
    return len(set(after) - set(before))


@EVERY_TEXT
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_appending_leaves_all_chunks_alone_but_the_last_ones(
    make: Callable[[int], list[str]], separator: str, kept: float
) -> None:
    whole = make(100)
    for length in range(int(kept * len(whole)), len(whole), max(1, len(whole) // 40)):
        before, after = cut(whole[:length], separator), cut(whole[: length + 1], separator)
        unchanged = before[:-2]
        assert after[: len(unchanged)] == unchanged
        assert new_chunks(before, after) <= 3


@EVERY_TEXT
@pytest.mark.parametrize("change", ["insert", "delete", "replace"])
def test_after_an_edit_in_the_middle_the_chunks_are_soon_those_of_before(
    make: Callable[[int], list[str]], separator: str, change: str
) -> None:
    new, tails = [], []
    for start in range(100, 600, 100):
        whole = [part for step in range(4) for part in make(start + 20_000 * step)]
        place = len(whole) // 4
        edited = {
            "insert": [*whole[:place], *make(start + 5000)[:1], *whole[place:]],
            "delete": [*whole[:place], *whole[place + 1 :]],
            "replace": [*whole[:place], *make(start + 5000)[:1], *whole[place + 1 :]],
        }[change]
        before, after = cut(whole, separator), cut(edited, separator)
        assert len(before) >= 25
        assert after[: len(before) // 6] == before[: len(before) // 6]
        tails.append(after[-len(before) // 4 :] == before[-len(before) // 4 :])
        new.append(new_chunks(before, after))
    assert sum(new) / len(new) <= 6
    assert sum(tails) >= len(tails) - 1


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=12, max_size=30),
    size=st.integers(60, 300),
    seed=st.integers(0, 10_000),
)
def test_a_paragraph_at_the_end_never_changes_a_chunk_before_the_last_two(
    lengths: list[int], size: int, seed: int
) -> None:
    paragraphs = [
        " ".join(sentence(seed + 100 * number + step) for step in range(count)) for number, count in enumerate(lengths)
    ]
    how = ChunkSettings(chunk_size=size)
    before = texts(chunk_document(markdown("\n\n".join(paragraphs[:-1])), how))
    after = texts(chunk_document(markdown("\n\n".join(paragraphs)), how))
    assert after[: len(before) - 2] == before[:-2]


def test_a_section_that_is_inserted_changes_no_other_section() -> None:
    sections = [f"## Berth {number}\n\n" + "\n\n".join(prose(1000 * number, 6)) for number in range(1, 6)]
    before, after = cut(sections, "\n\n"), cut([*sections[:2], "## New\n\n" + sentence(7) * 4, *sections[2:]], "\n\n")
    assert set(before) < set(after)


def test_entries_of_an_api_list_are_cut_steadily_too() -> None:
    def chunks(sentences: int) -> list[Chunk]:
        entry = f"api_call: f(x)\nfunctionality: {' '.join(sentence(number) for number in range(sentences))}"
        return chunk_document(make_document([Section(1, "f", entry)], "api"), ChunkSettings())

    before, after = texts(chunks(50)), texts(chunks(51))
    assert after[: len(before) - 2] == before[:-2]


# ---- where chunks end ----


def ends(text: str, size: int = 110) -> list[str]:
    cut_text = chunk_document(markdown(text), ChunkSettings(chunk_size=size, min_chunk_tokens=8))
    return [chunk.text.split("\n")[-1] for chunk in cut_text]


@pytest.mark.parametrize(
    "line",
    ["**Roosts in winter**", "__Roosts__", "What does the crane lift?", "These rules apply:", "起重机能吊多少？"],
)
@pytest.mark.parametrize("before", range(2, 8))
def test_what_leads_on_to_the_next_paragraph_ends_no_chunk(line: str, before: int) -> None:
    paragraphs = [*prose(300, before), line, *prose(900, 4)]
    assert line not in ends("\n\n".join(paragraphs))


@pytest.mark.parametrize("before", range(2, 8))
def test_a_title_above_another_one_ends_no_chunk(before: int) -> None:
    paragraphs = [*prose(300, before), "Part Two", "The cranes of the quay", *prose(900, 4)]
    assert not {"Part Two", "The cranes of the quay"} & set(ends("\n\n".join(paragraphs)))


@pytest.mark.parametrize("before", range(2, 8))
def test_a_sentence_that_a_blank_line_breaks_is_cut_nowhere(before: int) -> None:
    broken = "The keeper of the lock opens it at dawn and\n\nrings the bell for the pilots of the outer bay."
    assert "The keeper of the lock opens it at dawn and" not in ends("\n\n".join([*prose(300, before), broken]))


SCRIPTS = {
    "Hindi": ("बंदरगाह की क्रेन हर सुबह जाँची जाती है और उसका भार लिखा जाता है", "।"),
    "Arabic": ("هل يفحص المهندس رافعة الميناء كل صباح ويكتب وزنها في الدفتر الكبير", "؟"),
    "Urdu": ("بندرگاہ کی کرین ہر صبح جانچی جاتی ہے اور اس کا وزن لکھا جاتا ہے", "۔"),
    "Japanese": ("港のクレーンは毎朝検査され、その重さは台帳に書かれる", "。"),
    "Japanese in quotation marks": ("「港のクレーンは毎朝検査され、その重さは台帳に書かれる」と係は言った", "。"),
}


@pytest.mark.parametrize(("words", "stop"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_chunks_end_where_sentences_of_a_script_end(words: str, stop: str) -> None:
    blank = "" if stop == "。" else " "
    text = blank.join(f"{words}{number}{stop}" for number in range(40))
    assert {chunk[-1] for chunk in cut([text], "")} == {stop}


def test_a_sentence_longer_than_a_chunk_is_cut_between_its_clauses() -> None:
    clauses = [sentence(number).rstrip(".").casefold() for number in range(40)]
    assert {chunk[-1] for chunk in cut(["; ".join(clauses) + "."], "")} == {";", "."}


# ---- sections that keep their even cuts ----


def test_a_section_that_was_divided_evenly_keeps_its_chunks_until_its_text_changes() -> None:
    how = ChunkSettings()
    first, second = ("\n\n".join(prose(start, 14)) for start in (1, 2000))
    document = markdown(f"## One\n\n{first}\n\n## Two\n\n{second}")
    before = chunk_document(document, how, form=EVEN)
    assert chunk_document(document, how) != before
    form = ChunkForm(frozenset(find_even_sections(document, how, {chunk.text for chunk in before})))
    assert form.evenly
    assert chunk_document(document, how, form=form) == before

    edited = markdown(f"## One\n\n{first}\n\n## Two\n\n{second}\n\n{sentence(9999)}")
    after = texts(chunk_document(edited, how, form=form))
    kept = [chunk.text for chunk in before if chunk.heading == "One"]
    assert after[: len(kept)] == kept
    assert after[len(kept) :] == texts(chunk_document(edited, how))[-len(after) + len(kept) :]


def test_sections_whose_chunks_are_of_other_settings_were_not_divided_evenly_with_these() -> None:
    document = markdown("\n\n".join(prose(1, 20)))
    of_before = {chunk.text for chunk in chunk_document(document, ChunkSettings(chunk_size=240), form=EVEN)}
    assert list(find_even_sections(document, ChunkSettings(), of_before)) == []


def test_small_sections_that_were_grouped_otherwise_keep_their_groups() -> None:
    how, document = ChunkSettings(), markdown("\n\n".join(entries(1)))
    before = chunk_document(document, how, form=EVEN)
    form = ChunkForm(frozenset(find_even_sections(document, how, {chunk.text for chunk in before})))
    assert chunk_document(document, how, form=form) == before != chunk_document(document, how)


def test_a_section_is_named_by_its_text() -> None:
    assert section_digest("## A\n\nB") == section_digest("## A\n\nB") != section_digest("## A\n\nC")
    assert [section.text for section in split_sections("## A\n\nB")] == ["## A\n\nB"]

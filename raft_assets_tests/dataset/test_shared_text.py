"""Text that chunks share: edited copies are found, boilerplate joins nothing, and neither leaks."""

import random
import re
from collections.abc import Mapping
from itertools import pairwise

import pytest

from raft_assets.core.tables import Chunk, RaftRow
from raft_assets.dataset import shared_text
from raft_assets.dataset.leakage import LeakageCheck
from raft_assets.dataset.related_chunks import find_related_chunks
from raft_assets.dataset.rows import Assembly, assemble_rows
from raft_assets.dataset.shared_text import find_shared_text, shared_words
from raft_assets.documents.chunking import EVEN, chunk_document
from raft_assets.documents.reading import ReadDocument
from raft_assets.settings.domain import ChunkSettings, DatasetSettings
from raft_assets_tests.builders import a_chunk, pairs_of, prose

SETTINGS = DatasetSettings(min_eval_rows=4, min_valid_rows=2)
SAFETY = (
    "Before you open the housing, switch the machine off, pull the plug and wait for two minutes until the motor has "
    "come to rest. Wear gloves and goggles, and never reach into the drum while the lamp at the front panel is lit."
)


def by_id(chunks: list[Chunk]) -> dict[str, Chunk]:
    return {chunk.chunk_id: chunk for chunk in chunks}


def links_of(*chunks: Chunk) -> set[tuple[str, str]]:
    return set(find_shared_text([chunk.chunk_id for chunk in chunks], by_id(list(chunks))).links)


def edited(text: str, share: float, seed: int = 0) -> str:
    """The text with that share of its longer words changed."""
    draw = random.Random(seed)
    return re.sub(
        r"[A-Za-z]{5,}", lambda word: word[0][::-1] + "x" if draw.random() < share else word[0], text, flags=re.ASCII
    )


@pytest.fixture(scope="module")
def originals(shipped_documents: dict[str, list[ReadDocument]]) -> list[Chunk]:
    return [
        chunk
        for document in shipped_documents["bats"]
        for chunk in chunk_document(document, ChunkSettings(), form=EVEN)
    ]


def copies_cut_elsewhere(originals: list[Chunk], share: float) -> tuple[list[Chunk], Mapping[str, set[str]]]:
    """An edited copy of every document, whose chunks begin in the middle of the original's; copy to its originals."""
    copies, origin = [], {}
    for number, (one, following) in enumerate(pairwise(originals)):
        if one.doc_id == following.doc_id:
            text = one.text[len(one.text) // 2 :] + "\n\n" + following.text[: len(following.text) // 2]
            name = f"copy {number}"
            copies.append(a_chunk(name, edited(text, share, number), document=f"copy of {one.doc_id}"))
            origin[name] = {one.chunk_id, following.chunk_id}
    return copies, origin


@pytest.mark.parametrize(("share", "found"), [(0.03, 0.99), (0.08, 0.99), (0.15, 0.98), (0.25, 0.9)])
def test_an_edited_copy_is_found_wherever_it_is_cut(originals: list[Chunk], share: float, found: float) -> None:
    copies, origin = copies_cut_elsewhere(originals, share)
    links = links_of(*originals, *copies)
    wanted = {(min(copy, one), max(copy, one)) for copy, ones in origin.items() for one in ones}
    assert len(wanted & links) >= found * len(wanted) > 100
    assert links <= wanted  # nothing else shares text


# measured: 1, 1, 0.997 and 0.894; on the even cuts above: 1, 1, 0.993 and 0.930. Chunks that are cut steadily differ
# more in length, and half of a short one, edited heavily, is too little of the copy that begins in it
@pytest.mark.parametrize(("share", "found"), [(0.03, 0.99), (0.08, 0.99), (0.15, 0.99), (0.25, 0.89)])
def test_an_edited_copy_of_a_document_that_is_cut_steadily_is_found(
    shipped_documents: dict[str, list[ReadDocument]], share: float, found: float
) -> None:
    chunks = [chunk for document in shipped_documents["bats"] for chunk in chunk_document(document, ChunkSettings())]
    copies, origin = copies_cut_elsewhere(chunks, share)
    links = links_of(*chunks, *copies)
    wanted = {(min(copy, one), max(copy, one)) for copy, ones in origin.items() for one in ones}
    assert len(wanted & links) >= found * len(wanted) > 100
    assert links <= wanted


@pytest.mark.parametrize("share", [0.03, 0.08, 0.15, 0.25])
def test_a_copied_document_is_on_one_side_of_evaluation_with_its_original(originals: list[Chunk], share: float) -> None:
    copies, origin = copies_cut_elsewhere(originals, share)
    assembly = assembled([*originals, *copies])
    rows = list(assembly.rows())
    assert assembly.plan.unit_name == "document"
    oracles = {row.chunk_id for row in rows if row.split == "eval"}
    shown = {name for row in rows if row.split != "eval" for name in (row.chunk_id, *row.document_chunk_ids)}
    copied = {name for name, ones in origin.items() if oracles & ones} | set().union(
        *(ones for name, ones in origin.items() if name in oracles)
    )
    assert oracles
    assert not shown & copied
    assert assembly.shared_text["chunks_that_share_text"] > 200
    assert leaks(rows, [*originals, *copies]) == []


def test_documents_of_one_subject_share_nothing(originals: list[Chunk]) -> None:
    assert links_of(*originals) == set()


def test_a_long_sentence_is_enough_and_a_short_one_is_not() -> None:
    sentence = "The dredger Constance cleared the northern channel of Marrow Bay in the wet spring of 1931 at night."
    one, other = (a_chunk(name, f"{prose(name)}. {sentence} {prose(name + 'x')}.", document=name) for name in "ab")
    assert links_of(one, other) == {("a", "b")}
    assert shared_words(one.text, other.text) == sentence
    short = "The dredger Constance cleared the channel."
    assert not links_of(
        *(a_chunk(name, f"{prose(name)}. {short} {prose(name + 'x')}.", document=name) for name in "ab")
    )


def test_a_text_without_spaces_is_compared_by_its_letters() -> None:
    text = "蝙蝠在黄昏时离开洞穴,沿着河岸飞行,捕食水面上的昆虫。它们用回声定位来寻找猎物,并在天亮之前返回洞穴。"
    other = text.replace("黄昏", "夜晚").replace("河岸", "湖边")
    assert links_of(a_chunk("a", text, document="a"), a_chunk("b", other, document="b")) == {("a", "b")}


def test_links_do_not_depend_on_how_many_are_counted_at_once(
    originals: list[Chunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies, _ = copies_cut_elsewhere(originals, 0.08)
    together = find_shared_text([chunk.chunk_id for chunk in originals + copies], by_id(originals + copies))
    monkeypatch.setattr(shared_text, "BLOCK_ENTRIES", 100)
    assert find_shared_text([chunk.chunk_id for chunk in originals + copies], by_id(originals + copies)) == together


def assembled(chunks: list[Chunk]) -> Assembly:
    return assemble_rows(pairs_of(chunks), chunks, None, [], SETTINGS, {})


def leaks(rows: list[RaftRow], chunks: list[Chunk]) -> list[str]:
    check = LeakageCheck([])
    for row in rows:
        check.add(row)
    return [finding for findings in check.findings(check.exposed(by_id(chunks))).values() for finding in findings]


def test_sixty_manuals_with_one_safety_page_are_split_by_document() -> None:
    manuals = [
        chunk
        for number in range(60)
        for chunk in (
            a_chunk(f"{number} safety", SAFETY, document=f"manual {number}"),
            *(a_chunk(f"{number} {part}", document=f"manual {number}") for part in range(3)),
        )
    ]
    assembly = assembled(manuals)
    rows = list(assembly.rows())
    assert (assembly.plan.unit_name, assembly.summary["units"]) == ("document", 60)
    assert len({row.split for row in rows if row.chunk_id.endswith("safety")}) == 1  # and yet no copy of it trains
    assert assembly.shared_text["chunks_that_share_text"] == 0
    assert assembly.shared_text["boilerplate_share"] == pytest.approx(0.25, abs=0.01)
    assert leaks(rows, manuals) == []


def test_a_unit_is_not_joined_beyond_a_fifth_of_the_chunks_and_still_nothing_leaks() -> None:
    def sentence(number: int) -> str:
        return f"The {prose(f'said {number}', length=16)}."

    chain = [
        chunk
        for number in range(40)  # each document says a sentence of the one before it
        for chunk in (
            a_chunk(f"{number} a", f"{prose(f'{number}a')}. {sentence(number)}", document=f"d{number}"),
            a_chunk(f"{number} b", f"{prose(f'{number}b')}. {sentence(number + 1)}", document=f"d{number}"),
        )
    ]
    assert len(find_related_chunks(by_id(chain), 0.8).shared.links) == 39
    assembly = assembled(chain)
    rows = list(assembly.rows())
    assert assembly.plan.unit_name == "document"
    assert assembly.summary["units"] >= 5
    assert assembly.shared_text["joins_not_made"] == len(assembly.plan.cut) >= 4
    assert leaks(rows, chain) == []


def test_a_large_unit_is_told_with_what_joins_it() -> None:
    sentence = "The keeper lights the lamp at the end of the northern pier every evening before the ferry leaves."
    chunks = [
        a_chunk(f"{name} {part}", f"{prose(f'{name}{part}')}. {sentence if part == 0 else ''}", document=name)
        for name in ("one", "two", "three", "four", "five", "six")
        for part in range(5)
        if part or name in ("one", "two")
    ]
    (unit,) = assembled(chunks).shared_text["large_units"]
    assert unit["share_of_chunks"] == pytest.approx(10 / 26)
    assert unit["joined_by"] == [f"one.md and two.md: {sentence}"]


@pytest.mark.parametrize("share", [0.0, 0.03, 0.08, 0.15])
def test_the_check_finds_an_edited_copy_that_trains_by_its_letters(originals: list[Chunk], share: float) -> None:
    rows = list(assembled(originals).rows())
    oracle = by_id(originals)[next(row for row in rows if row.split == "eval").chunk_id]
    trained = next(row for row in rows if row.split == "train" and row.has_oracle)
    copy = a_chunk("copy", edited(oracle.text, share), document="elsewhere")
    planted = trained.model_copy(update={"document_chunk_ids": ["copy", *trained.document_chunk_ids[1:]]})
    (finding,) = leaks([*rows, planted], [*originals, copy])
    assert finding.endswith(f"shows chunk copy, which is, resembles or overlaps {oracle.chunk_id}")


@pytest.mark.parametrize("share", [0.0, 0.03, 0.08])
def test_the_check_finds_an_edited_copy_of_a_chinese_passage(share: float) -> None:
    draw = random.Random(0)

    def passage() -> str:
        return "。".join("".join(chr(draw.randrange(0x4E00, 0x5200)) for _ in range(20)) for _ in range(8))

    passages = [a_chunk(f"{number}", passage(), document=f"{number}") for number in range(40)]
    rows = list(assembled(passages).rows())
    oracle = by_id(passages)[next(row for row in rows if row.split == "eval").chunk_id]
    pairs = re.sub("[一-鿿]{2}", lambda pair: "蝙蝠" if draw.random() < share else pair[0], oracle.text)
    trained = next(row for row in rows if row.split == "train" and row.has_oracle)
    planted = trained.model_copy(update={"document_chunk_ids": ["copy", *trained.document_chunk_ids[1:]]})
    (finding,) = leaks([*rows, planted], [*passages, a_chunk("copy", pairs, document="elsewhere")])
    assert "shows chunk copy" in finding


@pytest.mark.parametrize(
    "sentence",
    [
        "这座建筑位于城市的中心，周围有许多树木和商店，居民们常常在周末来到这里散步、聊天和休息。",
        "The building stands in the centre of the town among many trees and shops, and at weekends people rest there.",
    ],
    ids=["zh", "en"],
)
def test_a_sentence_that_every_passage_repeats_is_no_leak_however_few_documents_there_are(sentence: str) -> None:
    passages = [
        a_chunk(f"{document}{number}", f"{prose(f'{document}{number}', length=6)} {sentence}", document=document)
        for document in "abc"
        for number in range(20)
    ]
    assert leaks(list(assembled(passages).rows()), passages) == []


def test_distractors_of_evaluation_documents_can_be_left_out(originals: list[Chunk]) -> None:
    def borrowed(*, allowed: bool) -> int:
        settings = SETTINGS.model_copy(update={"distractors_from_evaluation": allowed})
        rows = list(assemble_rows(pairs_of(originals[::2]), originals, None, [], settings, {}).rows())
        evaluated = {row.doc_id for row in rows if row.split == "eval"}
        shown = [name for row in rows if row.split != "eval" for name in row.document_chunk_ids]
        return sum(by_id(originals)[name].doc_id in evaluated for name in shown)

    # a passage of such a document that evaluation doesn't ask about may be shown, as long as this is allowed
    assert borrowed(allowed=True) > 0
    assert borrowed(allowed=False) == 0

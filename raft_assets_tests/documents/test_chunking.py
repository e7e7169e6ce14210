"""Documents become chunks."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.tables import Chunk, SourceDocument
from raft_assets.documents.chunking import EVEN, chunk_document, find_oversized_chunks, token_count
from raft_assets.documents.readers.content import Section, split_sections
from raft_assets.documents.reading import PAGE_SEPARATOR, ReadDocument
from raft_assets.settings.domain import ChunkSettings

SENTENCE = "The noctule leaves its roost early in the evening and hunts high above the lake for beetles and moths. "


def make_document(sections: list[Section], kind: str = "md", doc_id: str = "d") -> ReadDocument:
    rows, start = [], 0
    for section in sections:
        end = start + len(section.text)
        rows.append(
            SourceDocument(
                doc_id=doc_id, path="a.md", content_hash="h", kind=kind, page=section.number, title="A",
                heading=section.heading, start=start, end=end, text=section.text,
            )
        )  # fmt: skip
        start = end + len(PAGE_SEPARATOR)
    return ReadDocument(tuple(rows), PAGE_SEPARATOR.join(section.text for section in sections))


def markdown(text: str) -> ReadDocument:
    return make_document(list(split_sections(text.strip())))


def texts(chunks: list[Chunk]) -> list[str]:
    return [chunk.text for chunk in chunks]


# ---- properties ----

WORDS = st.sampled_from(
    [
        "bat",
        "Dr.",
        "flies.",
        "über",
        "漢字仮名",
        "🦇",
        "<|endoftext|>",
        "x" * 300,
        "a_b.c(d)",
        "##",
        "-",
        "1,234.5",
        "naïve?",
        "```",
    ]
)
PARAGRAPHS = st.lists(WORDS, min_size=1, max_size=40).map(" ".join)
TEXTS = st.lists(
    PARAGRAPHS | PARAGRAPHS.map("## {}".format) | st.just("# A\n## B\n### C"), min_size=1, max_size=12
).map("\n\n".join)
SETTINGS = st.builds(
    ChunkSettings,
    tokenizer=st.sampled_from(["o200k_base", "cl100k_base"]),
    chunk_size=st.integers(16, 120),
    chunk_overlap=st.integers(0, 8),
    min_chunk_tokens=st.integers(1, 16),
)
KINDS = st.sampled_from(["md", "pdf", "api", "jsonl"])


@settings(max_examples=80, deadline=None)
@given(text=TEXTS, kind=KINDS, how=SETTINGS)
def test_chunks_are_spans_within_the_maximum_and_hold_every_word(text: str, kind: str, how: ChunkSettings) -> None:
    document = make_document(list(split_sections(text)), kind)
    chunks = chunk_document(document, how)
    covered = [False] * len(document.document_text)
    for chunk in chunks:
        assert document.document_text[chunk.start : chunk.end] == chunk.text
        assert chunk.text == chunk.text.strip() != ""
        assert chunk.tokens == token_count(chunk.passage, how.tokenizer) <= how.chunk_size
        assert chunk.page_from <= chunk.page_to
        covered[chunk.start : chunk.end] = [True] * len(chunk.text)
    assert all(held or character.isspace() for held, character in zip(covered, document.document_text, strict=True))
    assert [chunk.start for chunk in chunks] == sorted(chunk.start for chunk in chunks)
    assert len({chunk.chunk_id for chunk in chunks}) == len(chunks)
    assert chunk_document(document, how) == chunks
    for earlier, later in pairwise(chunks):
        shared = document.document_text[later.start : earlier.end]
        assert token_count(shared.strip(), how.tokenizer) <= how.chunk_overlap


@settings(max_examples=100, deadline=None)
@given(paragraphs=st.lists(st.integers(1, 12), min_size=1, max_size=15), size=st.integers(48, 200))
def test_no_chunk_is_only_a_heading_or_cuts_a_sentence_or_is_small_without_need(
    paragraphs: list[int], size: int
) -> None:
    blocks = [f"## Section {number}\n\n{(SENTENCE * count).strip()}" for number, count in enumerate(paragraphs)]
    how = ChunkSettings(chunk_size=size, min_chunk_tokens=10)
    chunks = chunk_document(markdown("\n\n".join(blocks)), how)
    for chunk in chunks:
        assert chunk.text.endswith("moths.")
        assert chunk.text.startswith(("## Section", "The noctule"))


@given(text=st.text(max_size=400))
def test_tokens_are_counted_for_any_text(text: str) -> None:
    assert token_count(text, "o200k_base") <= 4 * len(text)


def test_tokens_are_counted_beyond_what_the_tokenizer_takes_at_once() -> None:
    assert token_count("bat " * 400_000, "o200k_base") == pytest.approx(400_000, rel=0.001)


def test_what_looks_like_a_special_token_is_text() -> None:
    assert token_count("<|endoftext|>", "o200k_base") > 1


# ---- structure ----


def test_chunks_begin_at_sections_and_headings_stay_with_their_text() -> None:
    text = f"# Bats\n\n## Noctule\n\n{SENTENCE * 5}\n\n## Pipistrelle\n\n{SENTENCE * 5}"
    chunks = chunk_document(markdown(text), ChunkSettings())
    assert [chunk.text.split("\n")[0] for chunk in chunks] == ["# Bats", "## Pipistrelle"]
    assert [chunk.heading for chunk in chunks] == ["Noctule", "Pipistrelle"]
    assert [(chunk.page_from, chunk.page_to) for chunk in chunks] == [(1, 1), (2, 2)]


def test_a_section_that_is_too_long_is_divided_evenly_between_paragraphs() -> None:
    paragraph = (SENTENCE * 3).strip()
    chunks = chunk_document(markdown("## Noctule\n\n" + "\n\n".join([paragraph] * 4)), ChunkSettings())
    assert texts(chunks) == [f"## Noctule\n\n{paragraph}\n\n{paragraph}", f"{paragraph}\n\n{paragraph}"]
    assert {chunk.heading for chunk in chunks} == {"Noctule"}


def test_of_the_possible_divisions_the_most_even_one_is_taken() -> None:
    paragraphs = "\n\n".join((SENTENCE * sentences).strip() for sentences in (1, 2, 2, 2))
    chunks = chunk_document(markdown(paragraphs), ChunkSettings())
    assert [chunk.text.count("moths.") for chunk in chunks] == [3, 4]  # filling up would give 5 and 2


def test_a_section_that_is_too_small_joins_its_neighbour() -> None:
    chunks = chunk_document(markdown(f"## Noctule\n\n{SENTENCE * 4}\n\n## See also\n\nOwls."), ChunkSettings())
    assert len(chunks) == 1


def test_a_heading_at_the_end_joins_the_last_sentences_even_where_these_fill_a_chunk() -> None:
    body = SENTENCE * 7
    how = ChunkSettings(chunk_size=token_count(f"## A\n\n{body}".strip(), "o200k_base"))
    chunks = chunk_document(markdown(f"## A\n\n{body}\n\n## The end of it all"), how)
    assert chunks[-1].text.startswith("The noctule")
    assert chunks[-1].text.endswith("moths.\n\n## The end of it all")


def test_a_full_stop_of_an_abbreviation_ends_no_chunk() -> None:
    text = "We met Dr. Lowe and Mr. Ilves of St. Orla. " * 30
    for size in range(30, 60):
        for chunk in chunk_document(markdown(text), ChunkSettings(chunk_size=size)):
            assert chunk.text.endswith("St. Orla.")


@pytest.mark.parametrize("overlap", [24, 40, 80])
def test_overlapping_chunks_of_a_section_share_whole_sentences(overlap: int) -> None:
    text = f"## One\n\n{SENTENCE * 20}\n\n## Two\n\n{SENTENCE * 4}"
    document = markdown(text)
    chunks = chunk_document(document, ChunkSettings(chunk_overlap=overlap))
    *pairs, (_, last) = pairwise(chunks)
    for earlier, later in pairs:
        shared = document.document_text[later.start : earlier.end]
        assert shared.startswith("The noctule")
        assert shared.endswith("moths.")
        assert token_count(shared, "o200k_base") <= overlap
    assert last.text.startswith("## Two")


def test_entries_of_an_api_list_never_share_a_chunk_however_small() -> None:
    entries = [Section(number, "f", f"api_name: f\napi_call: f({number})") for number in range(1, 4)]
    chunks = chunk_document(make_document(entries, "api"), ChunkSettings())
    assert texts(chunks) == [entry.text for entry in entries]
    assert [(chunk.kind, chunk.heading, chunk.page_from) for chunk in chunks] == [
        ("api", "f", number) for number in (1, 2, 3)
    ]


def test_a_long_entry_of_an_api_list_breaks_between_its_fields() -> None:
    code = "\n".join(f"value_{number} = call({number})" for number in range(8))
    entry = (
        f"api_name: f\napi_call: f(x)\nfunctionality: {SENTENCE * 4}\nexample_code: {code}\nmeta.text: {SENTENCE * 3}"
    )
    chunks = chunk_document(make_document([Section(1, "f", entry)], "api"), ChunkSettings(chunk_size=150))
    assert len(chunks) > 1
    assert {chunk.text.split(":")[0] for chunk in chunks} <= {
        "api_name",
        "functionality",
        "example_code",
        "meta.text",
    }


def test_a_continued_api_description_repeats_its_signature_and_keeps_the_maximum() -> None:
    entries = [
        Section(1, "f", f"api_name: f\napi_call: f(x, *, y=1)\nfunctionality: {SENTENCE * 9}\nexample: {SENTENCE * 9}"),
        Section(2, "g", "api_name: g\napi_call: g()"),
    ]
    chunks = chunk_document(make_document(entries, "api"), ChunkSettings(chunk_size=64))
    first, *continued, other = chunks
    assert first.passage == first.text
    assert first.text.startswith("api_name: f\napi_call: f(x, *, y=1)")
    assert len(continued) > 4
    assert {chunk.signature for chunk in continued} == {"api_call: f(x, *, y=1)"}
    assert all(chunk.passage == f"{chunk.signature}\n{chunk.text}" for chunk in continued)
    assert all(token_count(chunk.passage, "o200k_base") <= 64 for chunk in chunks)
    assert (other.text, other.signature) == ("api_name: g\napi_call: g()", "")


def test_a_signature_that_would_fill_the_chunk_gives_way_to_the_name() -> None:
    call = f"f({', '.join(f'argument_{number}=None' for number in range(40))})"
    entry = Section(1, "f", f"api_name: f\napi_call: {call}\nfunctionality: {SENTENCE * 9}")
    chunks = chunk_document(make_document([entry], "api"), ChunkSettings(chunk_size=64))
    assert {chunk.signature for chunk in chunks} == {"", "api_name: f"}
    assert all(token_count(chunk.passage, "o200k_base") <= 64 for chunk in chunks)


def test_chunks_that_are_too_long_are_found_whatever_is_said_of_them() -> None:
    (chunk,) = chunk_document(markdown(SENTENCE), ChunkSettings())
    assert find_oversized_chunks([chunk], ChunkSettings()) == []
    assert find_oversized_chunks([chunk], ChunkSettings(chunk_size=16, min_chunk_tokens=1)) == [chunk.chunk_id]
    longer = chunk.model_copy(update={"signature": "api_call: f " * 100})
    assert find_oversized_chunks([longer], ChunkSettings()) == [chunk.chunk_id]


def test_with_likeness_chunks_end_where_the_subject_changes() -> None:
    bats, cranes = (
        SENTENCE * 3,
        "A crane of the harbour lifts at most forty tonnes before the duty engineer is asked. " * 4,
    )
    how = ChunkSettings(boundaries="semantic")
    asked: list[str] = []

    def likeness(texts: Sequence[str]) -> list[float]:
        asked.extend(texts)
        return [float(one[:3] == other[:3]) for one, other in pairwise(texts)]

    chunks = chunk_document(markdown(bats + cranes), how, likeness=likeness)
    assert [chunk.text.split()[1] for chunk in chunks] == ["noctule", "crane"]
    assert len(asked) == 7
    assert all(chunk.tokens <= how.chunk_size for chunk in chunks)


# ---- identity ----


def test_equal_passages_keep_their_own_ids_and_an_edit_elsewhere_changes_none() -> None:
    passage = f"## Rule\n\n{SENTENCE * 2}".strip()
    before = chunk_document(
        markdown("\n\n".join([f"## Old\n\n{SENTENCE * 2}".strip(), passage, passage])),
        ChunkSettings(min_chunk_tokens=1),
    )
    after = chunk_document(
        markdown("\n\n".join([f"## Brand new\n\n{SENTENCE * 3}".strip(), passage, passage])),
        ChunkSettings(min_chunk_tokens=1),
    )
    assert texts(before)[1:] == texts(after)[1:] == [passage, passage]
    assert [chunk.chunk_id for chunk in before[1:]] == [chunk.chunk_id for chunk in after[1:]]
    assert len({chunk.chunk_id for chunk in before}) == 3


def test_the_same_passage_in_two_documents_is_two_chunks() -> None:
    one, other = (make_document([Section(1, "", SENTENCE.strip())], doc_id=name) for name in ("d", "e"))
    (first,), (second,) = (chunk_document(document, ChunkSettings()) for document in (one, other))
    assert first.text == second.text
    assert first.chunk_id != second.chunk_id


# ---- the shipped domains ----


def test_shipped_documents_give_whole_chunks(shipped_documents: dict[str, list[ReadDocument]]) -> None:
    how = ChunkSettings()
    for document in (document for documents in shipped_documents.values() for document in documents):
        for chunk in chunk_document(document, how):
            assert how.min_chunk_tokens <= chunk.tokens <= how.chunk_size
            assert chunk.heading
            if chunk.kind == "prose":
                assert not chunk.text[0].islower()


@pytest.mark.parametrize("title", ["Roosts in winter", "2.1 Roosts", "Ηχοεντοπισμός", "Überwinterung in Höhlen"])
@pytest.mark.parametrize("before", range(2, 9))
def test_a_title_that_is_no_heading_begins_a_chunk_and_ends_none(title: str, before: int) -> None:
    document = markdown(f"{SENTENCE * before}\n\n{title}\n\n{SENTENCE * 4}\n\n{SENTENCE * 3}")
    chunks = texts(chunk_document(document, ChunkSettings(chunk_size=120, min_chunk_tokens=20)))
    assert [chunk for chunk in chunks if chunk.rstrip().endswith(title)] == []


@pytest.mark.parametrize("line", ["They sleep by day.", "- a roost", "a | b", "they wake early"])
def test_sentences_items_and_cells_are_no_titles_and_end_a_chunk(line: str) -> None:
    document = markdown(f"{SENTENCE * 3}\n\n{line}\n\n{SENTENCE * 4}")
    first, _ = texts(chunk_document(document, ChunkSettings(chunk_size=110, min_chunk_tokens=20), form=EVEN))
    assert first.endswith(line)

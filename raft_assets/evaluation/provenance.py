"""Where the questions of an evaluation came from: chunk, page or section, and the teacher's calls."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from raft_assets.core.tables import Chunk, GoldenQuestion, ModelAnswer, QAPair, QuestionProvenance, QuestionSource


def paths_of_questions(
    answers: Iterable[ModelAnswer],
    pairs: Iterable[QAPair],
    golden: Iterable[GoldenQuestion],
    chunks: Iterable[Chunk],
) -> dict[tuple[QuestionSource, str], str]:
    """Return the document that each answered question is about, by source and id; empty where none is known."""
    traced = trace_questions(
        dict.fromkeys((answer.source, answer.question_id) for answer in answers),
        {pair.question_id: pair for pair in pairs},
        {question.question_id: question for question in golden},
        {chunk.chunk_id: chunk for chunk in chunks},
        paged=frozenset(),
        model_of={},
    )
    return {(origin.source, origin.question_id): origin.path for origin in traced}


def trace_questions(
    asked: Iterable[tuple[str, str]],
    pairs: Mapping[str, QAPair],
    golden: Mapping[str, GoldenQuestion],
    chunks: Mapping[str, Chunk],
    *,
    paged: AbstractSet[str],
    model_of: Mapping[str, str],
) -> Iterator[QuestionProvenance]:
    """Yield the provenance per (source, question_id); of several oracle chunks the first, the question's cluster.

    Pairs, golden questions and chunks are by id. `paged` are the ids of documents that have pages, `model_of` names the
    model of a call. A question without known evidence has no chunk, a golden one no calls.
    """
    for source, name in asked:
        pair = pairs.get(name) if source == "generated" else None
        oracles = [pair.chunk_id] if pair else golden[name].oracle_chunk_ids if name in golden else []
        chunk = chunks.get(oracles[0]) if oracles else None
        parts = (chunk.page_from, chunk.page_to) if chunk else (None, None)
        has_pages = chunk is not None and chunk.doc_id in paged
        pages, sections = (parts, (None, None)) if has_pages else ((None, None), parts)
        yield QuestionProvenance(
            question_id=name,
            source="generated" if source == "generated" else "golden",
            chunk_id=chunk.chunk_id if chunk else "",
            path=chunk.path if chunk else "",
            page_from=pages[0],
            page_to=pages[1],
            section_from=sections[0],
            section_to=sections[1],
            first_character=chunk.start if chunk else None,
            end_character=chunk.end if chunk else None,
            question_call=pair.question_call if pair else "",
            teacher_call=pair.answer_call if pair else "",
            teacher_model=model_of.get(pair.answer_call, "") if pair else "",
        )

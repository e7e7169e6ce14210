"""Where the questions of an evaluation came from: chunk, page, and the teacher's calls."""

from collections.abc import Iterable, Iterator, Mapping

from raft_assets.core.tables import Chunk, GoldenQuestion, QAPair, QuestionProvenance


def trace_questions(
    asked: Iterable[tuple[str, str]],
    pairs: Mapping[str, QAPair],
    golden: Mapping[str, GoldenQuestion],
    chunks: Mapping[str, Chunk],
) -> Iterator[QuestionProvenance]:
    """Yield the provenance per (source, question_id); of several oracle chunks the first, the question's cluster.

    Pairs, golden questions and chunks are by id. A question without known evidence has no chunk, a golden one no calls.
    """
    for source, name in asked:
        pair = pairs.get(name) if source == "generated" else None
        oracles = [pair.chunk_id] if pair else golden[name].oracle_chunk_ids if name in golden else []
        chunk = chunks.get(oracles[0]) if oracles else None
        yield QuestionProvenance(
            question_id=name,
            source="generated" if source == "generated" else "golden",
            chunk_id=chunk.chunk_id if chunk else "",
            path=chunk.path if chunk else "",
            page_from=chunk.page_from if chunk else None,
            page_to=chunk.page_to if chunk else None,
            first_character=chunk.start if chunk else None,
            end_character=chunk.end if chunk else None,
            question_call=pair.question_call if pair else "",
            teacher_call=pair.answer_call if pair else "",
        )

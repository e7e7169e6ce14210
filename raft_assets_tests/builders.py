"""Small rows for tests of the method."""

import random
import zlib
from collections.abc import Sequence

from raft_assets.core.identity import question_id
from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE, parse_answer, render_answer
from raft_assets.core.tables import Chunk, GoldenQuestion, QAPair

VOCABULARY = [
    f"{first}{second}"
    for first in ("bat", "wave", "crane", "moth", "harbor", "cave")
    for second in "abcdefghijklmnopqrst"
]


def a_chunk(
    name: str,
    text: str = "",
    *,
    document: str = "d",
    start: int | None = None,
    heading: str = "",
    kind: str = "prose",
) -> Chunk:
    """A chunk that stands apart from all others, unless it is told where to start."""
    text = text or prose(name)
    start = zlib.crc32(name.encode()) * len(text) if start is None else start
    return Chunk(
        chunk_id=name,
        doc_id=document,
        path=f"{document}.md",
        kind=kind,
        page_from=1,
        page_to=1,
        start=start,
        end=start + len(text),
        heading=heading,
        text=text,
        tokens=len(text.split()),
    )


def prose(seed: str, *, length: int = 40) -> str:
    """Words by draw: texts of different seeds share hardly a run of three words."""
    return " ".join(random.Random(seed).choices(VOCABULARY, k=length))


def an_answer(sentence: str, final_answer: str) -> str:
    return render_answer(f"The document says: {BEGIN_QUOTE}{sentence}{END_QUOTE}", final_answer)


def a_pair(chunk: Chunk, number: int = 0, *, kind: str = "what", accepted: bool = True) -> QAPair:
    """A pair whose answer is two words of its chunk."""
    question = f"What does {chunk.chunk_id} hold at place {number}?"
    answer = an_answer(chunk.text, " ".join(chunk.text.split()[number : number + 2]))
    return QAPair(
        question_id=question_id(chunk.chunk_id, question),
        chunk_id=chunk.chunk_id,
        doc_id=chunk.doc_id,
        path=chunk.path,
        question=question,
        kind=kind,
        answer=answer,
        final_answer=parse_answer(answer).final_answer,
        quotes=[chunk.text],
        accepted=accepted,
        reason="" if accepted else "refusal",
        gates={},
        question_call="",
        answer_call="",
    )


def pairs_of(chunks: Sequence[Chunk], *, each: int = 2) -> list[QAPair]:
    return [a_pair(chunk, number) for chunk in chunks for number in range(each)]


def a_corpus(documents: int, *, chunks: int = 4, sections: int = 2) -> list[Chunk]:
    """Documents of so many chunks, in sections, all different."""
    return [
        a_chunk(f"c{document}.{number}", document=f"d{document}", heading=f"part {number * sections // chunks}")
        for document in range(documents)
        for number in range(chunks)
    ]


def a_golden_question(*oracle_chunk_ids: str) -> GoldenQuestion:
    return GoldenQuestion(
        question_id="golden",
        question="What would a person ask?",
        answers=["this"],
        answerable=True,
        path="d.md",
        oracle_chunk_ids=list(oracle_chunk_ids),
        status="resolved",
    )

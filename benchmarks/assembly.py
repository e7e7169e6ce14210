"""Dataset assembly at scale: synthetic chunks with a pair each, random distractors; seconds, rows a second, memory.

    python benchmarks/assembly.py [CHUNKS ...]     50,000 and 200,000 by default; 1,000,000 takes a while

Every size is a process of its own, so that its peak of memory is its own. `time per row` is compared between sizes:
linear time keeps it.
"""

import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from tempfile import TemporaryDirectory

from raft_assets.raft.dataset import assemble, leaks
from raft_assets.raft.tables import Chunk, QAPair
from raft_assets.resources.lake import Lake
from raft_assets.settings import DatasetSettings

SIZES = (50_000, 200_000)
MEMORY_MB = 2000  # at most
WORDS = 60  # of a chunk
CHUNKS_PER_DOCUMENT = 50


def main() -> None:
    """Measures and prints; a worker measures one size."""
    if sys.argv[1:2] == ["--worker"]:
        print(*_measure(int(sys.argv[2])))
        return
    per_row = 0.0
    for size in [int(value) for value in sys.argv[1:]] or SIZES:
        command = [sys.executable, __file__, "--worker", str(size)]
        seconds, rows, memory = map(
            float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        )
        told = f"{size:,} chunks: {seconds:.0f} s, {rows / seconds:,.0f} rows a second, {memory:,.0f} MB at the peak"
        ratio = f"; {seconds / rows / per_row:.2f} of the time per row before" if per_row else ""
        print(f"{told} ({memory / MEMORY_MB:.2f} of what is allowed){ratio}")
        per_row = per_row or seconds / rows


def _measure(size: int) -> tuple[float, int, float]:
    settings = DatasetSettings()
    chunks = list(_chunks(size))
    started = time.monotonic()
    assembly = assemble(_pairs(chunks), chunks, None, [], settings, {})
    found = leaks(assembly.rows(), [], chunks, settings)
    if any(found.values()):
        sys.exit(f"leaks: {found}")
    with TemporaryDirectory() as folder:
        written = Lake(root=folder).write("qa_dataset", "benchmark", assembly.rows())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return time.monotonic() - started, written.rows, memory


def _chunks(size: int) -> Iterator[Chunk]:
    for number in range(size):
        state = zlib.crc32(str(number).encode())
        words = []
        for _ in range(WORDS):
            state = (1103515245 * state + 12345) % 2**31
            words.append(f"w{state % 30_000}")
        text = " ".join(words)
        document, place = divmod(number, CHUNKS_PER_DOCUMENT)
        start = place * 1000
        yield Chunk(
            chunk_id=f"c{number}", doc_id=f"d{document}", path=f"{document}.txt", kind="prose", page_from=1, page_to=1,
            start=start, end=start + len(text), heading="", text=text, tokens=WORDS,
        )  # fmt: skip


def _pairs(chunks: list[Chunk]) -> Iterator[QAPair]:
    for chunk in chunks:
        answer = " ".join(chunk.text.split()[:3])
        yield QAPair(
            question_id=f"q{chunk.chunk_id}", chunk_id=chunk.chunk_id, doc_id=chunk.doc_id, path=chunk.path,
            question=f"What stands in {chunk.chunk_id}?", kind="what", answer=f"<ANSWER>: {answer}",
            final_answer=answer, quotes=[chunk.text], accepted=True, reason="", gates={}, question_call="",
            answer_call="",
        )  # fmt: skip


if __name__ == "__main__":
    main()

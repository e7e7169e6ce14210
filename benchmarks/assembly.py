"""Dataset assembly at scale: synthetic chunks with a pair each, random distractors; seconds, rows a second, memory.

    python benchmarks/assembly.py [CHUNKS ...]     50,000, 200,000 and 1,000,000 by default

Chunks and pairs are made on the fly, rows are checked and written. Every size is a process of its own, so that its peak
of memory is its own. The CPU time per row is compared between sizes: linear time keeps it.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random
from tempfile import TemporaryDirectory

from raft_assets.core.identity import short_digest
from raft_assets.core.tables import Chunk, QAPair, RaftRow
from raft_assets.dataset.leakage import check_leakage
from raft_assets.dataset.rows import assemble_rows
from raft_assets.settings.domain import DatasetSettings
from raft_assets.storage.lake import Lake

SIZES = (50_000, 200_000, 1_000_000)
MEMORY_MB = 2000  # at most
WORDS = 60  # of a chunk
VOCABULARY = [f"w{number}" for number in range(30_000)]
CHUNKS_PER_DOCUMENT = 50


def main() -> None:
    """Measures and prints; a worker measures one size."""
    if sys.argv[1:2] == ["--worker"]:
        print(*_measure(int(sys.argv[2])))
        return
    before = 0.0
    for size in [int(value) for value in sys.argv[1:]] or SIZES:
        command = [sys.executable, __file__, "--worker", str(size)]
        worker = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds, cpu_seconds, rows, memory = map(float, worker.stdout.split())
        told = f"{size:,} chunks: {seconds:.0f} s ({cpu_seconds:.0f} s of CPU), {rows / seconds:,.0f} rows a second"
        ratio = f"; {cpu_seconds / rows / before:.2f} of the CPU time per row before" if before else ""
        print(f"{told}, {memory:,.0f} MB at the peak ({memory / MEMORY_MB:.2f} of what is allowed){ratio}", flush=True)
        before = cpu_seconds / rows


def _measure(size: int) -> tuple[float, float, int, float]:
    """Seconds, seconds of CPU, rows, and MB at the peak of the whole process."""
    settings = DatasetSettings()
    started, cpu_started = time.monotonic(), time.process_time()
    assembly = assemble_rows(map(_pair, _chunks(size)), _chunks(size), None, [], settings, {})
    with TemporaryDirectory() as folder:
        rows = check_leakage(assembly.rows(), [], assembly.chunks)
        written = Lake(root=folder).write(RaftRow, "benchmark", rows)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return time.monotonic() - started, time.process_time() - cpu_started, written.rows, memory


def _chunks(size: int) -> Iterator[Chunk]:
    for number in range(size):
        text = " ".join(Random(number).choices(VOCABULARY, k=WORDS))
        document, place = divmod(number, CHUNKS_PER_DOCUMENT)
        start = place * 1000
        yield Chunk(
            chunk_id=short_digest("chunk", number),
            doc_id=short_digest("document", document),
            path=f"{document}.txt",
            kind="prose",
            page_from=1, page_to=1, start=start, end=start + len(text), heading="", text=text, tokens=WORDS,
        )  # fmt: skip


def _pair(chunk: Chunk) -> QAPair:
    answer = " ".join(chunk.text.split()[:3])
    return QAPair(
        question_id=short_digest("question", chunk.chunk_id),
        chunk_id=chunk.chunk_id,
        doc_id=chunk.doc_id,
        path=chunk.path,
        question=f"What stands in {chunk.chunk_id}?", kind="what", answer=f"<ANSWER>: {answer}", final_answer=answer,
        quotes=[chunk.text], accepted=True, reason="", gates={}, question_call="", answer_call="",
    )  # fmt: skip


if __name__ == "__main__":
    main()

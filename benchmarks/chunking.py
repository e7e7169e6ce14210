"""Speed of chunking, beside a plain splitter with the same maximum, on one core.

    python benchmarks/chunking.py [FOLDER]

The documents of the folder (data/bats and the harbor handbook by default) are read once and chunked in passes; the
fastest counts, as whatever else the machine does only slows the others. The peer is semantic-text-splitter, which cuts
at the same kinds of places but knows no sections, minimum sizes or ids.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from semantic_text_splitter import TextSplitter

from raft_assets.documents.chunking import chunk_document
from raft_assets.documents.reading import ReadDocument, read_documents
from raft_assets.settings.domain import ChunkSettings
from raft_assets.settings.domains import list_documents

DATA = Path(__file__).parents[1] / "data"
FOLDERS = [DATA / "bats", DATA / "harbor handbook"]
PASSES, MEGABYTES, TARGET = 8, 2, 5.0  # passes of so many MB of text; MB a second


def main() -> None:
    """Measures and prints."""
    folders = [Path(name) for name in sys.argv[1:]] or FOLDERS
    files = [file for folder in folders for file in list_documents(folder)]
    documents = [read for read in read_documents(files) if isinstance(read, ReadDocument)]
    settings = ChunkSettings()
    splitter = TextSplitter.from_tiktoken_model("gpt-4o", settings.chunk_size)
    ours = _speed(documents, lambda document: len(chunk_document(document, settings)))
    peer = _speed(documents, lambda document: len(splitter.chunks(document.document_text)))
    print(f"chunking: {ours:.1f} MB a CPU second; at least {TARGET:.0f} ({ours / TARGET:.2f} of it)")
    print(f"semantic-text-splitter: {peer:.1f} MB a CPU second; ours is {ours / peer:.2f} times as fast")


def _speed(documents: Sequence[ReadDocument], work: Callable[[ReadDocument], int]) -> float:
    """Megabytes of text a CPU second."""
    work(documents[0])  # loads the vocabulary
    return max(_of_pass(documents, work) for _ in range(PASSES))


def _of_pass(documents: Sequence[ReadDocument], work: Callable[[ReadDocument], int]) -> float:
    done, started = 0, time.process_time()
    while done < MEGABYTES * 1e6:
        for document in documents:
            work(document)
            done += len(document.document_text.encode())
    return done / 1e6 / (time.process_time() - started)


if __name__ == "__main__":
    main()

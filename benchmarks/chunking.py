"""Speed of chunking on one core, beside plain semantic-text-splitter with the same maximum.

`python benchmarks/chunking.py`. The text is that of the shipped domains, repeated to a size (`--mb`).
"""

import argparse
import time
from pathlib import Path

from semantic_text_splitter import TextSplitter

from raft_assets.raft.chunking import chunk_document
from raft_assets.raft.files import list_documents
from raft_assets.raft.reading import ReadDocument, read_documents
from raft_assets.settings import ChunkSettings

DATA = Path(__file__).parent.parent / "data"
MB = 1_000_000


def main() -> None:
    """Prints MB of text a second and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=float, default=1, help="text to cut, MB")
    size = parser.parse_args().mb * MB
    settings = ChunkSettings()
    files = [file for folder in sorted(DATA.iterdir()) if folder.is_dir() for file in list_documents(folder)]
    read = [found for found in read_documents(files, memo=None) if isinstance(found, ReadDocument)]
    documents = list[ReadDocument]()
    while sum(len(document.document_text.encode()) for document in documents) < size:
        documents.extend(read)
    total = sum(len(document.document_text.encode()) for document in documents) / MB
    splitter = TextSplitter.from_tiktoken_model("gpt-4o", settings.chunk_size)
    chunk_document(documents[0], settings)  # loads the vocabulary

    begun = time.process_time()
    ours = sum(len(chunk_document(document, settings)) for document in documents)
    between = time.process_time()
    plain = sum(len(splitter.chunks(document.document_text)) for document in documents)
    ended = time.process_time()
    speed, peer = total / (between - begun), total / (ended - between)
    print(f"{total:.1f} MB: raft-assets {speed:.2f} MB/s a core, {ours} chunks; ", end="")
    print(f"semantic-text-splitter {peer:.2f} MB/s, {plain} chunks; ratio {speed / peer:.2f}")


if __name__ == "__main__":
    main()

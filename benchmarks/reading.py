"""Speed of reading PDFs, beside PyPDF2 on the same files, and how many words each of them finds.

    python benchmarks/reading.py [FOLDER]

The files are those of data/ by default. `raw` is the text as the library gives it, `read` is what this product makes of
it: without running headers, page numbers and reference lists, with hyphenation undone.
"""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdfium2
from PyPDF2 import PdfReader

from raft_assets.documents.readers.pdf import read_pdf

DATA = Path(__file__).parents[1] / "data"
RATIO = 10.0  # of CPU time, at least
WORD = re.compile(r"[^\W\d_]{2,}")


def main() -> None:
    """Measures and prints."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    files = sorted(folder.rglob("*.pdf"))
    contents = [file.read_bytes() for file in files]
    raw_s, raw = _measured(_raw, contents)
    read_s, read = _measured(_read, contents)
    peer_s, peer = _measured(_peer, list(map(str, files)))
    print(f"{len(files)} files, {sum(map(len, contents)) / 1e6:.1f} MB")
    print(f"raw: {raw_s:.2f} CPU s, {raw:,} words; read: {read_s:.2f} CPU s, {read:,} words")
    print(f"PyPDF2: {peer_s:.2f} CPU s, {peer:,} words")
    print(f"raw is {peer_s / raw_s:.1f} times as fast (at least {RATIO:.0f}) and finds {raw / peer:.3f} of its words")
    print(f"reading and cleaning is {peer_s / read_s:.1f} times as fast as PyPDF2's bare text")


def _measured(text_of: Callable[[Any], str], inputs: list[Any]) -> tuple[float, int]:
    started = time.process_time()
    words = sum(len(WORD.findall(text_of(one))) for one in inputs)
    return time.process_time() - started, words


def _raw(data: bytes) -> str:
    document = pypdfium2.PdfDocument(data)
    return "\n".join(page.get_textpage().get_text_bounded() for page in document)


def _read(data: bytes) -> str:
    return "\n".join(section.text for section in read_pdf(data).sections)


def _peer(file: str) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(file).pages)


if __name__ == "__main__":
    main()

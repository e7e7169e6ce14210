"""What the embedded teacher finds: the share of chunks with a question, what the gates say, and a sheet to be judged.

    python benchmarks/teacher.py                             the shipped domains
    python benchmarks/teacher.py FOLDER --sheet FILE         a folder of documents, and a sheet of wh-questions

The sheet holds randomly chosen accepted wh-pairs, one JSON object a line, with chunk, question and answer only:
somebody who knows nothing of the teacher can say of each whether it is well-formed, answerable from the chunk, right.
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

from project import materialized

from raft_assets.core.identity import draw
from raft_assets.core.tables import Chunk, QAPair
from raft_assets.settings.domains import domain_names
from raft_assets.storage.lake import Lake

SHEET_PAIRS = 120


def main() -> None:
    """Reads the command line, materializes, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of documents")
    parser.add_argument("--sheet", type=Path, help="where to write the sheet")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of pairs for the sheet")
    arguments = parser.parse_args()
    sheet: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as project:
        place = materialized(Path(project), arguments.folder, "qa_pairs")
        for domain in domain_names(place.data):
            chunks = list(Lake(root=place.lake).rows(Chunk, domain))
            pairs = list(Lake(root=place.lake).rows(QAPair, domain))
            _tell(domain, chunks, pairs)
            sheet += _sheet(chunks, pairs, arguments.seed)
    if arguments.sheet:
        arguments.sheet.write_text("".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in sheet), "utf-8")
        print(f"{len(sheet)} pairs: {arguments.sheet}")


def _tell(domain: str, chunks: list[Chunk], pairs: list[QAPair]) -> None:
    accepted = [pair for pair in pairs if pair.accepted]
    wh = [pair for pair in accepted if pair.kind != "cloze"]
    print(
        f"{domain}: {len(chunks)} chunks, {len(pairs)} pairs, {len(accepted)} accepted, {len(wh)} of them wh-questions"
    )
    asked_at_all = [pair for pair in pairs if pair.question]
    for what, of in (("a pair", asked_at_all), ("an accepted pair", accepted), ("an accepted wh-pair", wh)):
        asked = {pair.chunk_id for pair in of}
        shares = [
            f"{sum(chunk.chunk_id in asked for chunk in of_kind) / len(of_kind):.1%} of {len(of_kind)} {kind} chunks"
            for kind in sorted({chunk.kind for chunk in chunks})
            for of_kind in [[chunk for chunk in chunks if chunk.kind == kind]]
        ]
        print(f"  {what} in {', '.join(shares)}")
    print(f"  {len(wh) / len(chunks):.2f} accepted wh-pairs a chunk")
    reasons = Counter(pair.reason for pair in pairs if not pair.accepted)
    print("  rejected:", ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()) or "none")


def _sheet(chunks: list[Chunk], pairs: list[QAPair], seed: int) -> list[dict[str, str]]:
    passage_of = {chunk.chunk_id: chunk.passage for chunk in chunks}
    chosen = sorted(
        (pair for pair in pairs if pair.accepted and pair.kind != "cloze"),
        key=lambda pair: draw(seed, pair.question_id, "sheet"),
    )
    return [
        {"chunk": passage_of[pair.chunk_id], "question": pair.question, "answer": pair.final_answer}
        for pair in chosen[:SHEET_PAIRS]
    ]


if __name__ == "__main__":
    main()

"""The data card of a dataset: what it was made of, how, how much resulted, and what it can't be used for.

The card is a record; `render_card` is the same for people. All text from documents or names is inert there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raft_assets.core.languages import ENGLISH, name_of_code
from raft_assets.core.markdown import code_span, table_lines
from raft_assets.core.tables import (
    PAGED_KINDS,
    Chunk,
    GoldenQuestion,
    QAPair,
    QuarantinedFile,
    RaftRow,
    RefusedChunk,
    SourceDocument,
)
from raft_assets.dataset.card_head import card_head
from raft_assets.dataset.manifest import Manifest
from raft_assets.documents.readers.left_out import (
    ReadingLoss,
    count_words,
    describe_ocr,
    describe_reason,
    left_out_by_reason,
)
from raft_assets.pairs.gates import REASONS
from raft_assets.settings.endpoints import EMBEDDED_LABEL

CARD_FILE, CARD_JSON_FILE, MANIFEST_FILE = "DATA_CARD.md", "data_card.json", "manifest.json"
CARD_VERSION = "3"  # changes whenever the same dataset gives another card

Card = dict[str, Any]
LICENCE = (
    "Not stated: what applies to the documents applies to the rows, which hold passages of them word for word. "
    "Whoever passes the data set on needs the right to pass the documents on, and that of the teacher's service."
)


def build_card(
    manifest: Manifest,
    *,
    documents: Iterable[SourceDocument],
    quarantine: Iterable[QuarantinedFile],
    chunks: Iterable[Chunk],
    golden: Iterable[GoldenQuestion],
    pairs: Iterable[QAPair],
    rows: Iterable[RaftRow],
    training: Mapping[str, Any],
    student: str,
    refused: Sequence[RefusedChunk] = (),
) -> Card:
    """Return the card; tables are read once, a row at a time.

    `training`: the lake's record of the training files, which are written for the model `student`. `refused`: chunks
    without a vector.
    """
    sources = _describe_sources(documents)
    losses = [
        ReadingLoss(source["path"], source["words"], source["left_out"], source.get("scanned", {}))
        for source in sources
    ]
    left_out = left_out_by_reason(losses)
    quarantined = [{"path": file.path, "reason": file.reason} for file in quarantine]
    tokens: list[int] = []
    document_of: dict[str, str] = {}
    languages: Counter[str] = Counter()
    for chunk in chunks:
        tokens.append(chunk.tokens)
        languages[chunk.language or ENGLISH] += 1
        document_of[chunk.chunk_id] = chunk.doc_id
    reasons: Counter[str] = Counter()
    imported = 0
    for pair in pairs:
        reasons[pair.reason or "accepted"] += 1
        imported += pair.is_imported
    splits = {split: Counter[str]() for split in ("train", "valid", "eval")}
    kinds = {split: Counter[str]() for split in splits}
    distractors: Counter[str] = Counter()  # of train and valid rows, by document
    evaluated: set[str] = set()
    for row in rows:
        splits[row.split].update({"rows": 1, "without_oracle": not row.has_oracle})
        kinds[row.split][row.kind] += 1
        if row.split == "eval":
            evaluated.add(row.doc_id)
        else:
            distractors.update(document_of.get(name, "") for name in row.document_chunk_ids if name != row.chunk_id)
    answerable = Counter(question.answerable for question in golden)
    card = manifest.model_dump(include={"domain", "settings", "versions", "packages", "digests"})
    return card | {
        "models": manifest.models | {"STUDENT": student},
        "sources": [source | {"sha256": manifest.files.get(source["path"], "")} for source in sources],
        "quarantine": quarantined,
        "counts": {
            "documents": len(sources),
            "pages": sum(source["pages"] for source in sources),
            "sections": sum(source["sections"] for source in sources),
            "words": sum(loss.words for loss in losses),
            "words_left_out": left_out.total(),
            "words_left_out_by_reason": dict(left_out.most_common()),
            "chunks": len(tokens),
            "chunk_tokens": sum(tokens),
            **({"chunks_without_vector": len(refused)} if refused else {}),
            "pairs": reasons.total(),
            "pairs_imported": imported,
            "languages": dict(languages.most_common()),
            "pairs_by_gate": dict(reasons.most_common()),
            "golden_questions": answerable.total(),
            "golden_questions_answerable": answerable[True],
            "rows": {split: counts["rows"] for split, counts in splits.items()},
            "rows_without_oracle": {split: counts["without_oracle"] for split, counts in splits.items()},
            "rows_by_question_type": {split: dict(counts.most_common()) for split, counts in kinds.items()},
            "distractors_in_training": distractors.total(),
            "distractors_from_evaluation_documents": sum(distractors[document] for document in evaluated),
            "training_tokens": {split: training[split]["tokens"] for split in ("train", "valid")},
            "rows_too_long": {split: len(training[split]["too_long"]) for split in ("train", "valid")},
        },
        "tokenizer": training["tokenizer"],
        "split_unit": manifest.splits["unit"],
        "dropped_at_the_split": manifest.splits["dropped"],
        "shared_text": manifest.splits.get("shared_text", {}),
        "licence": LICENCE,
        "limits": list(
            _known_limits(manifest, quarantined, refused, imported, answerable.total(), losses, kinds["train"])
        ),
    }


def render_card(card: Card) -> list[str]:
    """Return the card as lines of Markdown, with the head of a Hugging Face dataset card."""
    counts, columns = card["counts"], ("path", "kind", "pages", "sections", "words", "sha256")
    amounts = {name.replace("_", " "): value for name, value in counts.items() if isinstance(value, int)}
    verdicts = [
        {"verdict": reason, "pairs": count, "meaning": REASONS.get(reason, "Every gate passed.")}
        for reason, count in counts["pairs_by_gate"].items()
    ]
    splits = [
        {
            "split": split,
            "rows": rows,
            "without oracle": counts["rows_without_oracle"][split],
            "question types": ", ".join(
                f"{kind} {count:,}" for kind, count in counts["rows_by_question_type"][split].items()
            ),
            "training tokens": counts["training_tokens"].get(split, 0),
            "too long": counts["rows_too_long"].get(split, 0),
        }
        for split, rows in counts["rows"].items()
    ]
    return [
        *card_head(card),
        "",
        f"# Data card: {code_span(card['domain'])}",
        "",
        "Questions with documents and chain-of-thought answers, for retrieval augmented fine-tuning "
        "(RAFT, arXiv 2403.10131). Digest of the rows: " + code_span(card["digests"]["qa_dataset"]),
        *_section("Amounts", table_lines([{"what": name, "count": count} for name, count in amounts.items()])),
        *_section(
            "Rows",
            [
                *table_lines(splits),
                "",
                (
                    f"Splits share no {code_span(card['split_unit'])}. Tokens are counted by "
                    f"{code_span(card['tokenizer'])}."
                ),
            ],
        ),
        *_section("Shared text", list(_shared_text_lines(card["shared_text"]))),
        *_section("Quality gates", table_lines(verdicts)),
        *_section(
            "Sources",
            table_lines(
                [{name.replace("_", " "): source[name] for name in columns} for source in card["sources"]],
            ),
        ),
        *_section(
            "Languages",
            table_lines([{"language": name_of_code(code), "chunks": n} for code, n in counts["languages"].items()]),
        ),
        *_section("Files that could not be read", table_lines(card["quarantine"])),
        *_section("Words left out", table_lines(_left_out_rows(card))),
        *_section("Models", table_lines([{"role": role, "model": model} for role, model in card["models"].items()])),
        *_section(
            "Versions",
            table_lines(_version_rows(card["versions"], "code") + _version_rows(card["packages"], "package")),
        ),
        *_section(
            "Settings", table_lines([{"setting": name, "value": value} for name, value in _flatten(card["settings"])])
        ),
        *_section("Licence", [card["licence"]]),
        *_section("Known limits", [f"- {limit}" for limit in card["limits"]]),
        "",
    ]


def _shared_text_lines(shared: Mapping[str, Any]) -> Iterator[str]:
    """Yield what passages share: text that holds units together, or that would, if it were not everywhere."""
    if not shared:
        yield "Not counted: the rows were made by an earlier version."
        return
    yield (
        f"{shared['chunks_that_share_text']:,} chunks share text with another one (half of the smaller, some lines, or "
        "a long sentence) and have no rows on both sides of evaluation. "
        f"{shared['boilerplate_share']:.1%} of the text is in more than three documents: it counts as boilerplate and "
        "joins nothing."
    )
    if shared["joins_not_made"]:
        yield ""
        yield (
            f"{shared['joins_not_made']:,} passages share text with a unit that would be above a fifth of all chunks: "
            "they don't share its split, and lose the rows that the other split has as well."
        )
    for unit in shared["large_units"]:
        joins = "; ".join(map(code_span, unit["joined_by"]))
        yield ""
        yield f"{unit['share_of_chunks']:.0%} of the chunks are one unit, {code_span(unit['unit'])}, joined by: {joins}"


def _describe_sources(documents: Iterable[SourceDocument]) -> list[dict[str, Any]]:
    """Return a record per document, in order."""
    sources: dict[str, dict[str, Any]] = {}
    for page in documents:
        empty = {
            "path": page.path,
            "kind": page.kind,
            "pages": 0,
            "sections": 0,
            "characters": 0,
            "words": 0,
            "left_out": dict(page.left_out),
            **({"scanned": dict(page.scanned)} if page.scanned else {}),
        }
        source = sources.setdefault(page.path, empty)
        source["pages" if page.kind in PAGED_KINDS else "sections"] += 1
        source["words"] += count_words(page.text)
        source["characters"] += len(page.text)
    return list(sources.values())


def _left_out_rows(card: Card) -> list[dict[str, Any]]:
    """Return a row per document and reason, with the share in all words of the file."""
    losses = (ReadingLoss(source["path"], source["words"], source["left_out"]) for source in card["sources"])
    return [
        {
            "path": loss.path,
            "reason": describe_reason(reason),
            "words": words,
            "share": f"{loss.share(reason):.1%}",
            "unusual": "yes" if reason in loss.unusual else "",
        }
        for loss in losses
        for reason, words in loss.left_out.items()
    ]


def _known_limits(  # noqa: PLR0917 - what the card is made of
    manifest: Manifest,
    quarantined: Sequence[object],
    refused: Sequence[RefusedChunk],
    imported: int,
    golden: int,
    losses: Sequence[ReadingLoss],
    trained_kinds: Counter[str],
) -> Iterator[str]:
    yield (
        "Questions are generated from the passage that answers them and resemble it: a model looks better on them than "
        "on questions that people ask."
    )
    if manifest.models["TEACHER"].startswith("embedded"):
        yield f"The teacher is the {EMBEDDED_LABEL}: answers are spans of one sentence, nothing is inferred."
    else:
        yield (
            "The teacher is a language model, which may be wrong in ways that no gate sees, and answers otherwise when "
            "it is asked again: to build the same rows its stored answers are needed."
        )
    yield (
        "Gates judge words, not truth: what is wrong in a document is right here. Gates of pronouns and of words that "
        "point at a text know English only; in other languages they are off."
    )
    if trained_kinds["cloze"] * 2 > trained_kinds.total():
        yield (
            f"{trained_kinds['cloze']:,} of {trained_kinds.total():,} training rows are fill-in questions (cloze), "
            "which people don't ask."
        )
    yield "Nothing was removed from the documents: names and other personal data in them are in the rows."
    if not golden:
        yield "There are no questions written by people, so nothing here says how the data set serves real ones."
    if imported:
        yield f"{imported:,} pairs were made by another tool; how is not known here."
    if quarantined:
        yield f"{len(quarantined):,} files could not be read and are not in the rows."
    if refused:
        reason, count = Counter(chunk.reason for chunk in refused).most_common(1)[0]
        yield (
            f"{len(refused):,} chunks have no vector, because the service refuses them ({count:,} of them: "
            f"{code_span(reason)}): retrieval never returns them, and they are no hard negatives."
        )
    if ocr := describe_ocr(losses):
        yield ocr
    yield from filter(None, (replace(loss, path=code_span(loss.path)).warning for loss in losses))


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _version_rows(versions: Mapping[str, str], kind: str) -> list[dict[str, str]]:
    return [{"of": kind, "name": name, "version": version} for name, version in versions.items()]


def _flatten(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for group, values in settings.items():
        for name, value in values.items():
            yield f"{group}.{name}", "null" if value is None else str(value)

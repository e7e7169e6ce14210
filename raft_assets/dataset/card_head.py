"""The head of the data card, by which it is a Hugging Face dataset card.

Source: datasetcard.md of github.com/huggingface/hub-docs; the sizes are those of `DatasetCardData` of huggingface_hub.
"""

from collections.abc import Mapping
from typing import Any

from raft_assets.core.front_matter import PRODUCT_TAG, front_matter, main_languages, plain_name, without_front_matter
from raft_assets.core.markdown import code_span

README = "README.md"  # the name by which the Hub and `datasets.load_dataset` find a card
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_LARGEST = "10M<n<100M"


def card_head(card: Mapping[str, Any], *, files: Mapping[str, str] | None = None, licence: str = "") -> list[str]:
    """Return the lines of the head.

    `card`: the record of the data card, of any version. `files`: the rows that lie beside the card, by the name of
    their split. `licence`: the identifier of the licence under which the user passes the data set on.
    """
    counts = card["counts"]
    languages = main_languages(counts.get("languages", {}))
    beside = [{"split": split, "path": path} for split, path in (files or {}).items()]
    return front_matter(
        {
            "pretty_name": plain_name(f"Questions and answers about {card['domain']}"),
            "language": languages,
            "license": licence,
            "task_categories": ["question-answering", "text-generation"],
            "size_categories": [_size(sum(counts["rows"].values()))],
            "annotations_creators": ["machine-generated"],
            "language_creators": ["found", "machine-generated"],
            "multilinguality": [("multilingual" if len(languages) > 1 else "monolingual")] if languages else [],
            "source_datasets": ["original"],
            "tags": [PRODUCT_TAG, "raft", "retrieval-augmented-generation"],
            "configs": [{"config_name": "default", "data_files": beside}] if beside else [],
        }
    )


def exported_card(text: str, card: Mapping[str, Any], *, files: Mapping[str, str], licence: str = "") -> str:
    """Return the data card as it lies beside an export of its rows; see `card_head`."""
    body = without_front_matter(text)
    if licence:
        body = body.replace(card["licence"], f"{code_span(licence)}, as stated when it was exported.", 1)
    return "\n".join((*card_head(card, files=files, licence=licence), body))


def _size(rows: int) -> str:
    return next((name for most, name in _SIZES if rows < most), _LARGEST)

"""The model card of a student: what it is for, what it was trained on, how it did, and how to be rid of it.

What belongs here: the card's words, from a record. It shows no text and no name of a document. Names of models and
domains are inert in it. Source of its form: modelcard.md of github.com/huggingface/hub-docs.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from raft_assets.core.front_matter import PRODUCT_TAG, front_matter, hub_id, main_languages, plain_name
from raft_assets.core.languages import name_of_code
from raft_assets.core.markdown import code_span, table_lines
from raft_assets.evaluation.verdict import WHOSE, Guard, Verdict
from raft_assets.evaluation.wording import format_percent, format_points
from raft_assets.settings.endpoints import EMBEDDED_LABEL

if TYPE_CHECKING:
    import pandas as pd

# metrics of an answer, by the identifiers of https://huggingface.co/metrics
HUB_METRICS: Mapping[str, tuple[str, str]] = {
    "token_f1": ("f1", "Token F1"),
    "exact_match": ("exact_match", "Exact match"),
    "rouge_l": ("rouge", "ROUGE-L"),
    "bleu": ("bleu", "BLEU"),
    "chrf": ("chrf", "chrF"),
}
TABLED_METRICS = ("token_f1", "exact_match", "abstained_right", "well_formed")
INDEXED_ARMS = ("main", "retrieved")
ARM_WORDS = {
    "main": "the passage with the answer among distractors",
    "retrieved": "the nearest passages of the domain",
    "distractors_only": "no passage with the answer, so abstaining is right",
}
PROTOCOLS = {
    "unseen_passages": "Passages of people's questions were held out of training.",
    "seen_passages": "Passages of people's questions were in training, with other questions (dataset.protocol).",
}


@dataclass(frozen=True)
class TrainingRows:
    """The rows that a student was trained on, counted: by split, those of `train` by question type and language."""

    rows: Mapping[str, int]
    without_oracle: int
    kinds: Mapping[str, int]
    languages: Mapping[str, int]


@dataclass(frozen=True)
class StudentEvaluation:
    """The latest evaluation of the student; `run` is its id in the results store, `summary` has `SUMMARY_COLUMNS`."""

    run: str
    recorded_at: datetime
    baseline_model: str
    protocol: str
    verdict: Verdict
    summary: pd.DataFrame


@dataclass(frozen=True)
class StudentCard:
    """A student as its card shows it.

    `service` is where it was trained, `address` where it answers (empty before it is deployed) and `served_as` its name
    there, `is_hosted` whether it has a deployment of its own. `job` is empty for a model that the user fine-tuned
    elsewhere. `digests` lead to its data by name, `training` is None where the rows are not known. `licence`: that of
    its base model by the Hub's identifier, empty where none is known. `travels`: what must travel with the student, as
    far as the licences of base model and teacher are known.
    """

    domain: str
    model: str
    base_model: str
    service: str
    address: str
    served_as: str
    is_embedded: bool
    is_hosted: bool
    job: str
    hyperparameters: Mapping[str, Any]
    trained_tokens: int | None
    digests: Mapping[str, str]
    licence: str
    teacher: str
    teacher_terms: str
    travels: Sequence[str]
    training: TrainingRows | None
    evaluation: StudentEvaluation | None


def render_model_card(card: StudentCard) -> list[str]:
    """Return the card as lines of Markdown, with the head of a Hugging Face model card."""
    return [
        *front_matter(_metadata(card)),
        "",
        f"# Model card: {code_span(card.model)}",
        "",
        _describe_student(card),
        *_section("Intended use", _intended_use(card)),
        *_section("Where it answers", _where(card)),
        *_section("Training data", _training_data(card)),
        *_section("Training", _training(card)),
        *_section("Evaluation", _evaluation(card.evaluation)),
        *_section("Limits", [f"- {limit}" for limit in _limits(card)]),
        *_section("Licence", _licence(card)),
        *_section("How to remove it", _removal(card)),
        "",
    ]


def _metadata(card: StudentCard) -> dict[str, Any]:
    """Return the head. Ids have the Hub's form; that nothing was uploaded there is said in the text."""
    languages = main_languages(card.training.languages) if card.training else []
    return {
        "language": ["en"] if card.is_embedded else languages,
        "license": card.licence,
        "base_model": hub_id(card.base_model),
        "datasets": [_dataset_id(card)] if card.job else [],
        "pipeline_tag": "question-answering" if card.is_embedded else "text-generation",
        "tags": [PRODUCT_TAG, "raft", "retrieval-augmented-generation", "fine-tuned"],
        **(_model_index(card, card.evaluation) if card.evaluation else {}),
    }


def _dataset_id(card: StudentCard) -> str:
    return hub_id(f"raft-assets-{card.domain.replace('/', '-')}")


def _model_index(card: StudentCard, evaluation: StudentEvaluation) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    for source, whose in WHOSE.items():
        for arm in INDEXED_ARMS:
            rows = _rows_of(evaluation.summary, source, arm, tuple(HUB_METRICS))
            if not rows:
                continue
            results.append(
                {
                    "task": {"type": "question-answering", "name": "Question answering from retrieved documents"},
                    "dataset": {
                        "type": _dataset_id(card),
                        "name": plain_name(f"{card.domain}, {whose}, {ARM_WORDS[arm]}"),
                        "config": f"{source}-{arm}",
                        "split": "test",
                        "args": {"questions": int(rows[0]["n"]), "passages": int(rows[0]["clusters"])},
                    },
                    "metrics": [
                        {
                            "type": HUB_METRICS[row["metric"]][0],
                            "value": round(row["student"] * 100, 1),
                            "name": f"{HUB_METRICS[row['metric']][1]}, per cent",
                        }
                        for row in rows
                    ],
                }
            )
    if not results:
        return {}
    metrics = dict.fromkeys(metric["type"] for result in results for metric in result["metrics"])
    return {"metrics": list(metrics), "model-index": [{"name": plain_name(card.model), "results": results}]}


def _rows_of(summary: pd.DataFrame, source: str, arm: str, metrics: Sequence[str]) -> list[dict[Hashable, Any]]:
    chosen = summary[(summary["source"] == source) & (summary["arm"] == arm) & summary["metric"].isin(metrics)]
    return [row for row in chosen.to_dict("records") if not math.isnan(row["student"])]


def _describe_student(card: StudentCard) -> str:
    kind = (
        "an extractive reader of English and no language model" if card.is_embedded else "a fine-tuned language model"
    )
    told = f"The student of the domain {code_span(card.domain)}, {kind}, made by RAFT (arXiv 2403.10131)."
    if card.evaluation is None:
        return f"{told} **It is not evaluated yet**: nothing is known of how it answers."
    return f"{told} {card.evaluation.verdict.sentence}"


def _intended_use(card: StudentCard) -> Iterator[str]:
    yield (
        f"It answers questions about {code_span(card.domain)} from documents that are shown with each question, in the "
        "prompt format of RAFT: it reasons, quotes word for word, and ends in `<ANSWER>:`. It abstains where no "
        "document shown holds the answer."
    )
    yield ""
    yield (
        "It is not meant to answer without documents, to answer about other subjects, or to decide anything about "
        "people unsupervised."
    )


def _where(card: StudentCard) -> list[str]:
    if not card.address:
        return ["It is not deployed."]
    served = " `raft serve` answers under this name on 127.0.0.1." if card.is_embedded else ""
    return [f"At {code_span(card.address)}, as the model {code_span(card.served_as)}.{served}"]


def _training_data(card: StudentCard) -> Iterator[str]:
    if not card.job:
        yield "It was fine-tuned elsewhere: what it was trained on is not known here."
        return
    yield (
        "Questions and chain-of-thought answers of a teacher about the domain's documents; the data card "
        "(`DATA_CARD.md`) describes them. Hashes: "
        + (", ".join(f"{name} {code_span(value)}" for name, value in card.digests.items() if value) or "unknown")
        + "."
    )
    yield ""
    if card.training is None:
        yield "The rows that it was trained on are not in the lake, or not on record, so they are not counted here."
    else:
        rows = card.training
        yield (
            f"{rows.rows.get('train', 0):,} rows were trained on, {rows.rows.get('valid', 0):,} validated, "
            f"{rows.rows.get('eval', 0):,} held out; {rows.without_oracle:,} of the first show no document with the "
            "answer."
        )
        yield ""
        yield from table_lines([{"question type": kind, "rows": count} for kind, count in rows.kinds.items()])
        yield ""
        languages = (f"{name_of_code(code)} {count:,}" for code, count in rows.languages.items())
        yield f"Languages of these rows: {', '.join(languages)}."
    yield ""
    yield f"Teacher: {code_span(card.teacher)}. {card.teacher_terms}"


def _training(card: StudentCard) -> list[str]:
    known = {"base model": card.base_model, "service": card.service, "job": card.job or "none"}
    tokens = {} if card.trained_tokens is None else {"trained tokens": f"{card.trained_tokens:,}"}
    chosen = {name.replace("_", " "): value for name, value in card.hyperparameters.items()}
    return table_lines([{"what": name, "value": str(value)} for name, value in (known | tokens | chosen).items()])


def _evaluation(evaluation: StudentEvaluation | None) -> Iterator[str]:
    if evaluation is None:
        yield "Not evaluated yet."
        return
    verdict = evaluation.verdict
    has_golden = "golden" in set(evaluation.summary["source"])
    protocol = f" {PROTOCOLS[evaluation.protocol]}" if has_golden else ""
    yield verdict.sentence
    yield ""
    yield (
        f"Compared with {code_span(evaluation.baseline_model)} on {evaluation.recorded_at:%Y-%m-%d} (evaluation "
        f"{code_span(evaluation.run)}). It was decided {WHOSE[verdict.slice]}: {verdict.n:,} about "
        f"{verdict.clusters:,} passages"
        + (f" of {verdict.documents:,} documents" if verdict.documents else "")
        + f".{protocol} Intervals are of the paired difference, 95 %, by a bootstrap that resamples whole passages; "
        "figures are per cent."
    )
    for source, whose in WHOSE.items():
        for arm, words in ARM_WORDS.items():
            metrics = TABLED_METRICS if arm in INDEXED_ARMS else ("abstained_right",)
            if rows := _rows_of(evaluation.summary, source, arm, metrics):
                yield from ("", f"{whose.capitalize()}; shown: {words}.", "", *table_lines(map(_figures, rows)))
    yield ""
    yield from (f"- {_describe_guard(guard)}" for guard in verdict.guards)
    yield from (f"- {code_span(reason)}" for reason in verdict.reasons)


def _figures(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    interval = "–" if math.isnan(row["low"]) else f"{format_points(row['low'])} to {format_points(row['high'])}"
    return {
        "metric": HUB_METRICS.get(row["metric"], ("", row["metric"].replace("_", " ")))[1],
        "base model": format_percent(row["baseline"]),
        "student": format_percent(row["student"]),
        "difference": format_points(row["difference"]),
        "95 % interval": interval,
        "without a model": format_percent(row["reference"]),
        "questions": int(row["n"]),
        "passages": int(row["clusters"]),
    }


def _describe_guard(guard: Guard) -> str:
    interval = guard.interval
    measured = f"{format_points(interval.low)} to {format_points(interval.high)} points" if interval else "not measured"
    return f"{guard.name} {'is worse than allowed' if guard.violated else 'is not worse than allowed'}: {measured}"


def _limits(card: StudentCard) -> Iterator[str]:
    if card.is_embedded:
        yield f"It is of the {EMBEDDED_LABEL}: its answers are spans of one sentence, and it infers nothing."
    else:
        yield "It is a language model: it may state with confidence what no document says."
    yield (
        "What is wrong in a document is right for it. What the documents that it was trained on contain, names and "
        "other personal data included, it may repeat."
    )
    if card.evaluation is None:
        yield "How it answers was never measured."
        return
    if card.evaluation.verdict.slice == "generated":
        yield "It was measured on questions that its own teacher wrote; how it serves people's questions is unknown."
    if card.evaluation.verdict.decision == "cannot tell":
        yield "Whether it is better than its base model is not known."
    yield "It was measured on the documents of its domain alone."


def _licence(card: StudentCard) -> Iterator[str]:
    if card.licence:
        yield (
            f"Its base model is under {code_span(card.licence)}, and so is what was made from it. What applies to the "
            "documents, and the terms of the teacher, apply besides."
        )
    else:
        yield (
            "Not stated: no licence of its base model is known here. What applies to the documents, and the terms of "
            "the teacher, apply as well."
        )
    if card.travels:
        yield f"Whoever hands it on hands on with it, as we read the licences: {'; '.join(card.travels)}."


def _removal(card: StudentCard) -> Iterator[str]:
    if not card.job:
        yield "It is not a model of this project: delete it where it was fine-tuned."
        return
    domain = shlex.quote(card.domain)
    if card.is_hosted:
        yield f"{code_span(f'raft teardown {domain}')} deletes its deployment, which costs money; the model stays."
        yield ""
    yield (
        f"{code_span(f'raft purge {domain} --students')} deletes the model with its deployments and files at the "
        "service, and everything else that was made from the domain; your documents stay."
    )


def _section(title: str, lines: Iterator[str] | Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]

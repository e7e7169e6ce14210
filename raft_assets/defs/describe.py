"""What assets show in the catalog: schemas, counts, samples, plots and cost, each built by a function with a name.

Text from documents and models is untrusted: here it is made inert before it becomes Markdown.
"""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from raft_assets.core.markdown import code_span
from raft_assets.core.tables import QAPair, Row
from raft_assets.documents.readers.left_out import ReadingLoss, describe_reason
from raft_assets.evaluation.examples import Sample, Segment
from raft_assets.evaluation.plots import data_uri, histogram, interval_bars, line
from raft_assets.evaluation.verdict import PRIMARY_ARM, Verdict
from raft_assets.llm.requests import UsageStats
from raft_assets.pairs.gates import OFF, PASS, REASONS
from raft_assets.storage.lake import WriteResult, arrow_schema

if TYPE_CHECKING:
    import pandas as pd

Metadata = dict[str, Any]
MAX_SAMPLE_ROWS = 5
MAX_CELL_CHARACTERS = 240
SCORED_METRICS = ("token_f1", "exact_match", "well_formed", "abstained_right")
SCORE_COLUMNS = ["source", "arm", "metric", "n", "baseline", "student", "difference", "low", "high"]


def describe_table(
    written: WriteResult, model: type[Row], *, columns: Sequence[str], shown: Sequence[Row] | None = None
) -> Metadata:
    """Return schema, row count, address and a readable sample of some columns."""
    return {
        "dagster/column_schema": column_schema(model),
        "dagster/row_count": written.rows,
        "path": dg.MetadataValue.path(written.address),
        "sample": markdown_table((written.sample if shown is None else shown)[:MAX_SAMPLE_ROWS], columns),
    }


def column_schema(model: type[Row]) -> dg.TableSchema:
    """Return the row model as the catalog's table schema: columns that people read first, keys and hashes last."""
    columns = [
        # the catalog renders a description as Markdown, in which `<ANSWER>` would be a tag that nobody sees
        dg.TableColumn(field.name, str(field.type), description=html.escape(_description(field), quote=False))
        for field in arrow_schema(model)
    ]
    return dg.TableSchema(sorted(columns, key=lambda column: _is_key(column.name)))


def _description(field: pa.Field[Any]) -> str:
    return (field.metadata or {}).get(b"description", b"").decode()


def _is_key(column: str) -> bool:
    """Whether a column holds what leads to other rows, rather than what a person reads."""
    return column.endswith(("_id", "_ids", "_hash", "_call", "_chunk_ids")) or column in ("call", "cluster", "unit")


def markdown_table(rows: Iterable[Row | Mapping[str, Any]], columns: Sequence[str]) -> dg.MarkdownMetadataValue:
    """Rows as a Markdown table of inert text."""
    contents = [row.model_dump() if isinstance(row, Row) else row for row in rows]
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    return dg.MetadataValue.md(
        head + "\n".join(f"| {' | '.join(escape_markdown(row[column]) for column in columns)} |" for row in contents)
    )


def escape_markdown(value: Any) -> str:
    """Return a value as one Markdown cell that can't be markup."""
    text = " ".join((", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)).split())
    text = text if len(text) <= MAX_CELL_CHARACTERS else text[: MAX_CELL_CHARACTERS - 1] + "…"
    escaped = html.escape(text, quote=False)
    for character in "\\`*_[]|#!":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped


def counts_table(counts: Mapping[str, int], name: str) -> dg.MarkdownMetadataValue:
    """Return counts by name, largest first."""
    return markdown_table(
        [{name: key, "count": count} for key, count in Counter(counts).most_common()], [name, "count"]
    )


def losses_table(losses: Iterable[ReadingLoss], limit: int) -> dg.MarkdownMetadataValue:
    """Return what documents leave out, those with the largest share first, and which shares are unusual."""
    rows = [
        {
            "document": loss.path,
            "words": loss.words,
            "left out": loss.total,
            "share": f"{loss.total_share:.1%}",
            "reasons": ", ".join(f"{describe_reason(reason)} {loss.left_out[reason]}" for reason in loss.left_out),
            "unusual": ", ".join(map(describe_reason, loss.unusual)),
        }
        for loss in sorted(losses, key=lambda loss: -loss.total_share)
        if loss.total
    ]
    return markdown_table(rows[:limit], ["document", "words", "left out", "share", "reasons", "unusual"])


def plot_metadata(svg: str) -> dg.MarkdownMetadataValue:
    """Return a plot that the UI shows in place."""
    return dg.MetadataValue.md(f"![plot]({data_uri(svg)})")


def token_histogram(tokens: Sequence[int], title: str) -> dg.MarkdownMetadataValue:
    """Distribution of lengths in tokens."""
    return plot_metadata(histogram(list(tokens), title=title, x_label="tokens", standalone=True))


def pairs_histogram(pairs_per_chunk: Sequence[int]) -> dg.MarkdownMetadataValue:
    """How often which number of accepted pairs came of a chunk."""
    return plot_metadata(
        histogram(list(pairs_per_chunk), title="Accepted pairs per chunk", x_label="pairs", standalone=True)
    )


def sample_with_quotes(samples: Iterable[Sample]) -> dg.MarkdownMetadataValue:
    """Questions with the answer and the oracle that holds it; quotes and answers in it are bold."""
    blocks = [
        f"**{escape_markdown(sample.title)}** {_highlight(sample.text.final_answer.segments)}\n\n"
        + "\n\n".join(f"> {_highlight(shown.excerpt.segments)}" for shown in sample.documents if shown.is_oracle)
        for sample in list(samples)[:MAX_SAMPLE_ROWS]
    ]
    return dg.MetadataValue.md("\n\n".join(blocks) or "None.")


def _highlight(segments: Iterable[Segment]) -> str:
    return " ".join(
        f"**{text}**" if segment.mark else text for segment in segments if (text := escape_markdown(segment.text))
    )


def describe_verdict(verdict: Verdict, summary: pd.DataFrame) -> Metadata:
    """Return the verdict with its reasons, the table of scores, and plots of baseline and student."""
    scores = summary[summary["metric"].isin(SCORED_METRICS)].round(3)
    return {
        "verdict": verdict.sentence,
        **verdict_figures(verdict, summary),
        "reasons": dg.MetadataValue.md(
            "\n".join(f"- {escape_markdown(reason)}" for reason in verdict.reasons) or "None."
        ),
        "scores": markdown_table(
            [{str(name): value for name, value in row.items()} for row in scores.to_dict("records")], SCORE_COLUMNS
        ),
        **{
            f"plot_{metric}": plot_metadata(interval_bars(summary, title=title, metric=metric, standalone=True))
            for metric, title in (
                ("token_f1", "Token F1 of baseline and student"),
                ("exact_match", "Exact match of baseline and student"),
            )
        },
    }


def verdict_figures(verdict: Verdict, summary: pd.DataFrame) -> Metadata:
    """Return the figures of a verdict as numbers, which the UI plots over runs and domains; unknown ones are absent."""
    main = summary[(summary["arm"] == PRIMARY_ARM) & (summary["source"] == verdict.slice)]
    exact = main[main["metric"] == "exact_match"]["student"]
    figures = {
        f"student_{verdict.metric}": verdict.student,
        f"{verdict.against.replace(' ', '_')}_{verdict.metric}": verdict.baseline,
        "difference": verdict.interval.mean if verdict.interval else None,
        "low": verdict.interval.low if verdict.interval else None,
        "high": verdict.interval.high if verdict.interval else None,
        "exact_match": exact.iloc[0] if len(exact) else None,
        "questions": verdict.n,
        "clusters": verdict.clusters,
    }
    known = {name: float(value) for name, value in figures.items() if value is not None}
    return {name: value for name, value in known.items() if math.isfinite(value)}


def loss_plot(loss: Sequence[tuple[int, float | None, float | None]]) -> dg.MarkdownMetadataValue:
    """Loss of training and validation by step."""
    steps, train, valid = zip(*loss, strict=True)
    return plot_metadata(
        line(
            steps,
            {"train": train, "valid": valid},
            title="Loss by training step",
            x_label="step",
            y_label="loss",
            standalone=True,
        )
    )


def describe_calls(tally: UsageStats) -> Metadata:
    """Return what the calls were: made, taken from the store, tokens, US dollars."""
    return {
        "calls_made": tally.calls,
        "calls_from_store": tally.from_store,
        "calls_failed": tally.failures,
        "input_tokens": tally.usage.input_tokens,
        "output_tokens": tally.usage.output_tokens,
        "us_dollars": round(tally.dollars, 6),
        **({"calls_of_unknown_price": tally.unpriced} if tally.unpriced else {}),
        **({"calls_of_estimated_tokens": tally.usage.estimated} if tally.usage.estimated else {}),
    }


class PairCounts:
    """What the catalog shows of pairs, counted while they pass; `reviews`: ids of the pairs that people reviewed."""

    def __init__(self, reviews: Iterable[str]) -> None:
        self.total = self.accepted = self.reviewed = 0
        self.reviews_without_pair = set(reviews)
        self.sample: list[QAPair] = []  # of the accepted
        self.rejected_sample: list[QAPair] = []
        self.per_chunk: Counter[str] = Counter()  # accepted pairs
        self.kinds: Counter[str] = Counter()  # likewise
        self.reasons: Counter[str] = Counter()
        self.gates: Counter[tuple[str, str]] = Counter()  # gate and verdict

    def count(self, pairs: Iterable[QAPair]) -> Iterator[QAPair]:
        """Yield the pairs, and count each."""
        for pair in pairs:
            self.total += 1
            self.accepted += pair.accepted
            self.reviewed += "review" in pair.gates
            self.reviews_without_pair.discard(pair.question_id)
            self.gates.update(pair.gates.items())
            sample = self.sample if pair.accepted else self.rejected_sample
            if len(sample) < MAX_SAMPLE_ROWS:
                sample.append(pair)
            if pair.accepted:
                self.per_chunk[pair.chunk_id] += 1
                self.kinds[pair.kind] += 1
            else:
                self.reasons[pair.reason] += 1
            yield pair


def describe_gates(counts: PairCounts, written: WriteResult) -> Metadata:
    """Why pairs were rejected: counts with their meaning, a sample, and where all of them are to be read."""
    query = f"select * from '{written.address}' where not accepted"  # noqa: S608 - shown to people, run by nobody here
    failed: Counter[str] = Counter()
    off: Counter[str] = Counter()
    for (gate, verdict), count in counts.gates.items():
        if verdict == OFF:
            off[gate] += count
        elif verdict != PASS:
            failed[verdict] += count
    return {
        **({"gates_off_in_this_language": counts_table(off, "gate")} if off else {}),
        "rejected": markdown_table(
            [
                {"reason": reason, "first": counts.reasons[reason], "in all": count, "meaning": REASONS[reason]}
                for reason, count in failed.most_common()
            ],
            ["reason", "first", "in all", "meaning"],
        ),
        "rejected_sample": markdown_table(
            counts.rejected_sample,
            ["question", "final_answer", "reason", "call_detail", "judge_remark", "review_note"],
        ),
        "rejected_rows": dg.MetadataValue.md(
            f"All of them in DuckDB: {code_span(query)}; for a spreadsheet: `raft review export DOMAIN --rejected "
            "--to FILE.csv`"
        ),
    }


def describe_judge(tally: UsageStats | None, counts: PairCounts) -> Metadata:
    """Return the judge's verdicts and its calls, or that no judge is configured."""
    if tally is None:
        return {"judge": "not configured"}
    verdicts = {verdict: count for (gate, verdict), count in counts.gates.items() if gate == "judge"}
    calls = {f"judge_{name}": value for name, value in describe_calls(tally).items()}
    return {"judge": counts_table(verdicts, "verdict"), **calls}

import re

import dagster as dg
import pytest

from raft_assets.core.tables import QAPair
from raft_assets.defs.describe import column_schema, describe_verdict, escape_markdown, sample_with_quotes
from raft_assets.evaluation.examples import sample_of_row
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.evaluation.test_report import HOSTILE, ROW, hostile_report
from raft_assets_tests.harness import ProjectHarness

MOST_BYTES = 10_000  # of a Markdown in the event log


def markdown(value: object) -> str:
    assert isinstance(value, dg.MarkdownMetadataValue)
    return value.md_str or ""


def test_quotes_and_answers_are_bold_in_the_oracle_only() -> None:
    text = markdown(sample_with_quotes([sample_of_row(ROW)]))
    assert text == (
        "**How much does the crane lift?** **42 tonnes**\n\n"
        "> **The crane on quay 2 lifts** **42 tonnes** **.** It was built in 1907."
    )


def test_markup_in_documents_and_models_stays_text_in_markdown() -> None:
    hostile = f"{HOSTILE} [x](javascript:alert(1)) ![y](http://example.org/z) `code` **bold** | cell\n# head"
    row = ROW.model_copy(update={"question": hostile, "documents": [hostile, hostile], "answer": hostile})
    data = hostile_report()
    texts = [markdown(sample_with_quotes([sample_of_row(row)])), escape_markdown(hostile)]
    texts += [
        markdown(value)
        for value in describe_verdict(data.verdict, data.summary).values()
        if isinstance(value, dg.MarkdownMetadataValue)
    ]
    for text in texts:
        assert not re.search(r"<\w|(?<!\\)\]\((?!data:image/svg)|(?<!\\)`", text)
        assert not re.search(r"^# ", text, re.MULTILINE)


@pytest.mark.parametrize("asset", ["eval_scores", "eval_report"])
def test_verdict_table_and_plots_stand_in_the_ui(finished: ProjectHarness, asset: str) -> None:
    shown = finished.metadata(asset, SMALL)
    assert shown["verdict"] == finished.results.verdicts()[SMALL]["sentence"]
    assert "| token\\_f1 |" in str(shown["scores"])
    assert {"plot_token_f1", "plot_exact_match", "reasons"} <= set(shown)
    figures = ("student_token_f1", "baseline_token_f1", "difference", "low", "high", "exact_match", "seconds")
    assert all(isinstance(shown[name], float) for name in figures)  # which the UI plots over runs and domains


def test_what_matters_of_an_asset_is_a_number(finished: ProjectHarness) -> None:
    numbers = {
        "qa_pairs": ("accepted_share", "us_dollars", "seconds"),
        "finetuned_model": ("trained_tokens", "us_dollars", "seconds"),
        "baseline_answers": ("well_formed", "abstained", "us_dollars"),
    }
    for asset, names in numbers.items():
        shown = finished.metadata(asset, SMALL)
        assert {name for name in names if not isinstance(shown.get(name), int | float)} == set()


def test_descriptions_of_columns_show_what_looks_like_a_tag_and_keys_come_last() -> None:
    columns = column_schema(QAPair).columns
    (final_answer,) = (column for column in columns if column.name == "final_answer")
    assert "&lt;ANSWER&gt;:" in (final_answer.description or "")
    names = [column.name for column in columns]
    assert names[0] == "path"
    assert set(names[-6:]) == {"question_id", "chunk_id", "doc_id", "question_call", "answer_call", "judge_call"}


def test_no_markdown_of_any_asset_is_too_large_for_the_event_log(finished: ProjectHarness) -> None:
    for asset in (
        "source_documents",
        "chunks",
        "qa_pairs",
        "qa_dataset",
        "finetuned_model",
        "eval_scores",
        "eval_report",
    ):
        shown = finished.metadata(asset, SMALL)
        assert {name: len(str(value)) for name, value in shown.items() if len(str(value).encode()) >= MOST_BYTES} == {}
    assert {"pairs_per_chunk", "sample_with_quotes"} <= set(finished.metadata("qa_pairs", SMALL))
    assert "data:image/svg+xml" in str(finished.metadata("finetuned_model", SMALL)["loss"])


def test_the_loss_can_be_watched_while_the_job_runs(finished: ProjectHarness) -> None:
    with finished.instance() as instance:
        observed = instance.fetch_observations(dg.AssetKey("finetuned_model"), limit=100).records
        materialized = instance.fetch_materializations(dg.AssetKey("finetuned_model"), limit=1).records[0]
    assert observed
    for record in observed:
        observation = record.asset_observation
        assert observation is not None
        assert (observation.partition, record.timestamp < materialized.timestamp) == (SMALL, True)
        assert {"step", "train_loss"} <= {name for name, value in observation.metadata.items() if value.value >= 0}

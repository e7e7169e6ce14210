"""Data card and model card as Hugging Face reads them, and where people find them."""

from dataclasses import replace
from pathlib import Path

import pytest

from raft_assets.core.tables import RaftRow, SourceDocument
from raft_assets.evaluation.model_card import render_model_card
from raft_assets.operations.model_card import WrittenCard, write_model_card
from raft_assets.operations.model_clients import ModelClients
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

HOSTILE = "<script>alert(1)</script> | `a` **bold** [l](u)\n# Heading"


@pytest.fixture
def card(finished: ProjectHarness) -> WrittenCard:
    return write_model_card(ModelClients(finished.opened), finished.lake, SMALL)


@pytest.mark.parametrize(("form", "container"), [("hf", "jsonl"), ("chat", "parquet")])
def test_datasets_loads_an_export_by_its_card(
    finished: ProjectHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, container: str
) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):  # no network in tests
        monkeypatch.setenv(name, "1")
    hub, datasets = pytest.importorskip("huggingface_hub"), pytest.importorskip("datasets")
    folder = tmp_path / "out"
    options = ["--format", form, "--container", container, "--licence", "cc-by-4.0"]
    assert finished.raft_here("export", SMALL, *options, "--to", str(folder)).returncode == 0
    (folder / f"other.{container}").write_text("not of the data set", "utf-8")  # the card says which files are
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    rows = list(finished.lake.rows(RaftRow, SMALL))
    splits = {"train": "train", "validation": "valid", "test": "eval"}
    assert {name: len(loaded[name]) for name in splits} == {
        name: sum(row.split == split for row in rows) for name, split in splits.items()
    }
    data = hub.DatasetCard.load(folder / "README.md").data
    assert (data.language, data.license, data.size_categories) == (["en"], "cc-by-4.0", ["n<1K"])
    assert [config["config_name"] for config in data.configs] == ["default"]
    assert "`cc-by-4.0`, as stated" in (folder / "README.md").read_text("utf-8")


def test_an_export_states_no_licence_by_itself_and_leaves_a_readme_of_others_alone(
    finished: ProjectHarness, tmp_path: Path
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# My own project\n", "utf-8")
    ended = finished.raft_here("export", SMALL, "--to", str(tmp_path))
    assert (ended.returncode, "is not a data card" in ended.stderr) == (0, True)
    assert readme.read_text("utf-8") == "# My own project\n"
    assert "license:" not in (tmp_path / "DATA_CARD.md").read_text("utf-8")
    readme.unlink()
    assert finished.raft_here("export", SMALL, "--to", str(tmp_path)).returncode == 0
    assert (readme.exists(), (tmp_path / "DATA_CARD.md").exists()) == (True, False)
    assert finished.raft_here("export", SMALL, "--to", str(tmp_path), "--licence", "My licence").returncode == 2


def test_a_model_card_holds_the_evaluations_figures_as_hugging_face_reads_them(
    finished: ProjectHarness, card: WrittenCard
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(card.text).data
    hub.utils.validate_repo_id(data.base_model)
    assert (data.language, data.pipeline_tag, data.license) == (["en"], "question-answering", None)
    summary = finished.results.summary(SMALL).set_index(["source", "arm", "metric"])
    found = {(one.dataset_config, one.metric_type): one.metric_value for one in data.eval_results}
    for source in {source for source, _, _ in summary.index}:
        row = summary.loc[(source, "main", "token_f1")]
        assert found[f"{source}-main", "f1"] == pytest.approx(row["student"] * 100, abs=0.05)
    assert {one.dataset_type for one in data.eval_results} == set(data.datasets) == {f"raft-assets-{SMALL}"}


def test_a_model_card_says_what_it_is_for_what_it_was_trained_on_and_how_to_remove_it(
    finished: ProjectHarness, card: WrittenCard
) -> None:
    rows = [row for row in finished.lake.rows(RaftRow, SMALL) if row.split == "train"]
    verdict = finished.results.verdict(SMALL)
    assert verdict.sentence in card.text
    assert f"{len(rows):,} rows were trained on" in card.text
    kinds = {row.kind for row in rows}
    assert all(f"| `{kind}` | {sum(row.kind == kind for row in rows):,} |" in card.text for kind in kinds)
    assert f"`raft purge {SMALL} --students`" in card.text
    assert finished.lake.read_record("finetuned_model", SMALL)["training_hash"] in card.text
    pages = list(finished.lake.rows(SourceDocument, SMALL))
    assert not [page.path for page in pages if page.path in card.text]
    assert not [row.question for row in finished.lake.rows(RaftRow, SMALL) if row.question in card.text]


def test_a_model_card_is_found_from_the_ui_the_command_and_the_lake(
    finished: ProjectHarness, card: WrittenCard
) -> None:
    told = finished.raft_here("student", SMALL)
    assert (told.returncode, told.stdout) == (0, card.text)
    found = {
        str(finished.metadata("finetuned_model", SMALL)["model_card"]),
        str(finished.metadata("eval_report", SMALL)["model_card"]),
        told.stderr.strip(),
    }
    assert found == {card.address}
    assert Path(card.address).read_text("utf-8") == card.text


def test_a_card_before_its_evaluation_says_so(card: WrittenCard) -> None:
    text = "\n".join(render_model_card(replace(card.card, evaluation=None, training=None, address="")))
    assert "**It is not evaluated yet**" in text
    assert "How it answers was never measured." in text
    assert "model-index" not in text
    assert "It is not deployed." in text


def test_a_card_of_a_model_that_was_fine_tuned_elsewhere_claims_nothing_of_its_training(card: WrittenCard) -> None:
    text = "\n".join(render_model_card(replace(card.card, job="", training=None, hyperparameters={})))
    assert "what it was trained on is not known here" in text
    assert "delete it where it was fine-tuned" in text
    assert "datasets:" not in text
    assert "raft purge" not in text


def test_another_students_evaluation_is_not_on_the_card(copied: ProjectHarness) -> None:
    record = copied.lake.read_record("finetuned_model", SMALL)
    copied.lake.write_record("finetuned_model", SMALL, record | {"model": "ft:other", "training_hash": "1" * 64})
    written = write_model_card(ModelClients(copied.opened), copied.lake, SMALL)
    assert written.card.evaluation is None
    assert len(list(copied.lake.path("model_card", SMALL, "").iterdir())) == 2, "the former student keeps its card"


def test_hostile_names_stay_text_on_a_model_card(card: WrittenCard) -> None:
    hostile = replace(card.card, domain=HOSTILE, model=HOSTILE, base_model=HOSTILE, teacher=HOSTILE, address=HOSTILE)
    text = "\n".join(render_model_card(hostile))
    head, _, body = text.partition("\n---\n")
    assert not set("<>`*#|") & set(head)
    for line in body.splitlines():
        outside = "".join(line.split("`")[::2])
        assert not [word for word in ("script", "bold", "Heading") if word in outside], line

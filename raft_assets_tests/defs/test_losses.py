"""What was made and is gone is missing: in the states, in the UI, and for the next run, which asks no model for it."""

import json
import re
import shutil
from pathlib import Path

import dagster as dg
import duckdb

from raft_assets.defs.automation import LOOK_FOR_LOSSES_EVERY_S, observe_domains
from raft_assets.defs.observation import MISSING
from raft_assets.operations.losses import Losses
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness


def lake_files(project: ProjectHarness) -> dict[str, Path]:
    """Files of the lineage in the lake, by their names in it."""
    root = Path(project.lake.root)
    # of no asset, copies, or written anew by a command
    kept = {"pair_form", "chunk_form", "document_ids", "estimate", "evaluations", "model_card"}
    return {name: root / name for name in project.lake.files() if "/" in name and name.split("/")[0] not in kept}


def test_an_asset_of_which_a_file_is_gone_is_missing_and_no_other_one(copied: ProjectHarness) -> None:
    assets_of = {"quarantine": "source_documents", "splits": "qa_dataset", "eval_answers": "eval_report"}
    files, missing = lake_files(copied), set[str]()
    for name, file in files.items():
        away = file.rename(file.with_suffix(".away"))
        asset = assets_of.get(name.split("/")[0], name.split("/")[0])
        (lost,) = Losses.find(copied.opened).of(SMALL).items()
        assert lost == (asset, f"{name} is not in the lake")
        missing.add(asset)
        away.rename(file)
    assert {key.to_user_string() for key in copied.graph.materializable_asset_keys} == missing | {"eval_scores"}
    assert Losses.find(copied.opened).of(SMALL) == {}


def test_a_damaged_file_is_missing_and_made_again(copied: ProjectHarness) -> None:
    before, files = copied.digests(SMALL), lake_files(copied)
    damaged = {name: file for name, file in files.items() if file.suffix in {".parquet", ".json"}}
    for name, file in damaged.items():
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        ((_, reason),) = Losses.find(copied.opened).of(SMALL).items()
        assert reason == f"{name} is damaged"
        file.write_bytes(content)
    for name in (f"chunks/{SMALL}.parquet", f"qa_dataset/{SMALL}.parquet", f"finetuned_model/{SMALL}.json"):
        files[name].write_bytes(files[name].read_bytes()[:-100])
    files[f"baseline_answers/{SMALL}.parquet"].write_bytes(b"")
    expected = ("chunks", "qa_dataset", "finetuned_model", "baseline_answers")
    assert copied.not_fresh(SMALL) == dict.fromkeys(expected, "missing")
    assert copied.raft_here("status", SMALL).returncode == 0
    assert copied.raft("run", SMALL).returncode == 0
    assert copied.not_fresh(SMALL) == {}
    assert copied.digests(SMALL) == before


def test_what_is_lost_is_made_again_and_asks_no_model(copied: ProjectHarness) -> None:
    lost = ("chunks", "qa_pairs", "qa_dataset", "splits", "finetuned_model", "baseline_answers", "eval_report")
    before, report = copied.digests(SMALL), copied.lake.path("eval_report", SMALL, ".html").read_text("utf-8")
    trained = copied.lake.read_record("finetuned_model", SMALL)
    with open_call_store(copied.opened) as store:
        calls = store.stats()
    for name, file in lake_files(copied).items():
        if name.split("/")[0] in lost:
            file.unlink()
    copied.opened.results.unlink()
    shutil.rmtree(Path(copied.lake.root) / "evaluations")
    expected = {*lost, "eval_scores"} - {"splits"}
    assert copied.not_fresh(SMALL) == dict.fromkeys(expected, "missing")
    assert copied.states(SMALL)["eval_scores"].reasons == ("its evaluation is not in the results store",)
    shown = json.loads(copied.raft_here("status", SMALL, "--json").stdout)["assets"]
    assert shown["eval_report"] == {"state": "missing", "reasons": [f"eval_report/{SMALL}.html is not in the lake"]}

    assert copied.raft("run", SMALL).returncode == 0
    assert copied.not_fresh(SMALL) == {}
    assert copied.digests(SMALL) == before
    assert copied.lake.read_record("finetuned_model", SMALL) == trained
    assert copied.metadata("finetuned_model", SMALL)["found_again"] is True
    assert copied.runs_of("training_files", SMALL) == 1, "equal rows stop a change"
    again = copied.lake.path("eval_report", SMALL, ".html").read_text("utf-8")
    assert without_run(again) == without_run(report)
    with open_call_store(copied.opened) as store:
        assert store.stats().calls == calls.calls


def test_an_evaluation_that_is_gone_from_the_results_store_comes_back_from_the_lake(copied: ProjectHarness) -> None:
    before = copied.results.verdicts()
    with duckdb.connect(copied.results.path) as connection:
        connection.execute("DELETE FROM runs")
    assert copied.not_fresh(SMALL) == {"eval_scores": "missing"}
    done = copied.raft_here("run", SMALL)
    assert "everything is fresh" in done.stdout
    assert copied.results.verdicts() == before


def test_an_index_of_the_reports_that_is_gone_is_written_again_when_it_is_asked_for(copied: ProjectHarness) -> None:
    index = Path(copied.lake.index_path.path)
    before = index.read_text("utf-8")
    index.unlink()
    asked = copied.raft_here("report")
    assert (asked.returncode, asked.stdout.strip()) == (0, str(index)), asked.stderr
    assert index.read_text("utf-8") == before


def without_run(report: str) -> str:
    """The report without when, how long and for how much its evaluation was made, which is another one."""
    return re.sub(r"<dt>(Cost|Time|Evaluated)</dt><dd>.*?</dd>", "", report)


def look(project: ProjectHarness, cursor: str | None) -> tuple[list[dg.AssetObservation], str]:
    """One evaluation of the observing sensor: what it reports of missing assets, and its cursor."""
    with project.instance() as instance:
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"project": project.opened})
        seen = observe_domains(context)
    events = seen.asset_events if isinstance(seen, dg.SensorResult) else []
    found = [event for event in events if isinstance(event, dg.AssetObservation) and MISSING in event.metadata]
    return found, context.cursor or ""


def an_hour_later(cursor: str) -> str:
    seen = json.loads(cursor)
    return json.dumps(seen | {"looked": seen["looked"] - LOOK_FOR_LOSSES_EVERY_S})


def test_the_ui_is_told_once_an_hour_at_most_what_is_missing_and_once_only(copied: ProjectHarness) -> None:
    copied.look()
    nothing, cursor = look(copied, None)
    assert nothing == []
    copied.lake.path("eval_report", SMALL, ".html").unlink()
    assert look(copied, cursor)[0] == [], "the next look is due in an hour"
    (found,), cursor = look(copied, an_hour_later(cursor))
    assert (found.asset_key, found.partition) == (dg.AssetKey("eval_report"), SMALL)
    told = str(found.metadata[MISSING].value)
    assert told == f"Missing: eval_report/{SMALL}.html is not in the lake. Make it again: raft run {SMALL}"
    again, cursor = look(copied, an_hour_later(cursor))
    assert again == []

    copied.lake.write_text("eval_report", SMALL, ".html", "is back")
    assert look(copied, an_hour_later(cursor))[0] == []
    cursor = look(copied, an_hour_later(cursor))[1]
    copied.lake.path("eval_report", SMALL, ".html").unlink()
    assert len(look(copied, an_hour_later(cursor))[0]) == 1


def test_a_lake_that_cannot_be_read_hides_no_changed_document_and_makes_nothing_missing(copied: ProjectHarness) -> None:
    copied.look()
    root = Path(copied.lake.root)
    root.rename(root.with_name("away"))
    root.write_text("not a folder", "utf-8")
    copied.write(f"data/{SMALL}/added.txt", "The dredger was called Constance.\n")
    with copied.instance() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"project": copied.opened})
        seen = observe_domains(context)
    assert "1 changes reported, 0 assets missing" in str(seen)
    told = copied.raft_here("status")
    assert (told.returncode, "can't be read" in told.stderr) == (2, True), told.stderr

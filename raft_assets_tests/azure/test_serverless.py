"""A student tuned and served by an Azure ML workspace, in completion format, through the real azure-ai-ml; the lake is
opened by a shared access signature.
"""

import json
import os
import warnings
from collections.abc import Iterator
from urllib.parse import parse_qs, quote

import pytest

from raft_assets.settings.blob import SAS_VARIABLE
from raft_assets.student.azure_ml import endpoint_name
from raft_assets_tests.azure.blob import shared_access_signature
from raft_assets_tests.azure.cloud import BASE, RESOURCE, Cloud, cloud
from raft_assets_tests.azure.management import GROUP
from raft_assets_tests.azure.ml import ENDPOINT_KEY, MODEL, WORKSPACE
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness


@pytest.fixture(scope="module")
def azure() -> Iterator[Cloud]:
    pytest.importorskip("azure.ai.ml", reason="the extra raft-assets[azure]")
    with cloud(with_storage=True) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in (found.variables | {SAS_VARIABLE: shared_access_signature()}).items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(scope="module")
def project(azure: Cloud, tmp_path_factory: pytest.TempPathFactory) -> ProjectHarness:
    found = ProjectHarness(tmp_path_factory.mktemp("serverless"))
    here = {name: value for name, value in azure.variables.items() if not name.startswith("STUDENT_")}
    found.own_variables = here | {
        "STUDENT_AZUREML_MODEL": f"{MODEL}/versions/24",
        "BASELINE_AZURE_OPENAI_ENDPOINT": RESOURCE,
        "BASELINE_AZURE_OPENAI_DEPLOYMENT": BASE,
        "AZURE_RESOURCE_GROUP": GROUP,
        "TEACHER_MODEL": "Llama-3.1-405B-Instruct",
        "RAFT_ACCEPT_MODEL": MODEL.rpartition("/")[2],  # which the real service has retired
    }
    found.write("config.json", f'{{"workspace_name": "{WORKSPACE}"}}')
    found.copy_domain("bats", SMALL, documents=1)
    found.write(f"data/{SMALL}/domain.yaml", "student: {format: completion}\ntraining: {n_epochs: 2}\n")
    azure.studio.unlisted = 1  # a model is listed later than its job is completed
    done = found.raft("run", SMALL, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    return found


def test_the_student_is_trained_on_its_files_and_asked_at_its_own_endpoint(
    azure: Cloud, project: ProjectHarness
) -> None:
    assert project.not_fresh(SMALL) == {}
    tuned = project.lake.read_record("finetuned_model", SMALL)
    (job,) = [body for (kind, _), body in azure.studio.made.items() if kind == "jobs"]
    assert job["properties"]["fineTuningDetails"]["taskType"].lower() == "textcompletion"
    assert job["properties"]["fineTuningDetails"]["hyperParameters"] == {"num_train_epochs": "2"}
    assert job["properties"]["tags"] == {"raft-training-hash": tuned["training_hash"]}
    deployed = project.lake.read_record("deployment", SMALL)
    assert deployed["service"] == f"https://{endpoint_name(SMALL)}.swedencentral.models.ai.azure.com/v1"
    assert set(azure.serverless.asked) == {"/v1/completions"}
    assert azure.studio.unlisted == 0
    assert {"data", "jobs", "marketplaceSubscriptions", "serverlessEndpoints"} == set(azure.studio.puts)


def test_everything_is_found_again_and_nothing_is_submitted_twice(azure: Cloud, project: ProjectHarness) -> None:
    before = list(azure.studio.puts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library opens files that it leaves to the collector
        assert project.materialize_only(SMALL, "finetuned_model")
        assert project.materialize_only(SMALL, "deployment")
    assert azure.studio.puts == before
    assert project.metadata("finetuned_model", SMALL)["found_again"] is True


def test_teardown_deletes_the_endpoint(azure: Cloud, project: ProjectHarness) -> None:
    assert "Succeeded" in project.raft_here("status", variables={"COLUMNS": "200"}).stdout
    kept = project.raft_here("teardown", "--idle", "1")  # made long ago, asked a minute ago
    assert kept.stdout == "No deployment matches.\n"
    gone = project.raft_here("teardown", SMALL)
    assert gone.stdout == f"{endpoint_name(SMALL)} ({SMALL}): deleted\n"
    assert not [name for kind, name in azure.studio.made if kind == "serverlessEndpoints"]


def test_a_multiplier_of_an_unknown_learning_rate_is_refused_before_anything_is_uploaded(
    azure: Cloud, project: ProjectHarness
) -> None:
    before = list(azure.studio.puts)
    project.write(
        f"data/{SMALL}/domain.yaml", "student: {format: completion}\ntraining: {learning_rate_multiplier: 2}\n"
    )
    project.look()
    assert not project.materialize_only(SMALL, "finetuned_model")
    assert "models in an Azure ML workspace have no multiplier: leave it at auto" in project.last_failure()
    assert azure.studio.puts == before


def test_a_job_that_failed_or_is_paused_is_told_and_the_one_after_it_is_found(
    azure: Cloud, project: ProjectHarness
) -> None:
    azure.studio.ends_as = "Failed"
    project.write(f"data/{SMALL}/domain.yaml", "student: {format: completion}\ntraining: {n_epochs: 1}\n")
    assert not project.materialize(SMALL, "finetuned_model")
    project.own_variables["RAFT_APPROVE"] = "fine-tuning"
    assert not project.materialize(SMALL, "finetuned_model")
    assert "ended with the status Failed: row 3 has no answer. Fix the cause" in project.last_failure()
    azure.studio.ends_as = "Paused"
    assert not project.materialize(SMALL, "finetuned_model")
    waiting = project.states(SMALL)["finetuned_model"]
    assert waiting.state == "waiting"
    assert "is paused: resume it in the studio, then run again" in waiting.reasons[0]
    before = list(azure.studio.puts)
    azure.studio.ends_as = None
    assert project.materialize_only(SMALL, "finetuned_model")
    assert azure.studio.puts == before
    assert str(project.metadata("finetuned_model", SMALL)["job"]).endswith("-2")


def test_the_lake_is_opened_by_its_signature_where_nobody_signs_in(azure: Cloud, project: ProjectHarness) -> None:
    azure.identity.refuses = True
    asked = project.raft_here("sql", "SELECT count(*) AS n FROM student_answers WHERE status = 'ok'", "--json")
    azure.identity.refuses = False
    assert json.loads(asked.stdout)["n"] > 10
    assert not list(project.folder.rglob("*.parquet"))


def test_neither_the_endpoints_key_nor_the_signature_is_written_anywhere(azure: Cloud, project: ProjectHarness) -> None:
    (signature,) = parse_qs(os.environ[SAS_VARIABLE])["sig"]
    secrets = [ENDPOINT_KEY.encode(), signature.encode(), quote(signature, safe="").encode()]
    files = [file for folder in (project.folder, azure.storage) for file in folder.rglob("*") if file.is_file()]
    assert any(b"train.jsonl" in file.read_bytes() for file in files)  # the lake is among them
    assert [file for file in files for secret in secrets if secret in file.read_bytes()] == []

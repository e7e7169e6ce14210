"""Evaluations leave the machine only where the project's own files say so."""

from pathlib import Path

import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.settings.environment import Environment
from raft_assets.settings.tracking import Tracking, is_only_exported

ADDRESS = "http://127.0.0.1:5000"


def environment(folder: Path, text: str = "", **exported: str) -> Environment:
    (folder / ".env").write_text(text, "utf-8")
    return Environment.load(folder, exported)


def test_an_exported_address_has_no_effect(tmp_path: Path) -> None:
    exported = environment(tmp_path, RAFT_MLFLOW_TRACKING_URI=ADDRESS, RAFT_MLFLOW_ARTIFACTS="1")
    assert Tracking.of(exported) is None
    assert is_only_exported(exported)
    own = environment(tmp_path, f"RAFT_MLFLOW_TRACKING_URI={ADDRESS}/\n", RAFT_MLFLOW_ARTIFACTS="1")
    assert Tracking.of(own) == Tracking(ADDRESS, with_texts=False, client_variables={})
    assert not is_only_exported(own)


def test_the_projects_file_says_whether_texts_are_sent_and_how_to_sign_in(tmp_path: Path) -> None:
    text = f"RAFT_MLFLOW_TRACKING_URI={ADDRESS}\nRAFT_MLFLOW_ARTIFACTS=1\nMLFLOW_TRACKING_TOKEN=secret\n"
    found = Tracking.of(environment(tmp_path, text, MLFLOW_TRACKING_TOKEN="another"))
    assert found == Tracking(ADDRESS, with_texts=True, client_variables={"MLFLOW_TRACKING_TOKEN": "secret"})


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://me:hunter2@mlflow.example", "put MLFLOW_TRACKING_USERNAME"),
        ("https://hunter2@mlflow.example/", "put MLFLOW_TRACKING_USERNAME"),
        ("https://mlflow.example/?token=hunter2", "put MLFLOW_TRACKING_USERNAME"),
        ("sqlite:///hunter2.db", "must be the address of an MLflow server"),
        ("hunter2", "must be the address of an MLflow server"),
        ("http://[hunter2", "must be the address of an MLflow server"),
    ],
)
def test_an_address_with_credentials_or_of_no_server_is_refused_without_repeating_it(
    tmp_path: Path, address: str, told: str
) -> None:
    with pytest.raises(SettingsError, match=told) as refused:
        Tracking.of(environment(tmp_path, f"RAFT_MLFLOW_TRACKING_URI='{address}'\n"))
    assert "hunter2" not in str(refused.value)

"""The lake, the same on this machine's disk and on Azure Blob."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from raft_assets.errors import DataError, RaftError, SettingsError
from raft_assets.raft.tables import Chunk, QuarantinedFile, Row
from raft_assets.resources.lake import Lake
from raft_assets.resources.results import ResultsStore
from raft_assets.settings import blob_container
from raft_assets_tests.azure.blob import CONTAINER, KEY, storage_account

DOMAIN = "harbor's handbook, 100 %"
ROWS = [QuarantinedFile(path=f"{n}.pdf", content_hash="", reason="corrupt", detail=f"ä {n}") for n in range(3)]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with storage_account(tmp_path_factory.mktemp("account")) as found:
        yield found


@pytest.fixture(params=["local", "azure"])
def lake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    if request.param == "local":
        return Lake(root=str(tmp_path / "lake"))
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", request.getfixturevalue("account"))
    return Lake(root=f"abfs://{CONTAINER}/{tmp_path.name}")


def failing(rows: list[QuarantinedFile]) -> Iterator[Row]:
    yield from rows
    raise RuntimeError("in the middle")


def test_what_is_written_is_read_with_its_digest(lake: Lake) -> None:
    written = lake.write("quarantine", DOMAIN, ROWS)
    assert list(lake.rows("quarantine", DOMAIN, QuarantinedFile)) == ROWS
    assert lake.digest("quarantine", DOMAIN) == written.digest
    assert lake.exists("quarantine", DOMAIN)


def test_a_table_changes_whole_or_not_at_all(lake: Lake) -> None:
    lake.write("quarantine", DOMAIN, ROWS)
    with pytest.raises(RuntimeError):
        lake.write("quarantine", DOMAIN, failing([ROWS[0]]))
    assert list(lake.rows("quarantine", DOMAIN, QuarantinedFile)) == ROWS
    lake.write("quarantine", DOMAIN, ROWS[:1])
    assert list(lake.rows("quarantine", DOMAIN, QuarantinedFile)) == ROWS[:1]


def test_lines_records_and_texts_come_back(lake: Lake) -> None:
    lake.write_lines("training_files", DOMAIN, "train.jsonl", ["{}", '{"a": "ö"}'])
    assert lake.read_lines("training_files", DOMAIN, "train.jsonl").decode() == '{}\n{"a": "ö"}\n'
    assert lake.read_lines("training_files", DOMAIN, "valid.jsonl") == b""
    lake.write_record("deployment", DOMAIN, {"model": "ft:1"})
    assert lake.read_record("deployment", DOMAIN) == {"model": "ft:1"}
    lake.write_index("<!doctype html>")
    assert lake.index_path.read_text() == "<!doctype html>"


def test_what_is_missing_is_told_with_the_command_that_makes_it(lake: Lake) -> None:
    with pytest.raises(DataError, match=r"chunks of .* is not in the lake\. Materialize it: raft run"):
        list(lake.rows("chunks", DOMAIN, Chunk))
    with pytest.raises(DataError, match="deployment of"):
        lake.read_record("deployment", DOMAIN)


def test_a_domain_is_purged_and_the_others_stay(lake: Lake) -> None:
    for domain in (DOMAIN, "other"):
        lake.write("quarantine", domain, ROWS)
        lake.write_record("deployment", domain, {})
        lake.write_lines("training_files", domain, "train.jsonl", ["{}"])
    assert len(lake.purge(DOMAIN)) == 3
    assert not lake.exists("quarantine", DOMAIN)
    assert lake.read_lines("training_files", DOMAIN, "train.jsonl") == b""
    assert lake.exists("quarantine", "other")
    assert lake.read_lines("training_files", "other", "train.jsonl") == b"{}\n"


def test_tables_are_asked_in_sql_where_they_lie(lake: Lake, tmp_path: Path) -> None:
    store = ResultsStore(path=str(tmp_path / "results.duckdb"))
    for domain in (DOMAIN, "other"):
        lake.write("quarantine", domain, ROWS)
    query = "SELECT domain, count(*) AS n, max(detail) AS last FROM quarantine GROUP BY domain ORDER BY domain"
    found = store.query(query, lake).to_dict("records")
    assert found == [{"domain": domain, "n": 3, "last": "ä 2"} for domain in sorted((DOMAIN, "other"))]
    assert "quarantine" in store.columns(lake)["name"].tolist()
    (tmp_path / "secret.txt").write_text("secret")
    for out in ("SELECT * FROM read_text('{}/secret.txt')", "COPY (SELECT 1) TO '{}/out.csv'"):
        with pytest.raises(Exception, match=r"disabled by configuration|Only questions"):
            store.query(out.format(tmp_path), lake)


def test_the_doctor_leaves_nothing_behind(lake: Lake) -> None:
    lake.check()
    root = lake.index_path.parent
    assert not root.exists() or list(root.iterdir()) == []


def test_a_lake_that_cannot_be_used_is_one_sentence_without_a_secret(
    account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account)
    with pytest.raises(SettingsError, match=r"abfs://nowhere/x can't be used .*Storage Blob Data Contributor") as told:
        Lake(root="abfs://nowhere/x").check()
    assert KEY not in str(told.value)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("abfs://lake@mine.dfs.core.windows.net/a/b", ("mine", "lake", "a/b")),
        ("az://lake/a", ("", "lake", "a")),
        ("abfs://lake", ("", "lake", "")),
        ("/mnt/lake", None),
        ("s3://bucket/a", None),
    ],
)
def test_an_address_on_azure_names_account_container_and_folder(address: str, place: object) -> None:
    assert blob_container(address) == place


def test_an_address_without_a_container_is_told() -> None:
    with pytest.raises(RaftError, match="allowed is abfs://container@account"):
        blob_container("abfs:///folder")

"""The lake, the same on this machine's disk and on Azure Blob."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from raft_assets.core.errors import DataError, EndpointError, SettingsError
from raft_assets.core.tables import Chunk, QuarantinedFile, Row
from raft_assets.llm.azure_sign_in import storage_credential, storage_sign_in
from raft_assets.settings.blob import BlobLocation, parse_blob_address, storage_options
from raft_assets.settings.environment import Environment
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.lake_records import LakeRecords
from raft_assets.storage.results import ResultsStore
from raft_assets_tests.azure.blob import CONTAINER, KEY, storage_account

DOMAIN = "harbor's handbook, 100 %"
ROWS = [QuarantinedFile(path=f"{n}.pdf", content_hash="", reason="corrupt", detail=f"ä {n}") for n in range(3)]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with storage_account(tmp_path_factory.mktemp("account")) as found:
        yield found


@pytest.fixture(params=["local", "azure"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "local":
        return Lake(root=str(tmp_path / "lake"))
    return on_azure(f"abfs://{CONTAINER}/{tmp_path.name}", request.getfixturevalue("account"))


def on_azure(root: str, account: str) -> Lake:
    """A lake of the account that a connection string names."""
    return Lake(root, Environment(process={"AZURE_STORAGE_CONNECTION_STRING": account}, files={}))


def failing(rows: list[QuarantinedFile]) -> Iterator[Row]:
    yield from rows
    raise RuntimeError("in the middle")


def test_what_is_written_is_read_with_its_digest(lake: Lake) -> None:
    written = lake.write(QuarantinedFile, DOMAIN, ROWS)
    assert list(lake.rows(QuarantinedFile, DOMAIN)) == ROWS
    assert lake.digest("quarantine", DOMAIN) == written.digest
    assert lake.exists("quarantine", DOMAIN)


def test_a_table_changes_whole_or_not_at_all(lake: Lake) -> None:
    lake.write(QuarantinedFile, DOMAIN, ROWS)
    with pytest.raises(RuntimeError):
        lake.write(QuarantinedFile, DOMAIN, failing([ROWS[0]]))
    assert list(lake.rows(QuarantinedFile, DOMAIN)) == ROWS
    lake.write(QuarantinedFile, DOMAIN, ROWS[:1])
    assert list(lake.rows(QuarantinedFile, DOMAIN)) == ROWS[:1]


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
        list(lake.rows(Chunk, DOMAIN))
    with pytest.raises(DataError, match="deployment of"):
        lake.read_record("deployment", DOMAIN)


@pytest.mark.parametrize("left", [0, 100], ids=["empty", "broken off"])
def test_a_damaged_file_is_named_with_what_to_do(lake: Lake, left: int) -> None:
    lake.write(QuarantinedFile, DOMAIN, ROWS)
    path = lake.path("quarantine", DOMAIN)
    path.write_bytes(path.read_bytes()[:left])
    reads: list[Callable[[], object]] = [
        lambda: list(lake.rows(QuarantinedFile, DOMAIN)),
        lambda: dict(lake.datasets()),
        lambda: lake.digest("quarantine", DOMAIN),
    ]
    for read in reads:
        with pytest.raises(DataError, match=r"quarantine/harbor.*parquet is damaged .*Delete it: the next `raft run`"):
            read()


def test_a_domain_is_purged_and_the_others_stay(lake: Lake) -> None:
    for domain in (DOMAIN, "other"):
        lake.write(QuarantinedFile, domain, ROWS)
        lake.write_record("deployment", domain, {})
        lake.write_lines("training_files", domain, "train.jsonl", ["{}"])
    record = lake.state / "records" / "one.json"  # of all domains
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text("{}")
    assert (len(lake.purge(DOMAIN)), lake.purge("records")) == (3, [])
    assert record.read_text() == "{}"
    assert not lake.exists("quarantine", DOMAIN)
    assert lake.read_lines("training_files", DOMAIN, "train.jsonl") == b""
    assert lake.exists("quarantine", "other")
    assert lake.read_lines("training_files", "other", "train.jsonl") == b"{}\n"


def test_tables_are_asked_in_sql_where_they_lie(lake: Lake, tmp_path: Path) -> None:
    store = ResultsStore(path=str(tmp_path / "results.duckdb"))
    for domain in (DOMAIN, "other"):
        lake.write(QuarantinedFile, domain, ROWS)
    query = "SELECT domain, count(*) AS n, max(detail) AS last FROM quarantine GROUP BY domain ORDER BY domain"
    found = store.query(query, lake).to_dict("records")
    assert found == [{"domain": domain, "n": 3, "last": "ä 2"} for domain in sorted((DOMAIN, "other"))]
    assert "quarantine" in store.columns(lake)["name"].tolist()
    (tmp_path / "secret.txt").write_text("secret")
    for out in ("SELECT * FROM read_text('{}/secret.txt')", "COPY (SELECT 1) TO '{}/out.csv'"):
        with pytest.raises(Exception, match=r"disabled by configuration|Only one query"):
            store.query(out.format(tmp_path), lake)


def test_an_evaluation_is_in_the_lake_once_it_is_whole(lake: Lake) -> None:
    tables = {"runs": pa.table({"run": ["r"]}), "answers": pa.table({"answer": ["ä", None]})}
    assert lake.evaluations() == set()
    lake.write_evaluation(DOMAIN, "r", tables)
    assert lake.evaluations() == {(DOMAIN, "r")}
    assert f"evaluations/{DOMAIN}/r/answers.parquet" in lake.files()
    assert lake.read_evaluation(DOMAIN, "r") == tables
    with pytest.raises(AttributeError):  # a write that doesn't get to its end
        lake.write_evaluation(DOMAIN, "r", {"runs": pa.table({"run": ["r"]}), "answers": None})  # type: ignore[dict-item]
    assert lake.evaluations() == set()
    assert lake.purge(DOMAIN)
    assert not [name for name in lake.files() if DOMAIN in name]


def test_the_doctor_leaves_nothing_behind(lake: Lake) -> None:
    lake.check_writable()
    root = lake.index_path.parent
    assert not root.exists() or list(root.iterdir()) == []


def test_a_lake_that_cannot_be_used_is_one_sentence_without_a_secret(account: str) -> None:
    with pytest.raises(SettingsError, match=r"abfs://nowhere/x can't be used .*Storage Blob Data Contributor") as told:
        on_azure("abfs://nowhere/x", account).check_writable()
    assert KEY not in str(told.value)


@pytest.mark.parametrize(
    "read",
    [
        lambda lake: lake.read_record("quarantine", DOMAIN),
        lambda lake: list(lake.rows(QuarantinedFile, DOMAIN)),
        lambda lake: lake.read_lines("training_files", DOMAIN, "valid.jsonl"),
        lambda lake: lake.exists("quarantine", DOMAIN),
        lambda lake: lake.purge(DOMAIN),
        lambda lake: lake.files(),
        lambda lake: lake.evaluations(),
        lambda lake: lake.domains("eval_report", ".html"),
        lambda lake: LakeRecords(lake).names("jobs/"),
        lambda lake: LakeRecords(lake).read("jobs/one"),
    ],
)
def test_a_lake_that_refuses_is_never_an_empty_one(read: Callable[[Lake], object], account: str) -> None:
    wrong = b64encode(b"another key").decode()
    with pytest.raises(SettingsError, match=r"The lake abfs://lake/x can't be used \(\w+: .*authenticate"):
        read(on_azure(f"abfs://{CONTAINER}/x", account.replace(KEY, wrong)))


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("abfs://lake@mine.dfs.core.windows.net/a/b", BlobLocation("mine", "lake", "a/b")),
        ("az://lake/a", BlobLocation("other", "lake", "a")),
        ("abfs://lake", BlobLocation("other", "lake", "")),
        ("/mnt/lake", None),
        ("s3://bucket/a", None),
    ],
)
def test_an_address_on_azure_names_account_container_and_folder(address: str, place: BlobLocation | None) -> None:
    variables = {} if place is None or place.account == "mine" else {"AZURE_STORAGE_ACCOUNT_NAME": "other"}
    assert parse_blob_address("RAFT_LAKE", address, Environment(process=variables, files={})) == place


SECRET = "canary-of-an-address"


@pytest.mark.parametrize(
    ("address", "variables", "told"),
    [
        ("abfs:///folder", {}, "allowed is abfs://container@account"),
        ("az://lake/a", {}, "names no storage account"),
        # a shared access signature, and a password: an address is shown in tables and reports
        (f"abfs://lake@mine.dfs.core.windows.net/a?sig={SECRET}", {}, "contains a query, a fragment or a password"),
        (f"s3://me:{SECRET}@bucket/a", {}, "contains a query, a fragment or a password"),
        # what would write into another account than the address names
        (
            "abfs://lake@mine.dfs.core.windows.net/a",
            {"AZURE_STORAGE_ACCOUNT_NAME": "other"},
            "RAFT_LAKE names mine and AZURE_STORAGE_ACCOUNT_NAME names other",
        ),
        (
            "abfs://lake@mine.dfs.core.windows.net/a",
            {"AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint=https://other.blob.core.windows.net;sas={SECRET}"},
            "RAFT_LAKE names mine and AZURE_STORAGE_CONNECTION_STRING names other",
        ),
        ("az://lake", {"AZURE_STORAGE_CONNECTION_STRING": SECRET}, "is not a connection string"),
    ],
)
@pytest.mark.parametrize("name", ["RAFT_LAKE", "RAFT_CALLS"])
def test_an_address_that_cannot_be_meant_is_told_before_anything_is_opened(
    name: str, address: str, variables: dict[str, str], told: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=told.replace("RAFT_LAKE", name)) as error:
        Project.load(tmp_path, {name: address} | variables)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("scheme", ["abfs", "abfss", "az"])
def test_the_schemes_of_azure_blob_are_one(scheme: str, tmp_path: Path) -> None:
    address = f"{scheme}://lake@mine.dfs.core.windows.net/a"
    assert Project.load(tmp_path, {"RAFT_LAKE": address}).lake == "abfs://lake@mine.dfs.core.windows.net/a"


def test_a_mistyped_account_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match=r"mine\.blob\.core\.windows\.net can't be resolved"):
        Lake(root="abfs://lake@no--account--of--mine.dfs.core.windows.net/a").check_writable()


def test_credentials_open_an_address_from_where_the_user_keeps_them() -> None:
    environment = Environment(process={}, files={"AZURE_STORAGE_SAS_TOKEN": "sig=1"})
    address, here = "abfs://lake@mine.dfs.core.windows.net/a", {"anon": False, "account_name": "mine"}
    assert storage_options(address, environment, str) == here | {"sas_token": "sig=1"}
    assert storage_options(address, Environment({}, {}), lambda: "signed in") == here | {"credential": "signed in"}
    assert storage_options("/mnt/lake", environment, str) == {}


def test_without_a_key_a_sign_in_that_fails_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("azure.identity", reason="the extra raft-assets[azure]")
    for name, value in {
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "IDENTITY_ENDPOINT": "http://127.0.0.1:9/token",
        "IDENTITY_HEADER": "none",
    }.items():
        monkeypatch.setenv(name, value)
    for signed_in in (storage_credential, storage_sign_in):  # by another test of this process, perhaps
        signed_in.cache_clear()
    with pytest.raises(
        EndpointError, match=r"Azure Blob is used without a key, and signing in failed .*`az login`, or"
    ):
        Lake(root="abfs://lake@mine.dfs.core.windows.net/a").check_writable()


def test_a_lake_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file where the folder should be", "utf-8")
    with pytest.raises(SettingsError, match=r"The lake .*/lake can't be written \(.*set RAFT_LAKE to one that is"):
        Lake(str(tmp_path / "lake")).check_writable()

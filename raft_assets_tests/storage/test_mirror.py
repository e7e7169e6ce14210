"""Documents in a container: what a project does with them as a person sees it, over Azurite and fsspec's memory."""

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from upath import UPath

from raft_assets.core.errors import DataError
from raft_assets.defs.automation import observe_domains
from raft_assets.defs.observation import DOCUMENTS, observe, observe_domain, plan_observation
from raft_assets.operations.process import DOMAIN_PARTITIONS
from raft_assets.operations.sources import read_sources
from raft_assets.settings.domains import QUESTIONS_FILE, read_mirror
from raft_assets.storage import containers
from raft_assets.storage.mirror import SAVE_EVERY, check_writable, documents_of, edited, refresh, refresh_domain
from raft_assets_tests.azure.blob import CONTAINER, storage_account
from raft_assets_tests.harness import ProjectHarness

TEXT = "The harbour of Marrow Bay was dredged in 1931. The dredger was called Constance.\n"
QUESTION = '{"id": "q1", "question": "When?", "answers": ["1931"], "evidence": ["dredged in 1931"]}\n'


class Remote:
    """Documents at an address, changed past the product as people do it."""

    def __init__(self, address: str, put: Any, delete: Any, read: Any, variables: dict[str, str]) -> None:
        self.address, self.put, self.delete, self.read, self.variables = address, put, delete, read, variables


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with storage_account(tmp_path_factory.mktemp("account")) as found:
        yield found


@pytest.fixture
def memory() -> Remote:
    files, root = UPath("memory://x").fs, f"/{uuid4().hex}/data"
    return Remote(
        f"memory:/{root}",
        lambda path, content: files.pipe_file(f"{root}/{path}", content),
        lambda path: files.rm_file(f"{root}/{path}"),
        lambda path: files.cat_file(f"{root}/{path}"),
        {},
    )


@pytest.fixture
def azure(account: str, tmp_path: Path) -> Remote:
    from azure.storage.blob import ContainerClient

    container = ContainerClient.from_connection_string(account, CONTAINER)
    return Remote(
        f"abfs://{CONTAINER}/{tmp_path.name}",
        lambda path, content: container.upload_blob(f"{tmp_path.name}/{path}", content, overwrite=True),
        lambda path: container.delete_blob(f"{tmp_path.name}/{path}"),
        lambda path: container.download_blob(f"{tmp_path.name}/{path}").readall(),
        {"AZURE_STORAGE_CONNECTION_STRING": account},
    )


@pytest.fixture(params=["memory", "azure"])
def remote(request: pytest.FixtureRequest) -> Remote:
    found: Remote = request.getfixturevalue(request.param)
    return found


def opened(remote: Remote, folder: Path) -> ProjectHarness:
    """A machine with a disk of its own that works on the documents."""
    project = ProjectHarness(folder)
    project.own_variables |= {"RAFT_DATA": remote.address, **remote.variables}
    return project


@pytest.fixture
def project(remote: Remote, tmp_path: Path) -> ProjectHarness:
    remote.put("mine/a.txt", TEXT.encode())
    remote.put("mine/sub/b.md", b"# Tide\n\n" + TEXT.encode())
    remote.put("other/c.txt", TEXT.encode())
    return opened(remote, tmp_path)


def version(project: ProjectHarness, domain: str) -> str:
    assert not refresh(project.opened, documents=True)
    return next(seen.data_version for seen in observe_domain(project.opened, domain) if seen.key == DOCUMENTS)


class Fetched:
    """The files that are fetched while it is watched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = list[str]()
        for kind in (containers._AzureContainer, containers._FsspecContainer):

            def fetch(container: Any, file: containers.RemoteFile, target: Path, *, real: Any = kind.fetch) -> None:
                self.paths.append(file.path)
                real(container, file, target)

            monkeypatch.setattr(kind, "fetch", fetch)


def test_the_same_documents_are_the_same_version_in_a_container_and_in_a_folder(
    project: ProjectHarness, remote: Remote, tmp_path: Path
) -> None:
    local = ProjectHarness(tmp_path / "local")
    local.write("data/mine/a.txt", TEXT)
    local.write("data/mine/sub/b.md", f"# Tide\n\n{TEXT}")
    assert version(project, "mine") == version(local, "mine")
    remote.put("mine/.hidden", b"x")
    remote.put("mine/Thumbs.db", b"x")
    assert version(project, "mine") == version(local, "mine")
    assert [page.path for page in read_sources(project.opened, "mine").pages] == ["a.txt", "sub/b.md"]


def test_an_upload_is_enough_for_the_next_look_and_a_file_is_fetched_once_for_each_version(
    project: ProjectHarness, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = Fetched(monkeypatch)
    with project.instance() as instance:
        assert observe(instance, project.opened).domains == ["mine", "other"]
        assert sorted(fetched.paths) == ["mine/a.txt", "mine/sub/b.md", "other/c.txt"]
        assert plan_observation(instance, project.opened).is_empty
        remote.put("mine/a.txt", TEXT.encode())  # the same bytes once more, under a new etag
        assert plan_observation(instance, project.opened).is_empty
        assert fetched.paths[3:] == ["mine/a.txt"]
        remote.put("mine/new.txt", b"Another text about the tide.")
        plan = observe(instance, project.opened)
        assert [(seen.key, seen.domain) for seen in plan.changed] == [(DOCUMENTS, "mine")]
        assert fetched.paths[4:] == ["mine/new.txt"]
        remote.delete("mine/new.txt")
        remote.delete("other/c.txt")
        plan = observe(instance, project.opened)
        assert (plan.domains, plan.gone_domains) == (["mine"], ["other"])
        assert [file.path for file in documents_of(project.opened, "mine")] == ["a.txt", "sub/b.md"]
        kept = [file.read_bytes() for file in project.opened.data.rglob("*") if file.is_file()]
        assert not any(b"Another text" in content for content in kept)  # what vanished there has vanished here


def test_a_root_that_cannot_be_reached_or_is_empty_unregisters_no_domain(
    project: ProjectHarness, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(containers.AZURE_OPTIONS, "retry_total", 0)
    project.look()

    def tick() -> str:
        with project.instance() as instance:
            sensed = observe_domains(dg.build_sensor_context(instance=instance, resources={"project": project.opened}))
            assert sorted(instance.get_dynamic_partitions(DOMAIN_PARTITIONS)) == ["mine", "other"]
        assert isinstance(sensed, dg.SkipReason)
        return str(sensed.skip_message)

    for path in ("mine/a.txt", "mine/sub/b.md", "other/c.txt"):
        remote.delete(path)
    assert f"{remote.address} holds no domain" in tick()
    assert "'mine' stays registered" in tick()
    if "abfs" in remote.address:
        project.own_variables["RAFT_DATA"] = "abfs://nowhere/data"
        assert "abfs://nowhere/data can't be reached" in tick()
        assert "nothing of them counts as deleted" in tick()
        secret = remote.variables["AZURE_STORAGE_CONNECTION_STRING"]
        closed = secret.partition("BlobEndpoint")[0] + "BlobEndpoint=http://127.0.0.1:9/raftlake;"
        project.own_variables |= {"RAFT_DATA": remote.address, "AZURE_STORAGE_CONNECTION_STRING": closed}
        assert "can't be reached" in tick()
        assert secret.partition("AccountKey=")[2].partition(";")[0] not in tick()


UNSAFE = {
    "sub/../../up.txt": "leads elsewhere",
    "a/./b.txt": "leads elsewhere",
    "/absolute.txt": "leads elsewhere",
    "back\\slash.txt": "a backslash",
    "line\nbreak.txt": "control characters",
    f"{'x' * 300}.txt": "longer than 255 bytes",
}


def test_names_that_are_no_names_are_quarantined_and_nothing_is_written_outside(
    memory: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put("mine/a.txt", TEXT.encode())
    memory.put("mine/A.txt", TEXT.encode() + b"Another.")  # one file with a.txt on some disks
    project = opened(memory, tmp_path / "project")
    real = containers._FsspecContainer.list

    def with_unsafe(container: Any, folder: str = "") -> Iterator[containers.RemoteFile]:
        yield from real(container, folder)
        for name in UNSAFE:
            if f"mine/{name}".startswith(folder):
                yield containers.RemoteFile(f"mine/{name}", 5, "1")
        for name in ("../x.txt", "MINE/x.txt", "a,b/x.txt", "/x.txt", "//y.txt"):
            if not folder:
                yield containers.RemoteFile(name, 5, "1")

    monkeypatch.setattr(containers._FsspecContainer, "list", with_unsafe)
    problems = refresh(project.opened, documents=True)
    assert {"..", "MINE", "a,b", ""} == problems.keys()
    assert "one folder on some disks" in str(problems["MINE"])
    monkeypatch.setattr(
        containers._FsspecContainer,
        "list",
        lambda container, folder="": (file for file in with_unsafe(container, folder) if file.path[:4] == "mine"),
    )
    sources = read_sources(project.opened, "mine")
    assert [page.path for page in sources.pages] == ["A.txt", "a.txt"]
    told = {file.path: f"{file.reason}: {file.detail}" for file in sources.quarantined}
    assert len(told) == len(UNSAFE)
    for name, reason in UNSAFE.items():
        assert reason in told[name.replace("\n", "\\n")]
        assert told[name.replace("\n", "\\n")].startswith("unsafe_name")
    written = {file for file in tmp_path.rglob("*.txt") if file.is_file()}
    assert not written  # documents lie under their hashes


def test_a_document_above_the_limit_is_quarantined_without_being_fetched(
    memory: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put("mine/a.txt", TEXT.encode())
    memory.put("mine/large.txt", b"x" * 2_000_000)
    memory.put("mine/domain.yaml", b"documents: {max_file_mb: 1}\n")
    project, fetched = opened(memory, tmp_path), Fetched(monkeypatch)
    for _ in range(2):
        sources = read_sources(project.opened, "mine")
        assert [(file.path, file.reason) for file in sources.quarantined] == [("large.txt", "too_large")]
    assert sorted(fetched.paths) == ["mine/a.txt", "mine/domain.yaml"]
    memory.put("mine/domain.yaml", b"documents: {max_file_mb: 3}\n")
    assert read_sources(project.opened, "mine").known[1].content_hash


def test_documents_that_do_not_fit_on_the_disk_are_not_begun(
    memory: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put("mine/a.txt", TEXT.encode())
    project, fetched = opened(memory, tmp_path), Fetched(monkeypatch)
    monkeypatch.setattr("raft_assets.storage.mirror.KEPT_FREE", 10**18)
    with pytest.raises(DataError, match=r"has 0 MB, and there is room for 0 MB .* a larger disk"):
        documents_of(project.opened, "mine")
    assert fetched.paths == []


def test_what_was_fetched_is_kept_when_it_breaks_off(
    memory: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        memory.put(f"mine/{number:02}.txt", TEXT.encode() + b"%d" % number)
    project, real = opened(memory, tmp_path), containers._FsspecContainer.fetch

    def breaks(container: Any, file: containers.RemoteFile, target: Path) -> None:
        if file.path == "mine/30.txt":
            raise containers._changed("memory", file.path)
        real(container, file, target)

    monkeypatch.setattr(containers._FsspecContainer, "fetch", breaks)
    with pytest.raises(DataError, match=r"'mine/30.txt' .* was changed"):
        documents_of(project.opened, "mine")
    monkeypatch.setattr(containers._FsspecContainer, "fetch", real)
    fetched = Fetched(monkeypatch)
    with project.instance() as instance:  # a look that has no time fetches nothing, says so, and unregisters nothing
        plan = plan_observation(instance, project.opened, within_s=-1.0)
    assert "still being fetched" in str(plan.problems["mine"])
    assert fetched.paths == []
    assert len(documents_of(project.opened, "mine")) == 40
    assert 1 <= len(fetched.paths) < 40


def test_a_process_that_is_killed_while_it_fetches_leaves_nothing_half_and_little_to_fetch_again(
    azure: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {f"{number:03}.txt": TEXT.encode() + b"%d" % number for number in range(300)}
    for name, content in contents.items():
        azure.put(f"mine/{name}", content)
    project = opened(azure, tmp_path)
    process = project.start("status")
    folder = project.opened.data / "mine"
    while not read_mirror(folder) and process.poll() is None:
        time.sleep(0.01)
    project.kill(process)
    fetched = Fetched(monkeypatch)
    found = documents_of(project.opened, "mine")
    assert {file.path: file.content_hash for file in found} == {
        name: sha256(content).hexdigest() for name, content in contents.items()
    }
    assert len(fetched.paths) <= len(contents) - SAVE_EVERY
    assert not (folder / ".drafts").exists()


def test_questions_are_written_to_the_address_and_nobody_overwrites_another_unseen(
    project: ProjectHarness, remote: Remote, tmp_path: Path
) -> None:
    there = opened(remote, tmp_path / "there")
    with edited(project.opened, "mine", QUESTIONS_FILE) as file:
        file.write_text(QUESTION, "utf-8")
    assert remote.read("mine/questions.jsonl") == QUESTION.encode()
    refresh_domain(there.opened, "mine")
    assert (there.opened.data / "mine" / QUESTIONS_FILE).read_text("utf-8") == QUESTION

    def write_beside_another() -> None:
        with edited(project.opened, "mine", QUESTIONS_FILE) as file:
            file.write_text("mine", "utf-8")
            remote.put("mine/questions.jsonl", b"theirs")

    with pytest.raises(DataError, match=r"questions.jsonl' .* changed by somebody else"):
        write_beside_another()
    assert remote.read("mine/questions.jsonl") == b"theirs"
    refresh_domain(project.opened, "mine")
    assert (project.opened.data / "mine" / QUESTIONS_FILE).read_text("utf-8") == "theirs"


def test_commands_work_on_an_address_and_name_it(azure: Remote, tmp_path: Path) -> None:
    azure.put("mine/a.txt", TEXT.encode() * 30)
    project = opened(azure, tmp_path)
    assert project.materialize("mine", "chunks")
    assert project.not_fresh("mine").keys().isdisjoint({"source_documents", "chunks"})
    azure.put("mine/b.txt", b"The tide was low in 1932.")
    assert project.not_fresh("mine")["source_documents"] == "stale"
    told = project.raft_here("domains")
    assert told.stdout.startswith("mine: 2 documents"), told
    azure.put("mine/questions.jsonl", b"not json")
    told = project.raft_here("questions", "check", "mine")
    assert f"{azure.address}/mine/questions.jsonl, line 1 is not valid JSON" in told.stderr
    assert os.fspath(project.opened.data) not in told.stdout + told.stderr
    azure.delete("mine/questions.jsonl")
    sheet = project.write("sheet.csv", "question,answer,evidence\nWhen was it dredged?,1931,dredged in 1931\n")
    told = project.raft_here("questions", "add", "mine", str(sheet))
    assert f"{azure.address}/mine/questions.jsonl holds 1" in told.stdout, told
    assert b"When was it dredged?" in azure.read("mine/questions.jsonl")
    check_writable(project.opened)
    assert "there: mine" in project.raft_here("config", "bats").stderr
    told = project.raft_here("import", "new", "somewhere.jsonl")
    assert f"The documents lie at {azure.address}" in told.stderr


def bytes_of(project: ProjectHarness) -> bytes:
    """Everything that the project keeps on this machine."""
    return b"".join(file.read_bytes() for file in project.opened.home.rglob("*") if file.is_file())


def test_doctor_and_purge_work_on_an_address_and_nothing_of_the_text_is_left_here(
    azure: Remote, tmp_path: Path
) -> None:
    azure.put("mine/a.txt", TEXT.encode() * 30)
    azure.put("mine/b.txt", b"The pilot Edith Farrow steered the tug for nine years.\n" * 20)
    azure.put("other/c.txt", b"The market is held on Mondays.\n")
    project = opened(azure, tmp_path)
    assert f"ok       documents: {azure.address} can be written" in project.raft_here("doctor").stdout
    assert project.materialize("mine", "chunks")
    assert b"Edith Farrow" in bytes_of(project)
    document = ("purge", "mine", "--document", "b.txt", "--yes")
    refused = project.raft_here(*document)
    assert (refused.returncode, "b.txt is still in 'mine'" in refused.stderr) == (2, True), refused.stderr
    azure.delete("mine/b.txt")
    purged = project.raft_here(*document)
    assert purged.returncode == 0, purged.stdout + purged.stderr
    assert b"Edith Farrow" not in bytes_of(project)
    assert b"Constance" in bytes_of(project)
    azure.delete("mine/a.txt")
    purged = project.raft_here("purge", "mine", "--yes")
    assert purged.returncode == 0, purged.stdout + purged.stderr
    assert b"Constance" not in bytes_of(project)
    assert project.look() == ["other"]

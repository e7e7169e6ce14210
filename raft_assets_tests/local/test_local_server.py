"""The local server over real sockets, with the official client before it and a double of vLLM behind it."""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import psutil
import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.local.engine import MAX_CONTEXT, Address, Engine, Launch
from raft_assets.local.interpreter import EngineKind, WorkerInterpreter
from raft_assets.local.models import adapter_store
from raft_assets.local.server import serve
from raft_assets.local.settings import LocalSettings
from raft_assets.provider.files import FileStore
from raft_assets.provider.job_state import JobFolder, NewEvents
from raft_assets.provider.jobs import JobService
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.embedded.provider import until
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.local.served import HeldJob, Server, serving, settings_with_double, tiny_model

KEY = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(settings_with_double(tmp_path_factory.mktemp("local"))) as server:
        server.answer("are you there?")
        yield server


def published(settings: LocalSettings, base_sha256: str) -> str:
    """An adapter in the store of the server's jobs."""

    def save(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_bytes(base_sha256.encode())
        (folder / "adapter_config.json").write_text("{}")
        (folder / "raft.json").write_text(f'{{"base_sha256": "{base_sha256}"}}')

    return adapter_store(settings.folder).publish(save, base=settings.model_id, suffix="bats").id


def test_base_and_student_answer_from_one_process(server: Server) -> None:
    student = published(server.settings, server.settings.base_sha256)
    assert server.ask("hello") == f"{server.settings.model_id} heard: hello"
    pid = server.engine_pid()
    assert [server.ask("hello", student), server.ask("again", student)] == [
        f"{student} heard: hello",
        f"{student} heard: again",
    ]
    assert server.engine_pid() == pid
    assert {model.id for model in server.client.models.list()} == {server.settings.model_id, student}
    loaded = [asked["body"] for asked in server.asked() if asked["path"] == "/v1/load_lora_adapter"]
    assert [one["lora_name"] for one in loaded] == [student]  # once
    assert Path(loaded[0]["lora_path"]).is_relative_to(server.settings.folder / "models")


def test_an_adapter_of_other_weights_and_a_model_that_is_none_are_told_apart(server: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="trained on other weights"):
        server.ask("hello", published(server.settings, "of another base"))
    with pytest.raises(openai.NotFoundError, match=f"answers as `{server.settings.model_id}`"):
        server.ask("hello", f"{server.settings.model.name}@000000000000")
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        server.ask("hello", "../../../etc")


def test_an_answer_is_streamed(server: Server) -> None:
    stream = server.client.chat.completions.create(
        model=server.settings.model_id, messages=[{"role": "user", "content": "one two"}], stream=True
    )
    pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
    assert "".join(piece or "" for piece in pieces).split()[-2:] == ["one", "two"]
    assert len(pieces) > 3


@pytest.mark.parametrize(
    "path", ["/sleep", "/wake_up", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/tokenize"]
)
def test_what_administers_the_engine_is_not_passed_on(server: Server, path: str) -> None:
    before = len(server.asked())
    assert server.raw(path, method="POST").status_code == 404
    assert len(server.asked()) == before


def test_parameters_that_are_the_engines_own_are_refused(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="'chat_template' is not supported") as refused:
        server.client.chat.completions.create(
            model=server.settings.model_id,
            messages=[{"role": "user", "content": "hello"}],
            extra_body={"chat_template": "{{ ''.__class__ }}"},
        )
    assert refused.value.code == "unsupported_parameter"


def test_while_a_job_trains_the_engine_sleeps_and_clients_are_told_which_job_it_is(server: Server) -> None:
    job = HeldJob(server.settings)
    with pytest.raises(openai.InternalServerError) as paused:
        until(lambda: server.ask("hello") and None)
    assert (paused.value.status_code, paused.value.code) == (503, "paused_for_job")
    assert job.id in paused.value.message
    assert int(paused.value.response.headers["retry-after"]) > 0
    until(lambda: server.asked()[-1]["path"] == "/sleep")
    assert server.client.models.retrieve(server.settings.model_id).id == server.settings.model_id  # lists go on
    assert server.client.fine_tuning.jobs.retrieve(job.id).status == "validating_files"
    waiting = HeldJob(server.settings)
    job.end()
    with pytest.raises(openai.InternalServerError, match=waiting.id):
        until(lambda: _told(server, waiting.id))
    waiting.end()
    assert until(lambda: _answered(server)) == f"{server.settings.model_id} heard: hello"
    assert [asked["path"] for asked in server.asked() if asked["path"] in ("/sleep", "/wake_up")][-2:] == [
        "/sleep",
        "/wake_up",
    ]


def _told(server: Server, job: str) -> None:
    try:
        server.ask("hello")
    except openai.InternalServerError as error:
        if job in error.message:
            raise


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _answered(server: Server) -> str | None:
    try:
        return server.ask("hello")
    except openai.InternalServerError:
        return None


def test_an_engine_that_dies_is_started_again(server: Server) -> None:
    pid = server.engine_pid()
    with pytest.raises(openai.InternalServerError) as lost:
        server.ask("die")
    assert (lost.value.status_code, lost.value.code) == (503, "loading_model")
    assert server.answer("hello") == f"{server.settings.model_id} heard: hello"
    assert server.engine_pid() != pid


@contextmanager
def orphan_of_killed_server(settings: LocalSettings) -> Iterator[psutil.Process]:
    """The engine that a server leaves behind that is killed."""
    with serving(settings) as killed:
        killed.answer("hello")
        orphan = psutil.Process(killed.engine_pid())
        os.kill(killed.process.pid, signal.SIGKILL)
        killed.process.wait()
        yield orphan


def test_a_killed_server_leaves_no_engine_to_the_next_one(tmp_path: Path) -> None:
    settings = settings_with_double(tmp_path)
    with orphan_of_killed_server(settings) as orphan, serving(settings) as next_one:
        next_one.answer("hello")
        assert next_one.engine_pid() != orphan.pid
        assert not _lives(orphan)


def test_web_pages_of_other_origins_and_other_names_are_kept_out(server: Server) -> None:
    assert server.raw("/v1/models").status_code == 200
    assert server.raw("/v1/models", headers={"host": "evil.example"}).status_code == 403
    assert server.raw("/v1/models", headers={"origin": "https://evil.example"}).status_code == 403
    assert server.raw("/v1/models", headers={"origin": "null"}).status_code == 403
    assert server.raw("/v1/models", headers={"origin": server.url}).status_code == 200


def test_other_machines_need_a_key(tmp_path: Path) -> None:
    settings = settings_with_double(tmp_path)
    for key in ("", KEY[:-1]):
        with pytest.raises(SettingsError, match="at least 32 characters"):
            serve(settings, host="0.0.0.0", port=1, key=key)
    with serving(settings, key=KEY, host="0.0.0.0", names=["gpu-box"]) as server:
        right = {"authorization": f"Bearer {KEY}"}
        assert server.raw("/v1/models").status_code == 401
        assert server.raw("/v1/models", headers={"authorization": f"Bearer {KEY}x"}).status_code == 401
        assert server.raw("/v1/models", headers=right).status_code == 200
        assert server.raw("/v1/models", headers=right | {"host": "gpu-box:8321"}).status_code == 200
        assert server.raw("/v1/models", headers=right | {"host": "other"}).status_code == 403
        assert server.raw("/health").status_code == 200


def test_two_servers_do_not_share_a_folder(server: Server) -> None:
    with pytest.raises(SettingsError, match="one machine has one owner"):
        serve(server.settings, host="127.0.0.1", port=1, key="")


def test_the_models_id_changes_with_its_weights_and_its_template(tmp_path: Path) -> None:
    settings = settings_with_double(tmp_path)
    first = settings.model_id
    shutil.copytree(settings.model.path, tmp_path / "elsewhere" / "tiny")
    assert settings_with_double(tmp_path / "elsewhere").model_id == first  # a path is no part of it
    (settings.model.path / "chat_template.jinja").write_text("{{ messages }}")
    assert settings.model_id != first


@pytest.mark.parametrize("kind", ["vllm", "transformers"])
def test_what_a_context_is_limited_to_reaches_the_engine(kind: EngineKind, tmp_path: Path) -> None:
    settings = settings_with_double(tmp_path)
    launch = Launch(kind, settings.interpreter, settings.model, "m", tmp_path, tmp_path, max_model_len=512)
    assert "512" in launch.command(Address())


def test_vllm_is_started_with_a_context_that_fits_and_the_template_of_training(tmp_path: Path) -> None:
    long = tiny_model(tmp_path / "long")
    (long.path / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 262_144}))
    template = tmp_path / "chat_template.jinja"
    launch = Launch("vllm", WorkerInterpreter(Path("python")), long, "m", tmp_path, tmp_path, chat_template=template)
    command = launch.command(Address())
    assert command[command.index("--max-model-len") + 1] == str(MAX_CONTEXT)
    assert command[command.index("--chat-template") + 1] == str(template)
    assert command[command.index("--chat-template-content-format") + 1] == "string"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("starting\nsomething odd", "something odd"),
        (
            "(EngineCore pid=7) ValueError: To serve at least one request with the models's max seq len (131072), "
            "(16.0 GiB KV cache is needed\n"
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            "ValueError: To serve at least one request.* Serve it with fewer tokens, such as --context 8192",
        ),
        (
            "(EngineCore pid=7) ValueError: Free memory on device (9.5/23.6 GiB) on startup is less than desired GPU "
            "memory utilization (0.9, 21.3 GiB). Decrease GPU memory utilization or reduce GPU memory used by other "
            "processes.\nRuntimeError: Engine core initialization failed. See root cause above.",
            "ValueError: Free memory on device .* RAFT_LOCAL_GPU_PERCENT=50",
        ),
    ],
)
def test_the_cause_for_which_an_engine_ended_is_told_with_a_way_out(log: str, said: str, tmp_path: Path) -> None:
    settings = settings_with_double(tmp_path)
    engine = Engine(Launch("vllm", settings.interpreter, settings.model, "m", tmp_path, tmp_path))
    engine.log.write_text(log)
    assert re.search(said, engine.reason)


def test_nobody_else_reaches_the_engine(server: Server) -> None:
    server.answer("hello")
    folder = Path(json.loads((server.settings.folder / "engine.json").read_text())["folder"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "engine").is_socket()
    listening = {one.laddr for one in psutil.Process(server.engine_pid()).net_connections("inet")}
    assert listening == set()


def test_an_engine_that_a_killed_server_left_behind_ends_before_the_next_one_trains(tmp_path: Path) -> None:
    settings = settings_with_double(tmp_path)
    with orphan_of_killed_server(settings) as orphan:
        held = HeldJob(settings)
        with serving(settings) as next_one:
            assert until(lambda: not _lives(orphan))
            with pytest.raises(openai.InternalServerError, match=held.id):
                until(lambda: _told(next_one, held.id))
            held.end()


def test_a_finished_job_is_not_read_again_while_the_machine_looks_for_the_next(tmp_path: Path) -> None:
    settings = settings_with_double(tmp_path)
    held = HeldJob(settings)
    jobs = JobService(settings.folder, FileStore(settings.folder), trainable=[], worker=[])
    assert jobs.unfinished() == [held.id]
    held.end()
    assert jobs.unfinished() == []
    record = settings.folder / "jobs" / held.id / "job.json"
    record.write_text(record.read_text().replace("succeeded", "running"))
    assert jobs.unfinished() == []


def test_a_workers_events_are_each_read_once(tmp_path: Path) -> None:
    folder, news = JobFolder(tmp_path), NewEvents(tmp_path / "events.jsonl")
    assert news.read() == []
    folder.tell("one")
    folder.tell("zw\u00f6lf")
    assert [event["message"] for event in news.read()] == ["one", "zw\u00f6lf"]
    assert news.read() == []
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"id": "half')  # by a worker that was killed
    assert news.read() == []
    folder.tell("three")
    assert [event["message"] for event in news.read()] == ["three"]


def test_a_model_is_not_served_for_a_command_that_is_wrong(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path / "project")
    project.copy_domain("bats", SMALL, documents=1)
    project.own_variables = {"STUDENT_LOCAL_MODEL": str(tiny_model(tmp_path / "tiny").path)}
    done = project.raft("run", SMALL, "--select", "no_such_asset")
    assert (done.returncode != 0, "no_such_asset" in done.stderr) == (True, True)
    assert not project.opened.local_folder.exists()

"""Settings: what is allowed, what wins, what an error says, and which endpoint a role gets."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from raft_assets.core.errors import SettingsError
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.environment import Environment
from raft_assets.settings.prices import own_prices
from raft_assets.settings.project import Project

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "presets").mkdir()
    (tmp_path / "workspace.yaml").touch()
    return tmp_path


def place(project: Path, **variables: str) -> Project:
    return Project.load(project, variables)


def test_the_shipped_default_preset_is_the_defaults() -> None:
    shipped = yaml.safe_load((REPOSITORY / "presets" / "default.yaml").read_text("utf-8"))
    assert DomainSettings.model_validate(shipped) == DomainSettings()
    assert set(shipped) == set(DomainSettings.model_fields)


@pytest.mark.parametrize("preset", sorted((REPOSITORY / "presets").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_preset_is_valid(preset: Path) -> None:
    DomainSettings.model_validate(yaml.safe_load(preset.read_text("utf-8")))


def test_a_domain_overrides_its_preset_and_sources_are_told(project: Path) -> None:
    (project / "presets" / "default.yaml").write_text("chunks: {chunk_size: 200}\ndataset: {distractors: 5}")
    (project / "data" / "mine" / "domain.yaml").write_text("dataset: {distractors: 1}")
    resolved = place(project).settings("mine")
    assert (resolved.values.chunks.chunk_size, resolved.values.dataset.distractors) == (200, 1)
    assert resolved.sources["chunks.chunk_size"] == "presets/default.yaml"
    assert resolved.sources["dataset.distractors"] == "mine/domain.yaml"
    assert resolved.sources["dataset.p"] == "default"


def test_the_preset_is_the_domains_own_then_the_last_chosen_then_the_environments(project: Path) -> None:
    for name in ("one", "two", "three"):
        (project / "presets" / f"{name}.yaml").write_text("{}")
    assert place(project, RAFT_PRESET="one").settings("mine").preset == "one"
    place(project).select_preset("mine", "two")
    assert place(project, RAFT_PRESET="one").settings("mine").preset == "two"
    (project / "data" / "mine" / "domain.yaml").write_text("preset: three")
    assert place(project).settings("mine").preset == "three"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("chunks: {chunk_size: 3}", "chunks.chunk_size is 3. Allowed: should be greater than or equal to 16"),
        ("chunks: {chunk_size: many}", "chunks.chunk_size is 'many'"),
        (
            "chunks: {chunksize: 100}",
            "chunks.chunksize is 100. There is no such setting; the settings there are: tokenizer, chunk_size",
        ),
        ("chunk: {}", "chunk is {}. There is no such setting; the settings there are: version, documents, chunks"),
        ("chunks: 100", "chunks is 100; it must hold names and values"),
        ("chunks: {chunk_overlap: 160}", "chunk_overlap must be at most half of chunk_size"),
        ("dataset: {p: 1.5}", "dataset.p is 1.5"),
        ("dataset: {without_oracle: guess}", "'abstain' or 'answer'"),
        ("training: {n_epochs: 0}", "training.n_epochs is 0"),
        ("evaluation: {arms: [retrieved]}", "arms must hold main"),
        ("preset: nowhere", "no preset 'nowhere'"),
        ("- a list", "must hold names and values"),
        ("a: [", "not readable as YAML"),
        ("when: 2024-13-45", "not readable as YAML"),
        ("a: " + "[" * 3000, "not readable as YAML"),
    ],
)
def test_an_error_names_file_field_value_and_what_is_allowed(project: Path, content: str, said: str) -> None:
    (project / "data" / "mine" / "domain.yaml").write_text(content)
    with pytest.raises(SettingsError) as error:
        place(project).settings("mine")
    assert said in str(error.value)
    assert "mine" in str(error.value) or "preset" in content


@pytest.mark.parametrize("place_it", [Path.mkdir, lambda file: file.symlink_to("nowhere")])
@pytest.mark.parametrize("name", ["data/mine/domain.yaml", "prices.yaml"])
def test_settings_that_cannot_be_read_are_not_taken_for_none(
    project: Path, name: str, place_it: Callable[[Path], None]
) -> None:
    place_it(project / name)
    with pytest.raises(SettingsError, match=f"{name} can't be read"):
        place(project).settings("mine") if name.endswith("domain.yaml") else own_prices(project)


@pytest.mark.parametrize("address", ["htp://x/y", "s3://x/y"])
def test_an_address_that_nothing_here_opens_is_told(project: Path, address: str) -> None:
    with pytest.raises(SettingsError, match=f"RAFT_LAKE is '{address}', which can't be opened: "):
        Project.load(project, {"RAFT_LAKE": address}).lake  # noqa: B018


def endpoints(project: Path, env: str = "", **variables: str) -> Environment:
    (project / ".env").write_text(env)
    return Environment.load(project, variables)


def test_with_nothing_configured_every_role_is_embedded_and_there_is_no_judge(project: Path) -> None:
    found = endpoints(project).endpoints()
    assert {endpoint.provider for endpoint in found.values()} == {"embedded"}
    assert set(found) == set(Role) - {Role.JUDGE}


def test_a_key_exported_in_the_shell_configures_nothing(project: Path) -> None:
    found = endpoints(project, OPENAI_API_KEY="sk-shell", OPENAI_BASE_URL="http://elsewhere").endpoints()
    assert {endpoint.provider for endpoint in found.values()} == {"embedded"}
    teacher = endpoints(
        project, TEACHER_OPENAI_DEPLOYMENT="m", TEACHER_OPENAI_API_KEY="sk-role", OPENAI_BASE_URL="http://elsewhere"
    ).endpoints()[Role.TEACHER]
    assert teacher.base_url == "https://api.openai.com/v1"


def test_unprefixed_credentials_of_the_file_serve_the_roles_that_name_a_model(project: Path) -> None:
    found = endpoints(project, "OPENAI_API_KEY=sk-file\nTEACHER_OPENAI_DEPLOYMENT=big\n").endpoints()
    assert found[Role.TEACHER].api_key is not None
    assert found[Role.TEACHER].api_key.get_secret_value() == "sk-file"
    assert found[Role.STUDENT].provider == "embedded"


def test_completion_is_read_as_the_teacher(project: Path) -> None:
    found = endpoints(project, COMPLETION_OPENAI_API_KEY="sk", COMPLETION_OPENAI_DEPLOYMENT="big").endpoints()
    assert found[Role.TEACHER].model == "big"


def test_the_baseline_is_the_students_base_model(project: Path) -> None:
    found = endpoints(
        project, STUDENT_AZURE_OPENAI_ENDPOINT="https://r.openai.azure.com", STUDENT_AZURE_OPENAI_DEPLOYMENT="mini"
    ).endpoints()
    assert (found[Role.BASELINE].model, found[Role.BASELINE].provider) == ("mini", "azure")


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/v1", "http://vllm:8000/v1", "https://llm.example.com/v1", "https://myopenai.com"]
)
def test_a_service_that_is_not_openai_may_need_no_key(project: Path, address: str) -> None:
    found = endpoints(project, TEACHER_OPENAI_DEPLOYMENT="m", TEACHER_OPENAI_BASE_URL=address).endpoints()
    assert (found[Role.TEACHER].base_url, found[Role.TEACHER].api_key) == (address, None)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TEACHER_OPENAI_API_KEY": "sk-canary"}, "TEACHER_OPENAI_DEPLOYMENT"),
        ({"TEACHER_OPENAI_DEPLOYMENT": "m"}, "TEACHER_OPENAI_API_KEY"),
        (
            {"JUDGE_OPENAI_DEPLOYMENT": "m", "JUDGE_OPENAI_BASE_URL": "https://api.openai.com/v1/"},
            "JUDGE_OPENAI_API_KEY",
        ),
        (
            {"JUDGE_OPENAI_DEPLOYMENT": "m", "JUDGE_OPENAI_BASE_URL": "https://eu.api.openai.com/v1"},
            "JUDGE_OPENAI_API_KEY",
        ),
        (
            {"JUDGE_AZURE_OPENAI_API_KEY": "sk-canary", "JUDGE_AZURE_OPENAI_DEPLOYMENT": "m"},
            "JUDGE_AZURE_OPENAI_ENDPOINT",
        ),
        ({"STUDENT_AZURE_OPENAI_ENDPOINT": "https://r"}, "STUDENT_AZURE_OPENAI_DEPLOYMENT"),
        ({"RAFT_PROVIDER": "openai"}, "allowed is embedded"),
        (
            {"TEACHER_OPENAI_BASE_URL": "http://me:canary@host/v1", "TEACHER_OPENAI_DEPLOYMENT": "m"},
            "_OPENAI_API_KEY instead",
        ),
    ],
)
def test_a_half_configured_role_is_an_error_that_says_what_to_set(
    project: Path, variables: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        endpoints(project, **variables).endpoints()
    assert "canary" not in str(error.value)


def test_pinning_the_embedded_provider_ignores_what_is_configured(project: Path) -> None:
    found = endpoints(
        project, "TEACHER_OPENAI_API_KEY=sk\nTEACHER_OPENAI_DEPLOYMENT=m\n", RAFT_PROVIDER="embedded"
    ).endpoints()
    assert found[Role.TEACHER].provider == "embedded"


@pytest.mark.parametrize(
    ("address", "is_free"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.8.9.10:8000/v1", True),
        ("http://localhost:11434/v1", True),
        ("http://LOCALHOST/v1", True),
        ("http://llm.localhost:8080/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://[::ffff:127.0.0.1]:8080/v1", True),
        ("http://0.0.0.0:8000/v1", True),  # as servers print it
        ("http://10.0.0.7:8000/v1", False),  # a machine of somebody's, who may send a bill
        ("https://api.openai.com/v1", False),
        ("https://localhost.example.com/v1", False),
        ("https://127.0.0.1.example.com/v1", False),
        ("http://[broken/v1", False),
        ("localhost:8000", False),
    ],
)
def test_a_service_on_this_machine_is_free_and_every_other_one_is_paid(address: str, *, is_free: bool) -> None:
    assert Endpoint(Role.TEACHER, "openai", "m", address).is_free is is_free
    assert not Endpoint(Role.TEACHER, "azure", "m", address).is_free  # Azure is not on this machine


def test_what_is_declared_free_is_free_and_a_price_of_the_projects_own_makes_a_local_service_paid(
    project: Path,
) -> None:
    roles = {"STUDENT_OPENAI_BASE_URL": "https://llm.example/v1", "STUDENT_OPENAI_DEPLOYMENT": "ours"}
    local = {"TEACHER_OPENAI_BASE_URL": "http://localhost:4000/v1", "TEACHER_OPENAI_DEPLOYMENT": "gpt-4o"}
    paid = {role for role, endpoint in place(project, **roles, **local).endpoints.items() if not endpoint.is_free}
    assert paid == {Role.STUDENT, Role.BASELINE}
    assert all(one.is_free for one in place(project, **roles, **local, STUDENT_PRICE="0").endpoints.values())
    assert not place(project, **roles, BASELINE_PRICE="0.0").endpoints[Role.STUDENT].is_free
    (project / "prices.yaml").write_text("- {model: gpt-4o, input: 2.5, source: a proxy, date: 2026-11-28}")
    assert not place(project, **local).endpoints[Role.TEACHER].is_free
    assert place(project, **local, TEACHER_PRICE="0").endpoints[Role.TEACHER].is_free
    (project / "prices.yaml").write_text("- {model: gpt-4o, input: 0, output: 0, source: ours, date: 2026-11-28}")
    assert place(project, **local).endpoints[Role.TEACHER].is_free


@pytest.mark.parametrize("value", ["5", "free", "-1"])
def test_a_price_of_a_role_can_only_be_nothing(project: Path, value: str) -> None:
    with pytest.raises(SettingsError, match=f"TEACHER_PRICE is '{value}'"):
        endpoints(project, TEACHER_PRICE=value).endpoints()


def test_a_key_shows_nowhere(project: Path) -> None:
    found = endpoints(project, TEACHER_OPENAI_API_KEY="sk-canary", TEACHER_OPENAI_DEPLOYMENT="m").endpoints()
    assert "canary" not in f"{found} {found[Role.TEACHER].service}"


@pytest.mark.parametrize("value", ["0", "-1", "many", "1000"])
def test_a_wrong_number_of_runs_is_refused(project: Path, value: str) -> None:
    with pytest.raises(SettingsError, match="RAFT_MAX_CONCURRENT_RUNS"):
        place(project, RAFT_MAX_CONCURRENT_RUNS=value)


@pytest.mark.parametrize("name", ["RAFT_HOME", "RAFT_PRESETS", "RAFT_ENCODER_DIR"])
@pytest.mark.parametrize(
    "address",
    [
        "https://mine.blob.core.windows.net/documents?sv=2024&SIG=s3cret",
        "abfs://documents@mine.dfs.core.windows.net/a",
        "https://me:s3cret@mine.example/documents",
        "documents?sv=2024&sig=s3cret",
    ],
)
def test_an_address_is_refused_where_a_folder_is_needed_and_its_signature_is_told_to_nobody(
    project: Path, name: str, address: str
) -> None:
    with pytest.raises(SettingsError, match=f"{name} is an address") as told:
        place(project, **{name: address})
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("abfs://documents@mine.dfs.core.windows.net/a?sv=2024&SIG=s3cret", "RAFT_DATA contains a query"),
        ("s3://me:s3cret@mine/documents", "RAFT_DATA contains .* a password"),
        ("documents?sv=2024&sig=s3cret", "RAFT_DATA is an address"),
        ("abfs://documents", "names no storage account"),
    ],
)
def test_documents_may_lie_at_an_address_that_holds_no_key(project: Path, address: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as told:
        place(project, RAFT_DATA=address)
    assert "s3cret" not in str(told.value)
    found = place(project, RAFT_DATA="az://documents@mine.dfs.core.windows.net/a/")
    assert found.documents == "abfs://documents@mine.dfs.core.windows.net/a"
    assert found.data.is_relative_to(found.home / "cache")

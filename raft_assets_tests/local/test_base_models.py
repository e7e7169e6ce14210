"""Where a base model is found, and what is never opened."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import jinja2
import pytest

from raft_assets.core.errors import DataError, SettingsError
from raft_assets.local.base_model import find_base_model
from raft_assets.local.export import find_adapter, write_gguf, write_modelfile
from raft_assets.local.interpreter import find_interpreter
from raft_assets.local.settings import LocalSettings
from raft_assets.local.worker.chat import PLAIN_OLLAMA_TEMPLATE, PLAIN_TEMPLATE
from raft_assets.operations.local_models import local_provider
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.environment import Environment
from raft_assets.settings.project import Project
from raft_assets_tests.local.served import settings_with_double, tiny_model


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A cache of the Hub with one model in two versions, of which `main` is the second."""
    cached = tmp_path / "home" / "hub" / "models--Org--Model-1"
    for commit in ("aaa", "bbb"):
        tiny_model(cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("bbb")
    return tmp_path / "home"


def test_a_model_is_found_by_its_folder_or_by_its_name_in_the_cache(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    tiny_model(folder)
    assert find_base_model(str(folder), home).name == "my-model"
    found = find_base_model("Org/Model-1", home)
    assert (found.name, found.path.name) == ("Org/Model-1", "bbb")
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    assert find_base_model(str(tmp_path / "small.gguf"), home).is_gguf


UNSAFE = {
    "a pickle": ({"pytorch_model.bin": b""}, "as a pickle only"),
    "nothing": ({"README.md": b""}, "holds no weights"),
    "code of its own": ({"model.safetensors": b"", "config.json": b'{"auto_map": {"AutoModel": "m.M"}}'}, "auto_map"),
}


@pytest.mark.parametrize(("files", "told"), UNSAFE.values(), ids=UNSAFE)
def test_what_can_run_code_is_rejected(files: dict[str, bytes], told: str, tmp_path: Path, home: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError, match=told):
        find_base_model(str(tmp_path), home)


@pytest.mark.parametrize("name", ["Org/Model-2", "../../no-such-folder", "Org/../Model-1", "a/b/c"])
def test_a_name_that_is_not_there_says_how_to_get_it(name: str, home: Path) -> None:
    with pytest.raises(SettingsError, match="There is no folder"):
        find_base_model(name, home)


def test_an_interpreter_that_is_missing_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="raft local install"):
        find_interpreter(None, tmp_path)
    with pytest.raises(SettingsError, match="RAFT_LOCAL_PYTHON"):
        find_interpreter(str(tmp_path / "python"), tmp_path)


def test_a_student_that_a_run_serves_is_known_by_what_was_served_last() -> None:
    def student(**files: str) -> Endpoint:
        return Environment({}, {"STUDENT_LOCAL_MODEL": "models/tiny one"} | files).endpoints()[Role.STUDENT]

    with pytest.raises(SettingsError, match="was not served yet"):
        student()
    with pytest.raises(SettingsError, match="was not served yet"):  # another one was
        student(STUDENT_LOCAL_SERVED="http://127.0.0.1:8321/v1 other@0123456789ab models/other")
    served = "http://127.0.0.1:8321/v1 tiny-one@0123456789ab models/tiny one"
    found = student(STUDENT_LOCAL_SERVED=served)
    assert (found.base_url, found.model) == ("http://127.0.0.1:8321/v1", "tiny-one@0123456789ab")
    assert found.has_one_machine
    assert found.is_free
    with pytest.raises(SettingsError, match="configured twice"):
        student(STUDENT_LOCAL_SERVED=served, STUDENT_OPENAI_DEPLOYMENT="gpt-4o")


def test_a_version_is_no_part_of_the_name_by_which_licences_and_families_are_known() -> None:
    found = Endpoint(Role.STUDENT, "openai", "meta-llama/Llama-3.1-8B@0123456789ab", "http://127.0.0.1:1/v1")
    assert (found.normalized_model, found.family) == ("llama-3.1-8b", "llama")


def test_a_gguf_is_written_by_the_converter_of_the_named_checkout_alone(tmp_path: Path) -> None:
    interpreter = find_interpreter(sys.executable, tmp_path)
    for named in (None, str(tmp_path)):
        with pytest.raises(SettingsError, match="RAFT_LLAMA_CPP"):
            write_gguf(interpreter, tmp_path, tmp_path, kind="q8_0", llama_cpp=named)
    checkout = tmp_path / "llama.cpp"
    checkout.mkdir()
    converter = "import json, sys; from pathlib import Path; Path(sys.argv[3]).write_text(json.dumps(sys.argv[1:]))"
    (checkout / "convert_hf_to_gguf.py").write_text(converter)
    file, told = write_gguf(interpreter, tmp_path / "merged", tmp_path, kind="q8_0", llama_cpp=str(checkout))
    assert json.loads(file.read_text()) == [str(tmp_path / "merged"), "--outfile", str(file), "--outtype", "q8_0"]
    assert told.startswith("`model-q8_0.gguf` was written by llama.cpp's own converter (")


def test_ollama_is_told_the_template_of_training_where_the_base_has_none(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base")
    written = write_modelfile(tmp_path, tmp_path / "model-q8_0.gguf", base).read_text()
    assert written.splitlines()[0] == "FROM ./model-q8_0.gguf"
    assert 'TEMPLATE """{{ if .System }}' in written
    for name, content in [
        ("tokenizer_config.json", '{"chat_template": "{{ messages }}"}'),
        ("chat_template.jinja", ""),
    ]:
        known = tiny_model(tmp_path / name)
        (known.path / name).write_text(content)
        assert "TEMPLATE" not in write_modelfile(tmp_path, tmp_path / "model-q8_0.gguf", known).read_text()


def test_ollama_renders_a_question_as_the_template_of_training_does() -> None:
    chat = [{"role": role, "content": f"of {role}"} for role in ("system", "user", "assistant")]
    trained = jinja2.Template(PLAIN_TEMPLATE).render(messages=chat, bos_token="", eos_token="<end>")
    asked = re.sub(r"\{\{ (if \.\w+|end) \}\}", "", PLAIN_OLLAMA_TEMPLATE)
    for name, role in [("System", "system"), ("Prompt", "user"), ("Response", "assistant")]:
        asked = asked.replace(f"{{{{ .{name} }}}}", f"of {role}")
    assert asked == trained.partition("<end>")[0]


def test_a_model_of_another_machine_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="export it where its server runs"):
        find_adapter(tmp_path, "ft:tiny@0123456789ab:raft-assets::00000000")


def test_what_the_environment_says_of_lora_is_a_model_of_its_own(tmp_path: Path) -> None:
    def served(**variables: str) -> LocalSettings:
        training = local_provider(Project.load(tmp_path, variables)).training
        return replace(settings_with_double(tmp_path), training=training)

    usual = served()
    other = served(RAFT_LORA_RANK="8", RAFT_LORA_LAYERS="upper_half", RAFT_LORA_QUANTISATION="none")
    assert usual.training.as_order()["lora"] == {"rank": 16, "alpha": 32, "layers": "all"}
    assert other.training.as_order()["lora"] == {"rank": 8, "alpha": 16, "layers": "upper_half"}
    assert other.training.as_order()["quantisation"] == "none"
    assert served(RAFT_LORA_RANK="16", RAFT_LORA_ALPHA="32").model_id == usual.model_id
    assert len({usual.model_id, other.model_id, served(RAFT_LORA_ALPHA="16").model_id}) == 3


@pytest.mark.parametrize(
    ("name", "value", "ways_out"),
    [
        ("RAFT_LORA_RANK", "65", "from 1 to 64"),
        ("RAFT_LORA_LAYERS", "lower_half", "one of: all, upper_half"),
        ("RAFT_LORA_QUANTISATION", "int8", "one of: auto, none, nf4"),
    ],
)
def test_what_lora_cannot_be_is_told(name: str, value: str, ways_out: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{value}'.*{ways_out}"):
        local_provider(Project.load(tmp_path, {name: value}))

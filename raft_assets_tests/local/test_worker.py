"""The worker in its own interpreter: a random two-layer Llama, real files, real processes that are killed."""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import safetensors.numpy

from raft_assets.core.errors import SettingsError
from raft_assets.core.prompt_contract import ABSTENTION_ANSWER, parse_answer, render_quoted_answer
from raft_assets.local.base_model import BaseModel
from raft_assets.local.engine import write_chat_template
from raft_assets.local.interpreter import WorkerInterpreter
from raft_assets.local.provider import LocalProvider
from raft_assets.local.unpacked import loaded_model, unpack
from raft_assets.local.worker.answers import Generated, best_step, measure, read_answer
from raft_assets.local.worker.job import Contract, Order
from raft_assets.local.worker.plan import Plan, Size, fit_plan
from raft_assets_tests.harness import REPOSITORY
from raft_assets_tests.local import served
from raft_assets_tests.local.served import DOUBLE
from raft_assets_tests.local.worker_process import (
    CONTRACT,
    TRAINING_ROWS,
    ServedEngine,
    TrainingJob,
    local_python,
    make_job,
    make_models,
    rows,
    serving,
    write_rows,
)

STEPS_PER_EPOCH = 5
BASE_SHA256 = "5" * 64
# the allocator's own words, as where others use the memory: in the third step, while two rows are computed at once
OUT_OF_MEMORY = """
import torch

looked_up, calls = torch.nn.functional.embedding, 0

def embedding(tokens, *rest, **more):
    global calls
    are_two = torch.is_grad_enabled() and len(tokens) > 1
    calls += are_two
    if are_two and calls > 4:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
    return looked_up(tokens, *rest, **more)

torch.nn.functional.embedding = embedding
"""
CONTEXT = 1000  # tokens, below what the model was made for
MAY_BE_IN_A_JOB = {".json", ".jsonl", ".log", ".safetensors", ""}  # no pickle, whatever its name


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def finished(models: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    """A job on a model whose template has no system role, run through."""
    job = make_job(tmp_path_factory.mktemp("job"), models, "no-system", base_sha256=BASE_SHA256)
    assert job.run()["status"] == "succeeded"
    return job


def test_loss_falls_and_every_epoch_is_a_model(finished: TrainingJob) -> None:
    losses = [step["train_loss"] for step in finished.steps]
    assert len(losses) == 4 * STEPS_PER_EPOCH
    assert sum(losses[-5:]) < sum(losses[:5])
    points = finished.state["checkpoints"]
    assert [point["step"] for point in points] == [5, 10, 15, 20]
    assert points[-1]["metrics"]["valid_loss"] < points[0]["metrics"]["valid_loss"]
    assert points[-1]["metrics"]["valid_generated"] == len(rows()) - TRAINING_ROWS
    assert finished.state["best"] in (5, 10, 15, 20)


def test_a_result_says_what_determines_the_student(finished: TrainingJob) -> None:
    student = finished.result["student"]
    assert student["system_role"] is False
    assert student["end_token"] == "<|end|>"
    assert student["lora"] == {"rank": 16, "alpha": 32, "layers": "all"}
    assert {"torch", "transformers", "trl", "peft"} <= student["versions"].keys()
    config = json.loads((finished.folder / finished.result["model"] / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == "no-system"
    assert student["base_sha256"] == BASE_SHA256  # of whoever ordered the job: nobody hashes the weights again
    assert len(student["template_sha256"]) == 64


def test_an_adapter_has_the_rank_and_the_blocks_of_its_order(models: Path, tmp_path: Path) -> None:
    lora = {"rank": 4, "alpha": 4, "layers": "upper_half"}
    job = make_job(tmp_path, models, "plain", lora=lora, validation_file=None)
    assert job.run()["status"] == "succeeded"
    assert job.result["student"]["lora"] == lora
    config = json.loads((job.folder / job.result["model"] / "adapter_config.json").read_bytes())
    assert (config["r"], config["lora_alpha"], config["layers_to_transform"]) == (4, 4, [1])
    weights = safetensors.numpy.load_file(job.folder / job.result["model"] / "adapter_model.safetensors")
    assert {re.findall(r"layers\.(\d+)\.", name)[0] for name in weights} == {"1"}


@pytest.mark.parametrize("name", ["system", "no-system", "thinking", "plain"])
def test_an_engine_that_renders_prompts_by_itself_renders_those_of_training(
    name: str, models: Path, tmp_path: Path
) -> None:
    template, script = tmp_path / "chat_template.jinja", Path(__file__).with_name("render_prompts.py")
    write_chat_template(BaseModel(name, models / name), template, WorkerInterpreter(Path(local_python())))
    done = subprocess.run(
        [local_python(), script, models / name, template],
        env=os.environ | {"PYTHONPATH": str(models)},
        capture_output=True,
        text=True,
        check=True,
    )
    prompts = json.loads(done.stdout)
    assert [served for _, served in prompts] == [trained for trained, _ in prompts]
    assert ("<think></think>" in prompts[0][1]) == (name == "thinking")


def interpreter_with_vllm(folder: Path) -> Path:
    """An interpreter of the worker's in which vLLM is installed, or what stands for it here."""
    subprocess.run([local_python(), "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "vllm-0.11.0.dist-info").mkdir()
    (packages / "vllm-0.11.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.11.0\n")
    of_worker = subprocess.check_output([local_python(), "-c", "import torch; print(torch.__path__[0])"], text=True)
    # the double's own libraries are those of the product
    found = [Path(of_worker.strip()).parent, DOUBLE, sysconfig.get_path("purelib")]
    (packages / "others.pth").write_text("".join(f"{place}\n" for place in found))
    return folder / "bin" / "python"


def test_vllm_is_started_with_the_template_of_training_and_its_share_of_the_card(models: Path, tmp_path: Path) -> None:
    model, python = BaseModel("no-system", models / "no-system"), interpreter_with_vllm(tmp_path / "environment")
    places = (tmp_path / "state", tmp_path / "none", tmp_path / "hub")
    provider = LocalProvider(*places, python=str(python), gpu_percent=50)
    with served.serving(provider.settings(str(model.path), "vllm")) as server:
        server.answer("hello")
        (started,) = [asked["body"] for asked in server.asked() if asked["path"] == "started"]
    write_chat_template(model, tmp_path / "expected.jinja", WorkerInterpreter(Path(local_python())))
    assert started["gpu_memory_utilization"] == 0.5
    assert Path(started["chat_template"]).read_text("utf-8") == (tmp_path / "expected.jinja").read_text("utf-8")


def test_a_job_that_runs_out_of_memory_goes_on_with_fewer_rows_at_once(models: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path / "job", models, "plain", checkpoint_every_steps=1, validation_file=None)
    Plan(4, 4, 2, 2e-3, 10.0, False, "none", "float32", "cpu", 1, 1.0, 1.0).save(job.folder / "worker" / "plan.json")
    (tmp_path / "sitecustomize.py").write_text(OUT_OF_MEMORY, "utf-8")
    assert job.run(PYTHONPATH=str(tmp_path))["status"] == "succeeded"
    told = (job.folder / "worker" / "events.jsonl").read_text("utf-8")
    assert "Out of memory: 1 rows are computed at once instead of 2, with as many a step as before." in told
    assert "Training goes on at step 2" in told
    assert [step["step"] for step in job.steps] == list(range(1, 4 * STEPS_PER_EPOCH + 1))
    assert job.result["student"]["micro_batch"] == 1


@pytest.mark.parametrize(("visible", "seen"), [(None, "0"), ("2,3", "2"), ("GPU-7", "GPU-7"), ("", "")])
def test_a_worker_sees_one_gpu(visible: str | None, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    script = "import os, worker_entry\ntry: worker_entry.run_worker('nothing')\nexcept ImportError: pass\n"
    shown = f"{script}print(os.environ['CUDA_VISIBLE_DEVICES'])"
    worker = REPOSITORY / "raft_assets" / "local" / "worker"
    done = subprocess.run([sys.executable, "-c", shown], cwd=worker, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == seen


def test_a_job_writes_no_pickle(finished: TrainingJob) -> None:
    files = [file for file in finished.folder.rglob("*") if file.is_file()]
    assert any(file.name == "optimizer.safetensors" for file in files)
    assert {file.suffix for file in files} <= MAY_BE_IN_A_JOB


def test_a_killed_job_goes_on_to_the_same_student_bit_for_bit(
    finished: TrainingJob, models: Path, tmp_path: Path
) -> None:
    job = make_job(tmp_path, models, "no-system", checkpoint_every_steps=3, base_sha256=BASE_SHA256)
    worker = job.start()
    job.wait(worker, lambda job: len(job.steps) > STEPS_PER_EPOCH * 2)  # after step 10
    worker.kill()
    worker.wait()
    assert job.state["status"] == "running"
    assert job.run()["status"] == "succeeded"
    assert [job.adapter(step) for step in (5, 10, 15, 20)] == [finished.adapter(step) for step in (5, 10, 15, 20)]
    assert job.steps == finished.steps  # none is missing, none told twice
    assert job.result | {"measured": None} == finished.result | {"measured": None}


@pytest.mark.parametrize("by", ["file", "signal"])
def test_a_job_is_cancelled(by: str, models: Path, tmp_path: Path) -> None:
    order = {"n_epochs": 50, "batch_size": 4, "learning_rate_multiplier": 1}
    job = make_job(tmp_path, models, "plain", hyperparameters=order, validation_file=None)
    worker = job.start()
    job.wait(worker, lambda job: bool(job.steps))
    if by == "file":
        (job.folder / "worker" / "cancel").touch()
    else:
        worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    assert job.state["status"] == "cancelled"
    assert not (job.folder / "worker" / "result.json").exists()


def _answer(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": text, **more}]}


@pytest.mark.parametrize(
    ("base", "row", "sentence"),
    [
        ("system", _answer(" "), r"Line 2 of bad\.jsonl can't be trained on: it has no token to learn"),
        ("system", _answer("Marit", weight=0), "it has no token to learn"),
        ("system", _answer("on and on " * 1000), r"it has [\d,]+ tokens, and the job takes 1,024; nothing is cut"),
        ("moving", _answer("Marit"), "its prompt is not the beginning of prompt and answer"),
    ],
)
def test_a_row_that_would_train_something_else_is_refused(
    base: str, row: dict[str, Any], sentence: str, models: Path, tmp_path: Path
) -> None:
    first = rows()[0] if base == "system" else row
    file = write_rows(tmp_path / "bad.jsonl", [first, row])
    job = make_job(tmp_path / "job", models, base, training_file=str(file))
    state = job.run()
    assert state["status"] == "failed"
    assert state["error"]["code"] == "invalid_row"
    assert state["error"]["param"] == "training_file"
    assert re.search(sentence, state["error"]["message"]), state["error"]["message"]
    assert not job.steps


def test_pickled_weights_are_refused(models: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}", "utf-8")
    (base / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    state = make_job(tmp_path / "job", models, str(base)).run()
    assert state["status"] == "failed"
    assert "its weights are pickles (pytorch_model.bin)" in state["error"]["message"]


_COMPARE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
packed = {"gguf_file": "tiny.gguf"}
logits, ids = [], AutoTokenizer.from_pretrained(sys.argv[2])("How long is the pier?<|end|>", return_tensors="pt")
for folder, how in ((sys.argv[1], packed), (sys.argv[2], {})):
    with torch.no_grad():
        logits.append(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **how)(**ids).logits)
assert torch.equal(*logits)
"""


def test_a_gguf_is_unpacked_once_into_a_folder_that_computes_the_same(models: Path, tmp_path: Path) -> None:
    python, packed, told = WorkerInterpreter(Path(local_python())), BaseModel("tiny", models / "tiny.gguf"), list[str]()
    for _ in range(2):
        unpack(packed, tmp_path, sha256="a", interpreter=python, tell=told.append)
    assert len(told) == 1
    loaded = loaded_model(packed, tmp_path)
    assert loaded.context_length == 1024
    assert list(tmp_path.iterdir()) == [loaded.path]  # no draft is left
    subprocess.run([python.python, "-c", _COMPARE, models, loaded.path], check=True)

    broken = BaseModel("tiny", models / "broken.gguf")  # another file, which the folder is no longer of
    broken.path.write_bytes(b"GGUF")
    with pytest.raises(SettingsError, match="can't be unpacked"):
        unpack(broken, tmp_path, sha256="b", interpreter=python, tell=told.append)
    assert list(tmp_path.iterdir()) == []


CONTRACT_MARKS = Contract(**CONTRACT | {"abstentions": tuple(CONTRACT["abstentions"])})
ASKED = "<DOCUMENT>The pier is 3 metres long. It is old.</DOCUMENT>\n\nHow long is the pier?"
RIGHT = render_quoted_answer(["The pier is 3 metres long."], "So.", "3 metres")


@pytest.mark.parametrize(
    ("text", "stopped", "reference", "usable"),
    [
        (RIGHT, True, RIGHT, 1.0),
        (RIGHT, False, RIGHT, 0.0),  # it would have gone on
        (RIGHT.replace("3 metres long.##", "4 metres long.##"), True, RIGHT, 0.0),  # a quote of its own making
        ("<ANSWER>: 3 metres", True, RIGHT, 0.0),  # no quote, where the reference has one
        (ABSTENTION_ANSWER, True, RIGHT, 0.0),  # abstains where there is an answer
        (ABSTENTION_ANSWER, True, ABSTENTION_ANSWER, 1.0),
        (RIGHT, True, ABSTENTION_ANSWER, 0.0),  # answers where there is none
        (f"{RIGHT} <ANSWER>: 3", True, RIGHT, 0.0),
    ],
)
def test_an_answer_is_usable_that_keeps_the_contract(text: str, stopped: bool, reference: str, usable: float) -> None:
    found = measure([Generated(text, stopped, ASKED, reference)], CONTRACT_MARKS)
    assert found["valid_usable"] == usable
    # what the worker calls well formed, the product's parser can read
    assert read_answer(text, CONTRACT_MARKS).well_formed == parse_answer(text).well_formed


def test_the_best_checkpoint_is_not_that_of_a_student_that_abstains_everywhere() -> None:
    shy, bold = {"valid_loss": 0.2, "valid_usable": 0.1}, {"valid_loss": 0.4, "valid_usable": 0.7}
    assert best_step([(5, shy), (10, bold), (15, bold)]) == 10
    assert best_step([(5, {"train_loss": 0.1})]) is None


@pytest.fixture(scope="module")
def engine(finished: TrainingJob, models: Path) -> Iterator[ServedEngine]:
    """The engine, which may load the finished job's adapters."""
    with serving(models / "no-system", finished.folder / "worker" / "checkpoints", context=CONTEXT) as served:
        yield served


PROMPTS = [row["messages"][:-1] for row in rows()]


def test_prompts_are_served_as_they_were_trained_and_have_no_loss(engine: ServedEngine, finished: TrainingJob) -> None:
    counts = [engine.post("tokenize", {"messages": prompt})[1]["count"] for prompt in PROMPTS[:TRAINING_ROWS]]
    result = finished.result
    assert result["trained_tokens"] - result["loss_tokens"] == 4 * sum(counts)


def test_a_template_without_a_system_role_gets_instructions_from_the_user(engine: ServedEngine) -> None:
    system, user = PROMPTS[0]
    joined = [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}]
    assert engine.post("tokenize", {"messages": PROMPTS[0]}) == engine.post("tokenize", {"messages": joined})


def test_an_adapter_is_a_model_beside_its_base(engine: ServedEngine, finished: TrainingJob) -> None:
    folder = str(finished.folder / "worker" / "checkpoints" / "step-20")
    of_base = engine.ask("no-system", PROMPTS[0])
    assert (of_base.choices[0].finish_reason, of_base.usage.completion_tokens) == ("length", 12)
    assert engine.post("v1/load_lora_adapter", {"lora_name": "student", "lora_path": folder})[0] == 200
    assert [model.id for model in engine.client.models.list()] == ["no-system", "student"]
    of_student = engine.ask("student", PROMPTS[0]).choices[0].message
    assert of_student != of_base.choices[0].message
    assert engine.ask("no-system", PROMPTS[0]).choices[0].message == of_base.choices[0].message

    assert engine.post("sleep?level=1")[0] == 200
    status, asleep = engine.post("v1/chat/completions", {"model": "student", "messages": PROMPTS[0]})
    assert (status, asleep["error"]["code"]) == (503, "asleep")
    assert engine.post("wake_up")[0] == 200
    assert engine.ask("student", PROMPTS[0]).choices[0].message == of_student

    assert engine.post("v1/unload_lora_adapter", {"lora_name": "student"})[0] == 200
    with pytest.raises(openai.NotFoundError):
        engine.ask("student", PROMPTS[0])
    assert engine.ask("no-system", PROMPTS[0]).choices[0].message == of_base.choices[0].message


def test_a_stream_is_the_answer_in_pieces(engine: ServedEngine) -> None:
    drawn = {"temperature": 1.0, "seed": 7, "max_tokens": 40}
    whole = engine.ask("no-system", PROMPTS[0], **drawn)
    with engine.ask("no-system", PROMPTS[0], **drawn, stream=True, stream_options={"include_usage": True}) as stream:
        events = list(stream)
    pieces = [event.choices[0].delta.content or "" for event in events if event.choices]
    assert len(pieces) > 3
    assert "".join(pieces) == whole.choices[0].message.content
    assert events[-1].usage == whole.usage
    assert engine.ask("no-system", PROMPTS[0], **drawn | {"seed": 8}).choices != whole.choices
    stop = whole.choices[0].message.content[4:6]
    stopped = engine.ask("no-system", PROMPTS[0], **drawn, stop=[stop]).choices[0]
    assert stopped.finish_reason == "stop"
    assert stopped.message.content == whole.choices[0].message.content.partition(stop)[0]


def test_answers_asked_at_once_each_get_what_they_asked_for(engine: ServedEngine) -> None:
    with ThreadPoolExecutor(6) as asking:
        lengths = range(3, 9)
        answers = asking.map(lambda length: engine.ask("no-system", PROMPTS[length], max_tokens=length), lengths)
        assert [answer.usage.completion_tokens for answer in answers] == list(lengths)


def test_the_engine_refuses_what_it_does_not_do(engine: ServedEngine) -> None:
    body: dict[str, Any] = {"model": "no-system", "messages": PROMPTS[0]}
    assert engine.post("v1/chat/completions", body, key="another")[0] == 401
    assert engine.post("v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/etc"})[0] == 400
    more: dict[str, Any]
    for more in ({"n": 2}, {"tools": [{}]}, {"response_format": {"type": "json_object"}}, {"temperature": "hot"}):
        assert engine.post("v1/chat/completions", body | more)[0] == 400
    status, told = engine.post("v1/chat/completions", body | {"max_tokens": CONTEXT})
    assert (status, told["error"]["code"]) == (400, "context_length_exceeded")
    assert f"maximum context length is {CONTEXT} tokens" in told["error"]["message"]


EIGHT_BILLION = Size(parameters=8_030_261_248, layers=32, hidden=4096, intermediate=14_336, linear_width=81_920)
ON_A_GPU = Plan(
    epochs=3,
    batch_size=8,
    micro_batch=8,
    learning_rate=2e-4,
    learning_rate_multiplier=1.0,
    recompute=False,
    quantisation="none",
    dtype="bfloat16",
    device="cuda",
    threads=1,
    memory_gib=0.0,
    seconds=0.0,
)


@pytest.mark.parametrize(
    ("free_gib", "micro_batch", "recompute", "quantisation"),
    [(120, 8, False, "none"), (18, 1, True, "none"), (12, 1, True, "nf4")],
)
def test_a_base_is_quantised_only_where_it_does_not_fit(
    free_gib: float, micro_batch: int, recompute: bool, quantisation: str
) -> None:
    order = Order(base=Path("base"), training_file=Path("rows"), training_name="rows")
    plan = fit_plan(ON_A_GPU, order, EIGHT_BILLION, 900, free=free_gib)
    assert (plan.micro_batch, plan.recompute, plan.quantisation) == (micro_batch, recompute, quantisation)
    assert plan.accumulation * plan.micro_batch == 8


def test_running_out_of_memory_computes_fewer_rows_at_once() -> None:
    plans = [ON_A_GPU]
    while smaller := plans[-1].with_less_memory():
        plans.append(smaller)
    assert [(plan.micro_batch, plan.accumulation, plan.recompute) for plan in plans] == [
        (8, 1, False),
        (4, 2, False),
        (2, 4, False),
        (1, 8, False),
        (1, 8, True),
    ]

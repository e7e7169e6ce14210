"""What the local worker does on a GPU: `LOCAL_PYTHON benchmarks/local_gpu.py [--size 1b|8b] [--rows 500] [--cap 22]`.

Run in the worker's interpreter (torch with CUDA; bitsandbytes for QLoRA). It makes a base model with random weights, a
job of rows as long as a domain's, and prints: time and memory of LoRA in bfloat16 beside the worker's own estimate;
QLoRA (nf4) under a memory cap; what the worker does when memory runs out; the time to load an adapter, tokens a second,
sleep and wake with the device's memory. Weights are random, so speed and memory are real and losses mean nothing.

Without a GPU it does the same with two tiny layers, as far as a CPU can: that it runs is all that is then shown.
"""

import argparse
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

T = TypeVar("T")
WORKER = Path(__file__).resolve().parents[1] / "raft_assets" / "local" / "worker"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GIB = 1 << 30
SIZES = {  # hidden, intermediate, layers, heads: the first is for a CPU, the others are Llama 3.2 1B and Llama 3.1 8B
    "tiny": (64, 128, 2, 8),
    "1b": (2048, 8192, 16, 32),
    "8b": (4096, 14336, 32, 32),
}
KEY = "a-key-for-this-benchmark-alone-0123456789"
WORDS = [
    f"{a}{b}"
    for a in ["ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu"]
    for b in ["ra", "ne", "ti", "so", "lu"]
]


class BrokenStepError(Exception):
    """A step of the benchmark failed; the others go on."""


def text(words: int, seed: int) -> str:
    draws = random.Random(seed)
    return " ".join(draws.choice(WORDS) for _ in range(words))


def make_base(folder: Path, size: str) -> Path:
    hidden, intermediate, layers, heads = SIZES[size]
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>"]
    pieces.train_from_iterator(
        [text(2000, 0)],
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(DEVICE):
        LlamaForCausalLM(config).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)
    torch.cuda.empty_cache()
    return folder


def write_rows(file: Path, rows: int, tokens: int) -> None:
    answer = tokens // 9
    with file.open("w") as lines:
        for row in range(rows):
            messages = [
                {"role": "user", "content": text(tokens - answer, row)},
                {"role": "assistant", "content": text(answer, -row - 1)},
            ]
            lines.write(json.dumps({"messages": messages}) + "\n")


def train(folder: Path, base: Path, plan: dict[str, Any] | None = None, **order: Any) -> Path:
    job = folder / f"job-{len(list(folder.glob('job-*')))}"
    (job / "worker").mkdir(parents=True)
    given = {"format": 1, "base": str(base), "training_file": str(folder / "rows.jsonl"), **order}
    (job / "worker" / "job.json").write_text(json.dumps(given))
    if plan:
        (job / "worker" / "plan.json").write_text(json.dumps(plan))
    started = time.perf_counter()
    done = subprocess.run([sys.executable, WORKER / "train.py", job], check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise BrokenStepError("\n".join(done.stderr.splitlines()[-15:]))
    events = [json.loads(line) for line in (job / "worker" / "events.jsonl").read_text().splitlines()]
    for event in events:
        if event["type"] == "message" and event["message"].startswith(("Estimated", "Out of memory")):
            print("  ", event["message"])
    state = json.loads((job / "worker" / "state.json").read_bytes())
    result = job / "worker" / "result.json"
    if not result.is_file():
        print(f"   ended as {state['status']}: {state['error']}")
        return job
    done = json.loads(result.read_bytes())
    measured, student = done["measured"], done["student"]
    print(
        f"   {seconds:.0f} s in all, {measured['seconds']:.0f} s training, "
        f"{done['trained_tokens'] / measured['seconds']:,.0f} "
        f"tokens/s, peak {measured['peak_memory_gib']:.1f} GiB, {student['quantisation']}, "
        f"{student['micro_batch']} of {student['batch_size']} rows at once"
    )
    return job


def post(url: str, path: str, body: dict[str, Any]) -> tuple[float, Any]:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    started = time.perf_counter()
    request = urllib.request.Request(f"{url}/{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return time.perf_counter() - started, json.loads(answer.read())


def used_gib() -> float:
    if DEVICE == "cpu":
        return 0.0
    free, total = torch.cuda.mem_get_info()
    return float(total - free) / GIB


def serve(base: Path, job: Path) -> None:
    result = job / "worker" / "result.json"
    if not result.is_file():
        return
    adapter = job / json.loads(result.read_bytes())["model"]
    command = [
        sys.executable,
        *map(str, (WORKER / "serve.py", "--base", base, "--adapters", job, "--exit-with-parent")),
    ]
    started = time.perf_counter()
    engine = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"RAFT_ENGINE_KEY": KEY}
    )
    assert engine.stdin
    assert engine.stdout
    url = json.loads(engine.stdout.readline())["url"]
    while True:
        try:
            urllib.request.urlopen(f"{url}/health")
            break
        except urllib.error.HTTPError:
            time.sleep(0.1)
        except urllib.error.URLError as error:
            raise BrokenStepError(f"the engine ended with {engine.wait()}") from error
    print(f"   ready after {time.perf_counter() - started:.1f} s")
    name, path = "student", str(adapter)
    print(f"   adapter loaded in {post(url, 'v1/load_lora_adapter', {'lora_name': name, 'lora_path': path})[0]:.2f} s")
    asked = {
        "model": name,
        "messages": [{"role": "user", "content": text(800, 1)}],
        "temperature": 0,
        "max_tokens": 100,
    }
    seconds, answer = post(url, "v1/chat/completions", asked)
    print(f"   {answer['usage']['completion_tokens'] / seconds:.0f} tokens/s of one answer")
    for step in ("sleep", "wake_up"):
        before = used_gib()
        print(
            f"   {step}: {post(url, step, {})[0]:.2f} s, {before:.1f} GiB of the device before, {used_gib():.1f} after"
        )
    engine.stdin.close()
    engine.wait()


def attempt(name: str, step: Callable[[], T]) -> T | None:
    """Run a step: one that fails says why and costs none of the others."""
    print(f"{name}:", flush=True)
    try:
        return step()
    except (BrokenStepError, OSError, ValueError) as error:
        print(f"   failed: {error}", flush=True)
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="8b" if DEVICE == "cuda" else "tiny")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=900)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--cap", type=float, default=22.0, help="GiB, of the run with little memory")
    options = parser.parse_args()
    print(torch.cuda.get_device_name() if DEVICE == "cuda" else "a CPU, which shows nothing but that this runs")
    if DEVICE == "cuda" and importlib.util.find_spec("bitsandbytes") is None:
        print("bitsandbytes is not installed: the step in nf4 will be refused")
    print(f"{options.rows} rows of {options.tokens} tokens, {options.epochs} epochs")
    with TemporaryDirectory() as name:
        folder = Path(name)
        base = make_base(folder / "base", options.size)
        write_rows(folder / "rows.jsonl", options.rows, options.tokens)
        chosen = {"n_epochs": options.epochs, "batch_size": 8}
        job = attempt("LoRA", lambda: train(folder, base, hyperparameters=chosen))
        once = chosen | {"n_epochs": 1}
        attempt(  # refused on a CPU, with a sentence
            f"At most {options.cap} GiB, in nf4",
            lambda: train(folder, base, hyperparameters=once, memory_gib=options.cap, quantisation="nf4"),
        )
        if job is not None and DEVICE == "cuda":
            plan = json.loads((job / "worker" / "plan.json").read_bytes())
            # a plan that the worker would never make
            crowded = plan | {"batch_size": 256, "micro_batch": 256, "epochs": 1}
            attempt("More rows at once than fit", lambda: train(folder, base, crowded))
        if job is not None:
            attempt("The engine (transformers)", lambda: serve(base, job))


if __name__ == "__main__":
    main()

"""How a job is trained on this machine: rows a step, rows at once, precision; and what that takes in time and memory.

The plan is made once and kept beside the job, so that a worker that goes on goes on as it was: another plan would give
other sums. Only running out of memory changes it.
"""

import json
import math
import os
import resource
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .base_model import BaseModel, choose_device, choose_dtype
from .job import Order, RefusedError, write_json

LEARNING_RATE = 2e-4  # QLoRA's for models up to 13B (arXiv 2305.14314, table 9)
ROWS_TO_SEE = 1500  # by "auto": form, ends and quotes weren't there after 220 rows of a 270M model
MIN_EPOCHS, MAX_EPOCHS = 3, 8
BATCH_SIZE, MIN_STEPS_PER_EPOCH = 8, 10  # by "auto"
# more rows at once are padded more, and a GPU is busy with fewer; a CPU is busy with one
MAX_MICRO_BATCH = {"cuda": 8, "cpu": 1}
SHARE_OF_MEMORY = 0.8  # what is planned for; the rest is for what an estimate doesn't see
ANSWER_SHARE = 0.15  # of a row's tokens that are its answer, about
SHARE_OF_PEAK = 0.5  # of a matrix product's speed that training reaches
GIB = 1 << 30


@dataclass(frozen=True)
class Size:
    """What of a model decides on time and memory."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    linear_width: int  # inputs and outputs of a block's linear layers, summed
    vocabulary: int = 0  # parameters of the matrices from tokens and to tokens

    def lora_parameters(self, rank: int, layers: int) -> int:
        """Return the trained parameters."""
        return rank * self.linear_width * layers


@dataclass(frozen=True)
class Plan:
    """How a job is trained. `micro_batch` rows are computed at once, `batch_size` make a step."""

    epochs: int
    batch_size: int
    micro_batch: int
    learning_rate: float
    learning_rate_multiplier: float
    recompute: bool  # activations are computed again in the backward pass instead of being kept
    quantisation: str
    dtype: str
    device: str
    threads: int
    memory_gib: float
    seconds: float

    @property
    def accumulation(self) -> int:
        """Micro batches of a step."""
        return self.batch_size // self.micro_batch

    def with_less_memory(self) -> "Plan | None":
        """Return the plan for half as many rows at once, then for recomputed activations; None if nothing is left."""
        if self.micro_batch > 1:
            return replace(self, micro_batch=self.micro_batch // 2)
        return None if self.recompute else replace(self, recompute=True)

    def save(self, file: Path) -> None:
        """Keep the plan."""
        write_json(file, asdict(self))

    @classmethod
    def read(cls, file: Path) -> "Plan | None":
        """Return the plan of a worker before; None if there was none."""
        return cls(**json.loads(file.read_bytes())) if file.is_file() else None


def make_plan(order: Order, base: BaseModel, *, rows: int, tokens: int, longest: int) -> Plan:
    """Return the plan for so many rows, tokens an epoch and tokens in the longest row. Raises RefusedError."""
    import torch

    device = choose_device(order.device)
    dtype = choose_dtype(order.dtype, device)
    threads = order.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    given = order.hyperparameters
    batch = max(1, min(BATCH_SIZE, rows // MIN_STEPS_PER_EPOCH)) if given.batch_size == "auto" else given.batch_size
    epochs = (
        max(MIN_EPOCHS, min(MAX_EPOCHS, math.ceil(ROWS_TO_SEE / rows))) if given.n_epochs == "auto" else given.n_epochs
    )
    multiplier = 1.0 if given.learning_rate_multiplier == "auto" else given.learning_rate_multiplier
    batch = min(batch, rows)
    plan = Plan(
        epochs=epochs,
        batch_size=batch,
        micro_batch=math.gcd(batch, MAX_MICRO_BATCH[device]),
        learning_rate=LEARNING_RATE * multiplier,
        learning_rate_multiplier=multiplier,
        recompute=False,
        quantisation="none" if order.quantisation == "auto" else order.quantisation,
        dtype=dtype,
        device=device,
        threads=threads,
        memory_gib=0.0,
        seconds=0.0,
    )
    if plan.quantisation == "nf4" and device != "cuda":
        raise RefusedError(
            "no_device", "The order names nf4, which needs a CUDA device; on a CPU a model isn't quantised."
        )
    size = model_size(base)
    plan = fit_plan(plan, order, size, longest, free=SHARE_OF_MEMORY * free_memory_gib(order, device))
    seconds = epochs * tokens * _operations_per_token(plan, size) / (SHARE_OF_PEAK * _speed(plan))
    return replace(plan, memory_gib=round(_memory_gib(plan, order, size, longest), 2), seconds=round(seconds, 1))


def free_memory_gib(order: Order, device: str) -> float:
    """Return what the job may take, of the GPU's memory or of the machine's."""
    import psutil
    import torch

    free = torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available
    return min(free / GIB, order.memory_gib or math.inf)


def peak_memory_gib(device: str) -> float:
    """Return the most memory that this process has held, of the GPU's or of the machine's."""
    import torch

    if device == "cuda":
        return float(torch.cuda.max_memory_allocated()) / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB  # kibibytes, on Linux


def model_size(base: BaseModel) -> Size:
    """Count the model's parameters without loading them."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(base.config, trust_remote_code=False)
    text = base.config.get_text_config()
    matrices = {id(part.weight): part.weight for part in (model.get_input_embeddings(), model.get_output_embeddings())}
    widths = sum(module.in_features + module.out_features for _, module in trained_layers(model, first=0))
    return Size(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        linear_width=widths // text.num_hidden_layers,
        vocabulary=sum(matrix.numel() for matrix in matrices.values()),
    )


def trained_layers(model: Any, *, first: int) -> list[tuple[str, Any]]:
    """Return the linear layers of the text model's blocks, from block `first` on, with their names."""
    import torch

    found = []
    for name, module in model.named_modules():
        parts = name.split(".")
        if not isinstance(module, torch.nn.Linear) or "layers" not in parts or "vision_tower" in parts:
            continue
        if int(parts[parts.index("layers") + 1]) >= first:
            found.append((name, module))
    return found


def fit_plan(plan: Plan, order: Order, size: Size, longest: int, *, free: float) -> Plan:
    """Return a plan that is expected to fit: fewer rows at once, then recomputed activations, then a quantised base."""
    smaller: Plan | None = plan
    while smaller:
        fitting = smaller
        if _memory_gib(fitting, order, size, longest) <= free:
            return fitting
        smaller = fitting.with_less_memory()
        if (
            smaller is None
            and order.quantisation == "auto"
            and plan.device == "cuda"
            and fitting.quantisation == "none"
        ):
            smaller = replace(plan, quantisation="nf4")
    return fitting  # the estimate may be wrong: the attempt decides


def _memory_gib(plan: Plan, order: Order, size: Size, longest: int) -> float:
    """Estimate the memory of training: weights, adapter with its optimizer, activations of one micro batch."""
    width = 4 if plan.dtype == "float32" else 2
    weights = float(size.parameters * width)
    if plan.quantisation == "nf4":  # 4 bits and their scales; the matrices of the vocabulary are left as they are
        weights = size.vocabulary * width + (size.parameters - size.vocabulary) * 0.53
    trained = size.lora_parameters(order.lora.rank, size.layers) * 16  # float32: itself, gradient, two moments
    one_layer = (12 * size.hidden + 4 * size.intermediate) * width + 4 * (size.hidden * 6 + size.intermediate)
    kept = size.hidden * width * size.layers + one_layer if plan.recompute else one_layer * size.layers
    runtime = 1.0 if plan.device == "cuda" else 0.7  # of PyTorch and transformers themselves
    return runtime + (weights + trained + plan.micro_batch * longest * kept) / GIB


def _operations_per_token(plan: Plan, size: Size) -> float:
    """Return floating-point operations: forward, back to the activations, and forward again where they weren't kept.

    Tokens are looked up, and only those of answers are projected onto the vocabulary, twice and back.
    """
    blocks = (size.parameters - size.vocabulary) * (6 if plan.recompute else 4)
    return round(blocks + size.vocabulary * 6 * ANSWER_SHARE)


def _speed(plan: Plan) -> float:
    """Measure operations a second of a matrix product."""
    import torch

    side = 8192 if plan.device == "cuda" else 768
    matrix = torch.ones(side, side, dtype=getattr(torch, plan.dtype), device=plan.device)
    best = math.inf
    for _ in range(4):  # the first also starts the library
        started = time.perf_counter()
        product = matrix @ matrix
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best

"""A job from its order to its result: rows, plan, training, and what determines the student.

Every way out but a crash leaves the job ended. A worker that is started again goes on from the newest checkpoint.
"""

import argparse
import gc
import hashlib
import importlib.metadata
import json
import logging
import math
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .answers import BEST_RULE
from .base_model import BaseModel, find_base
from .chat import ChatForm, choose_end
from .job import FORMAT, Cancelled, JobFiles, Order, RefusedError, write_json
from .plan import GIB, Plan, free_memory_gib, make_plan, peak_memory_gib
from .rows import Row, read_rows

log = logging.getLogger(__name__)

# of a CPU; of CUDA and its libraries, such as where another process has most of the card
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
PACKAGES = ("accelerate", "bitsandbytes", "peft", "safetensors", "tokenizers", "torch", "transformers", "trl")


@dataclass(frozen=True)
class Material:
    """What is trained on what."""

    base: BaseModel
    form: ChatForm
    training: list[Row]
    validation: list[Row]


class MemoryExhaustedError(Exception):
    """The attempt needed more memory than there is."""


def run_job(files: JobFiles, order: Order) -> None:
    """Validate, plan, train, and write the result. Raises RefusedError and Cancelled."""
    material = _read_material(files, order)
    rows = [row.tokens for row in material.training]
    plan = Plan.read(files.plan)
    if plan is None:
        plan = make_plan(order, material.base, rows=len(rows), tokens=sum(rows), longest=max(rows))
        _tell_plan(files, order, plan, rows)
    plan.save(files.plan)
    files.update(
        status="running",
        hyperparameters={
            "n_epochs": plan.epochs,
            "batch_size": plan.batch_size,
            "learning_rate_multiplier": plan.learning_rate_multiplier,
        },
        estimated_finish=int(time.time() + plan.seconds),
    )
    started = time.monotonic()
    while True:
        try:
            student = _train(files, order, plan, material)
            break
        except MemoryExhaustedError:
            plan = _shrink(files, plan)
    measured = {
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_gib": round(peak_memory_gib(plan.device), 2),
    }
    _succeed(files, plan, material, student, measured, tokens=sum(rows) * plan.epochs)


def _read_material(files: JobFiles, order: Order) -> Material:
    files.update(status="validating_files")
    files.tell(
        f"Validating training file: {order.training_name}"
        + (f" and validation file: {order.validation_name}" if order.validation_file else "")
    )
    base = find_base(order.base)
    form = base.chat_form(base.tokenizer())
    longest = min(order.max_length or base.context_length, base.context_length)
    training = read_rows(order.training_file, form, max_length=longest, name=order.training_name, param="training_file")
    validation = (
        read_rows(order.validation_file, form, max_length=longest, name=order.validation_name, param="validation_file")
        if order.validation_file
        else []
    )
    files.tell("Files validated")
    return Material(base, form, training, validation)


def _tell_plan(files: JobFiles, order: Order, plan: Plan, rows: Sequence[int]) -> None:
    form = {"none": plan.dtype, "nf4": "nf4 (QLoRA)"}[plan.quantisation]
    files.tell(
        f"Estimated before the start: {plan.epochs} epochs of {len(rows):,} rows ({sum(rows):,} tokens, the longest "
        f"{max(rows):,}) take about {max(1, round(plan.seconds / 60)):,} min and {plan.memory_gib:.1f} GiB on "
        f"{plan.device} in {form}; {free_memory_gib(order, plan.device):.1f} GiB are free. "
        f"{plan.micro_batch} rows at once, {plan.batch_size} a step."
    )


def _shrink(files: JobFiles, plan: Plan) -> Plan:
    """Return a plan that needs less memory, and say so; raises RefusedError if there is none."""
    smaller = plan.with_less_memory()
    if smaller is None:
        raise RefusedError(
            "out_of_memory",
            "One row at a time doesn't fit into memory. Take a smaller model, shorter rows, or a larger device.",
            param="model",
        )
    change = (
        f"{smaller.micro_batch} rows are computed at once instead of {plan.micro_batch}, with as many a step as before"
        if smaller.micro_batch < plan.micro_batch
        else "activations are computed twice instead of being kept"
    )
    files.tell(f"Out of memory: {change}.", level="warn")
    smaller.save(files.plan)
    return smaller


def _train(files: JobFiles, order: Order, plan: Plan, material: Material) -> dict[str, Any]:
    """Train from the newest checkpoint on, and return what determines the student. Raises MemoryExhaustedError."""
    import torch

    try:
        end_id = _attempt(files, order, plan, material)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
    else:
        return _describe_student(order, plan, material, end_id)
    gc.collect()  # the attempt's model: a second one would not fit beside it
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise MemoryExhaustedError


def _attempt(files: JobFiles, order: Order, plan: Plan, material: Material) -> int:
    """Train to the end of the job, and return the token that ends answers."""
    import torch
    from transformers import set_seed

    from .checkpoints import RESUME, newest_checkpoint, step_of
    from .trainer import JobTrainer, Progress, Validation, add_adapter, as_dataset

    torch.set_num_threads(plan.threads)
    if order.memory_gib and plan.device == "cuda":
        torch.cuda.set_per_process_memory_fraction(min(1.0, order.memory_gib * GIB / torch.cuda.mem_get_info()[1]))
    set_seed(order.seed)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    files.checkpoints.mkdir(exist_ok=True)
    checkpoint = newest_checkpoint(files.checkpoints)
    model = material.base.load(dtype=plan.dtype, device=plan.device, quantisation=plan.quantisation)
    end_id = choose_end(material.form, material.training[0].closing, model.get_output_embeddings().weight)
    trainer = JobTrainer(
        files,
        plan,
        seed=order.seed,
        model=add_adapter(model, order, base_name=order.base_name or material.base.name),
        training=as_dataset(material.training, end_id),
        validation=as_dataset(material.validation, end_id) if material.validation else None,
        processing_class=material.form.tokenizer,
    )
    _check_loss(trainer.count_loss_tokens(), material.training)
    validation = None
    if material.validation:
        validation = Validation(material.validation, order, material.form, check_cancelled=files.check_cancelled)
    steps = math.ceil(len(material.training) / plan.batch_size)
    trainer.add_callback(Progress(files, order, plan, validation, steps_per_epoch=steps))
    files.tell(f"Training goes on at step {step_of(checkpoint)}" if checkpoint else "Fine-tuning job started")
    trainer.train(resume_from_checkpoint=str(checkpoint / RESUME) if checkpoint else None)
    return end_id


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether PyTorch's error says that memory ran out: some have a class, others only words."""
    return (
        type(error).__name__ == "OutOfMemoryError"
        or isinstance(error, MemoryError)
        or any(words in str(error) for words in _OUT_OF_MEMORY)
    )


def _check_loss(loss_tokens: int, rows: Sequence[Row]) -> None:
    """Make sure that the batches train every answer in full and nothing else, whatever the libraries do to them."""
    expected = sum(len(row.answer_ids) + 1 for row in rows)
    if loss_tokens != expected:
        raise RefusedError(
            "server_error",
            f"The batches have a loss on {loss_tokens:,} tokens, the answers have {expected:,}: this version of TRL "
            "does something else with rows.",
        )


def _describe_student(order: Order, plan: Plan, material: Material, end_id: int) -> dict[str, Any]:
    """Return everything that determines the student beside its rows."""
    return {
        "base_name": material.base.name,
        "base_sha256": order.base_sha256 or material.base.sha256,
        "template_sha256": material.form.template_sha256,
        "system_role": material.form.has_system_role,
        "end_token": material.form.tokenizer.convert_ids_to_tokens(end_id),
        "lora": asdict(order.lora),
        "quantisation": plan.quantisation,
        "dtype": plan.dtype,
        "device": plan.device,
        "recompute": plan.recompute,
        "micro_batch": plan.micro_batch,
        "threads": plan.threads,
        "learning_rate": plan.learning_rate,
        "epochs": plan.epochs,
        "batch_size": plan.batch_size,
        "seed": order.seed,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    installed = {package.metadata["Name"].lower(): package.version for package in importlib.metadata.distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed} | {"python": sys.version.split()[0]}


def _succeed(
    files: JobFiles,
    plan: Plan,
    material: Material,
    student: dict[str, Any],
    measured: dict[str, float],
    *,
    tokens: int,
) -> None:
    points = files.state.checkpoints
    folders = {point.step: point.folder for point in points}
    best = files.state.best or points[-1].step
    write_json(
        files.result,
        {
            "format": FORMAT,
            "model": points[-1].folder,
            "best": folders[best],
            "best_rule": BEST_RULE,
            "trained_tokens": tokens,
            "loss_tokens": sum(len(row.answer_ids) + 1 for row in material.training) * plan.epochs,
            "measured": measured,
            "student": student,
            "student_sha256": hashlib.sha256(json.dumps(student, sort_keys=True).encode()).hexdigest(),
        },
    )
    files.update(status="succeeded", trained_tokens=tokens, best=best, estimated_finish=None)


def _end(files: JobFiles, status: str, *, refusal: RefusedError | None = None) -> None:
    """Write how the job ended; whoever started the worker tells the user."""
    error = {"code": refusal.code, "message": refusal.message, "param": refusal.param} if refusal else None
    files.update(status=status, error=error, estimated_finish=None)


def _raise_cancelled(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise Cancelled


def main(arguments: Sequence[str]) -> int:
    """Work on the job unless another process does; return 0 when it has ended or is another's."""
    parser = argparse.ArgumentParser(prog="train.py", description="Brings a local fine-tuning job to its end.")
    parser.add_argument("folder", type=Path, help="folder of the job, which holds worker/job.json")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    files = JobFiles(options.folder.resolve())
    if not files.hold_lock():
        log.info("another process works on %s", files.job)
        return 0
    if files.state.finished:
        return 0
    signal.signal(signal.SIGTERM, _raise_cancelled)
    try:
        files.check_cancelled()
        run_job(files, Order.read(files.job))
    except Cancelled:
        _end(files, "cancelled")
    except RefusedError as refusal:
        _end(files, "failed", refusal=refusal)
    return 0

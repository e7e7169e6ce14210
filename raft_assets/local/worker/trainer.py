"""TRL's SFTTrainer with checkpoints of our own, an order of rows by seed and epoch, and the job's progress."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import trl.trainer.utils
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from .answers import Generated, best_step, measure
from .chat import ChatForm
from .checkpoints import drop_older, load_adapter, load_optimizer, load_random_state, save_checkpoint
from .generation import Answer, Sampling, generate
from .job import Checkpoint, JobFiles, Order
from .plan import Plan, trained_layers
from .rows import NO_LOSS, Row, pick_rows

GENERATED_AT_ONCE = 8  # answers to validation rows
SAVE_EVERY_S = 240  # a killed worker repeats at most five minutes
WARM_UP_SHARE = 0.03  # of all steps
METRICS = {"loss": "train_loss", "mean_token_accuracy": "train_mean_token_accuracy"}
VALID_METRICS = {"eval_loss": "valid_loss", "eval_mean_token_accuracy": "valid_mean_token_accuracy"}

# without Triton TRL projects every position onto the vocabulary, for accelerators that compile; on a CPU the positions
# without a loss then take most of a small model's time. Its code on a CPU computes the same with those that have one.
if hasattr(trl.trainer.utils, "_use_triton"):
    trl.trainer.utils._use_triton = lambda _: True  # noqa: SLF001


class RowOrder(torch.utils.data.Sampler):  # type: ignore[misc,unused-ignore]
    """A permutation of the rows for each epoch, which a worker that goes on finds again."""

    def __init__(self, rows: int, seed: int) -> None:
        self._rows, self._seed, self._epoch = rows, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Trainer calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self._seed << 16) + self._epoch)
        return iter(torch.randperm(self._rows, generator=generator).tolist())


class JobTrainer(SFTTrainer):  # type: ignore[misc,unused-ignore]
    """Trains one job by its plan. The model is a PEFT model; rows have tokens and labels already."""

    def __init__(
        self, files: JobFiles, plan: Plan, *, seed: int, training: Dataset, validation: Dataset | None, **given: Any
    ) -> None:
        self._files, self._seed = files, seed
        on_gpu = plan.device == "cuda"
        super().__init__(
            args=SFTConfig(
                output_dir=str(files.folder),
                num_train_epochs=plan.epochs,
                per_device_train_batch_size=plan.micro_batch,
                per_device_eval_batch_size=plan.micro_batch,
                gradient_accumulation_steps=plan.accumulation,
                learning_rate=plan.learning_rate,
                lr_scheduler_type="linear",
                warmup_steps=WARM_UP_SHARE,
                weight_decay=0.0,
                max_grad_norm=1.0,
                optim="adamw_torch",
                seed=seed,
                bf16=on_gpu and plan.dtype == "bfloat16",
                fp16=False,
                use_cpu=not on_gpu,
                gradient_checkpointing=plan.recompute,
                logging_steps=1,
                logging_first_step=True,
                eval_strategy="epoch" if validation else "no",
                save_strategy="epoch",
                report_to=[],
                disable_tqdm=True,
                max_length=None,  # the default cuts the end of answers without a word
                packing=False,
                shuffle_dataset=False,
                dataset_kwargs={"skip_prepare_dataset": True},
                dataloader_pin_memory=on_gpu,
                trust_remote_code=False,
            ),
            train_dataset=training,
            eval_dataset=validation,
            **given,
        )

    def count_loss_tokens(self) -> int:
        """Count the tokens of an epoch that have a loss, in the very batches that are trained on."""
        return sum(int((batch["labels"] != NO_LOSS).sum()) for batch in self.get_train_dataloader())

    def _get_train_sampler(self, train_dataset: Any = None) -> RowOrder:
        return RowOrder(len(train_dataset or self.train_dataset), self._seed)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        target = self._files.checkpoints / f"step-{self.state.global_step}"
        save_checkpoint(
            target, model=self.model, optimizer=self.optimizer, scheduler=self.lr_scheduler, state=self.state
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_adapter(Path(resume_from_checkpoint).parent, self.model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint:
            load_optimizer(Path(checkpoint).parent, self.optimizer, self.lr_scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint:
            load_random_state(Path(checkpoint).parent)


class Validation:
    """Generates answers to validation rows and measures them."""

    def __init__(
        self, rows: Sequence[Row], order: Order, form: ChatForm, *, check_cancelled: Callable[[], None]
    ) -> None:
        self._rows = pick_rows(rows, order.generated_rows)
        self._order, self._form, self._check_cancelled = order, form, check_cancelled

    def measure(self, model: Any) -> dict[str, float]:
        """Return the shares of answers that keep the contract, each generated greedily."""
        rows = sorted(self._rows, key=lambda row: len(row.prompt_ids))  # rows of like length are padded little
        found: list[Generated] = []
        was_training = model.training
        model.eval()
        for start in range(0, len(rows), GENERATED_AT_ONCE):
            part = rows[start : start + GENERATED_AT_ONCE]
            answers = [Answer(row.prompt_ids, Sampling(max_tokens=self._order.max_answer_tokens)) for row in part]
            generate(model, self._form.tokenizer, answers, end_ids=self._form.end_ids, on_token=self._check_cancelled)
            found += [
                Generated(answer.text, answer.finish == "stop", row.asked, row.reference)
                for answer, row in zip(answers, part, strict=True)
            ]
        model.train(was_training)
        return measure(found, self._order.contract)


class Progress(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Tells how the job goes, ends it when it is cancelled, and keeps a checkpoint every few minutes."""

    def __init__(
        self, files: JobFiles, order: Order, plan: Plan, validation: Validation | None, *, steps_per_epoch: int
    ) -> None:
        self._files, self._order, self._plan, self._validation = files, order, plan, validation
        self._steps_per_epoch = steps_per_epoch
        self._told = files.told_steps
        self._metrics: dict[str, float] = {}
        self._started, self._started_step = time.monotonic(), 0
        self._saved = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self._started, self._started_step = time.monotonic(), state.global_step
        self._files.update(total_steps=state.max_steps)

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look whether the job was cancelled."""
        self._files.check_cancelled()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Keep a checkpoint if the last one is old; that of an epoch's end comes after its validation."""
        self._files.check_cancelled()
        done = state.global_step - self._started_step
        rest = (time.monotonic() - self._started) / done * (state.max_steps - state.global_step)
        self._files.update(step=state.global_step, estimated_finish=int(time.time() + rest))
        every = self._order.checkpoint_every_steps
        is_due = time.monotonic() - self._saved > SAVE_EVERY_S or (every and state.global_step % every == 0)
        if is_due and not self._ends_epoch(state.global_step):
            control.should_save = True
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Tell the step's metrics; those of an epoch's last step with the validation's."""
        if not logs or "loss" not in logs:
            return
        self._metrics = {"step": state.global_step} | {
            ours: logs[name] for name, ours in METRICS.items() if name in logs
        }
        if not (self._validation and self._ends_epoch(state.global_step)):
            self._tell_step()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], model: Any, **_: Any) -> None:
        """Add what the validation rows say, and what the student makes of them."""
        self._metrics |= {ours: metrics[name] for name, ours in VALID_METRICS.items() if name in metrics}
        if self._validation:
            self._metrics |= self._validation.measure(model)
        self._tell_step()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Name the checkpoint of an epoch as a model of the job."""
        self._saved = time.monotonic()
        points = {point.step: point for point in self._files.state.checkpoints}
        if self._ends_epoch(state.global_step):
            points[state.global_step] = Checkpoint(
                step=state.global_step,
                epoch=round(state.global_step / self._steps_per_epoch),
                folder=f"worker/checkpoints/step-{state.global_step}",
                metrics=self._metrics,
            )
        best = best_step([(point.step, point.metrics) for point in points.values()])
        self._files.update(checkpoints=tuple(points[step] for step in sorted(points)), best=best)
        drop_older(self._files.checkpoints, kept=set(points))

    def _ends_epoch(self, step: int) -> bool:
        return step % self._steps_per_epoch == 0

    def _tell_step(self) -> None:
        step = int(self._metrics["step"])
        if step <= self._told:
            return
        self._told = step
        valid = f", validation loss={self._metrics['valid_loss']:.4f}" if "valid_loss" in self._metrics else ""
        loss = self._metrics.get("train_loss", float("nan"))
        self._files.tell(f"Step {step}: training loss={loss:.4f}{valid}", metrics=self._metrics)


def add_adapter(model: Any, order: Order, *, base_name: str) -> Any:
    """Return the model with an untrained adapter, which changes nothing yet."""
    layers = model.config.get_text_config().num_hidden_layers
    first = layers // 2 if order.lora.layers == "upper_half" else 0
    names = [name for name, _ in trained_layers(model, first=first)]
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=order.lora.rank,
        lora_alpha=order.lora.alpha,
        lora_dropout=0.0,
        target_modules=sorted({name.rpartition(".")[2] for name in names}),
        layers_to_transform=list(range(first, layers)) if first else None,
    )
    torch.manual_seed(order.seed)  # the adapter's first matrices are drawn
    adapted = get_peft_model(model, config)
    config.base_model_name_or_path = base_name  # PEFT writes the path, which is this machine's
    return adapted


def as_dataset(rows: Sequence[Row], end_id: int) -> Dataset:
    """Return rows as the trainer takes them."""
    return Dataset.from_list([row.example(end_id) for row in rows])

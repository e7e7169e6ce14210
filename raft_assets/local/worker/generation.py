"""Generating answers to several prompts at once: greedy, or drawn with a seed of its own for each.

One way for validation while training and for serving. transformers' `generate` does the decoding; what each answer
asks for (its own temperature, seed, length, ends) is decided token by token here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

Finish = Literal["stop", "length"]
UNFINISHED = "\ufffd"  # how half a character is decoded


@dataclass(frozen=True)
class Sampling:
    """How one answer is generated. `top_logprobs`: how many tokens are told beside each one; None for no logprobs."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None


@dataclass
class Answer:
    """An answer that grows. `finish` says how it ended, `give_up` ends it from outside."""

    prompt_ids: Sequence[int]
    sampling: Sampling
    ids: list[int] = field(default_factory=list)
    text: str = ""
    finish: Finish | None = None
    give_up: bool = False
    logprobs: list[list[tuple[int, float]]] = field(default_factory=list)  # the chosen token first

    def add(self, token: int, tokenizer: Any, end_ids: Sequence[int]) -> None:
        """Take the next token; it ends the answer, makes it longer, or completes one of its stops."""
        self.ids.append(token)
        if token in end_ids:
            self.finish = "stop"
            return
        self.text = tokenizer.decode(self.ids, skip_special_tokens=True)
        stops = [at for stop in self.sampling.stop if (at := self.text.find(stop)) >= 0]
        if stops:
            self.text, self.finish = self.text[: min(stops)], "stop"
        elif len(self.ids) >= self.sampling.max_tokens:
            self.text, self.finish = self.text.rstrip(UNFINISHED), "length"

    @property
    def settled(self) -> str:
        """The text that can't change any more: without half a character, and without what may become a stop."""
        if self.finish:
            return self.text
        held = max((len(stop) - 1 for stop in self.sampling.stop), default=0)
        text = self.text.rstrip(UNFINISHED)
        return text[: len(text) - held] if held else text


def generate(
    model: Any,
    tokenizer: Any,
    answers: Sequence[Answer],
    *,
    end_ids: Sequence[int],
    on_token: Callable[[], None] = lambda: None,
) -> None:
    """Generate all answers in one batch; each ends for itself. `on_token` is called after each token of all."""
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    longest = max(len(answer.prompt_ids) for answer in answers)
    ids = torch.full((len(answers), longest), padding, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, answer in enumerate(answers):
        ids[row, longest - len(answer.prompt_ids) :] = torch.tensor(list(answer.prompt_ids))
        mask[row, longest - len(answer.prompt_ids) :] = 1
    how = GenerationConfig(
        do_sample=False,  # the choice of each answer's next token is `_Choose`'s
        max_new_tokens=max(answer.sampling.max_tokens for answer in answers),
        pad_token_id=padding,
        use_cache=True,
    )
    model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=how,
        logits_processor=[_Choose(answers)],
        stopping_criteria=[_Watch(answers, tokenizer, end_ids, on_token)],
    )


class _Choose(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Chooses each answer's next token and leaves greedy decoding nothing else."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self._generators = [_generator(answer.sampling.seed) for answer in answers]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        chosen = scores.argmax(dim=-1)
        for row, answer in enumerate(self._answers):
            if answer.finish:
                continue
            logits = scores[row].float()
            if answer.sampling.temperature > 0:
                chosen[row] = _draw(logits, answer.sampling, self._generators[row])
            if answer.sampling.top_logprobs is not None:
                answer.logprobs.append(_logprobs(logits, int(chosen[row]), answer.sampling.top_logprobs))
        only = torch.full_like(scores, -torch.inf)
        return only.scatter(1, chosen[:, None], 0.0)


class _Watch(StoppingCriteria):  # type: ignore[misc,unused-ignore]
    """Hands each answer its token and says which answers have ended."""

    def __init__(
        self, answers: Sequence[Answer], tokenizer: Any, end_ids: Sequence[int], on_token: Callable[[], None]
    ) -> None:
        self._answers, self._tokenizer, self._end_ids, self._on_token = answers, tokenizer, end_ids, on_token

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        newest = input_ids[:, -1].tolist()
        for answer, token in zip(self._answers, newest, strict=True):
            if answer.give_up:
                answer.finish = answer.finish or "stop"
            if not answer.finish:
                answer.add(token, self._tokenizer, self._end_ids)
        self._on_token()
        return torch.tensor([answer.finish is not None for answer in self._answers], device=input_ids.device)


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _draw(logits: Any, sampling: Sampling, generator: torch.Generator) -> Any:
    """Draw a token from the smallest set whose share reaches `top_p`; on the CPU, so that a seed means the same."""
    shares, order = torch.softmax(logits.cpu() / sampling.temperature, dim=-1).sort(descending=True)
    shares[shares.cumsum(0) - shares >= sampling.top_p] = 0.0
    return order[torch.multinomial(shares, 1, generator=generator)[0]]


def _logprobs(logits: Any, chosen: int, top: int) -> list[tuple[int, float]]:
    logs = torch.log_softmax(logits, dim=-1)
    best = torch.topk(logs, top) if top else None
    others = zip(best.indices.tolist(), best.values.tolist(), strict=True) if best else ()
    return [(chosen, float(logs[chosen])), *others]

"""From a training file to tokens: what of a row is prompt, what is the answer that is trained, and which rows won't do.

A row is refused where training would do something else than its author thinks: no answer to learn, a prompt that isn't
what the model will be asked, an answer that would be cut. Rows are OpenAI's: chats whose last message is the answer
(the assistant's messages before it are context), or prompt and completion.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .chat import ChatError, ChatForm
from .job import RefusedError

NO_LOSS = -100  # PyTorch's `ignore_index`


@dataclass(frozen=True)
class Row:
    """A row. `asked` is what quotes are looked for in; `closing` what the template writes after the answer."""

    number: int
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    asked: str
    reference: str
    closing: str

    def example(self, end_id: int) -> dict[str, list[int]]:
        """Return what the trainer takes: the loss is on the answer and its end alone."""
        answer = [*self.answer_ids, end_id]
        return {
            "input_ids": [*self.prompt_ids, *answer],
            "labels": [NO_LOSS] * len(self.prompt_ids) + answer,
        }

    @property
    def tokens(self) -> int:
        """Prompt, answer and its end."""
        return len(self.prompt_ids) + len(self.answer_ids) + 1


class UnusableRowError(Exception):
    """A row that can't be trained on as it is; the message says why."""


def read_rows(file: Path, form: ChatForm, *, max_length: int, name: str, param: str) -> list[Row]:
    """Return the rows of a file; raises RefusedError that names file and line at the first that can't be used."""
    rows = []
    for number, line in _lines(file, name, param):
        try:
            rows.append(_read_row(number, line, form, max_length))
        except (UnusableRowError, ChatError) as error:
            raise RefusedError(
                "invalid_row", f"Line {number} of {name} can't be trained on: {error}.", param=param
            ) from error
    if not rows:
        raise RefusedError("invalid_n_examples", f"{name} has no rows.", param=param)
    return rows


def _lines(file: Path, name: str, param: str) -> Iterator[tuple[int, str]]:
    try:
        lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError("invalid_jsonl", f"{name} can't be read: {error}.", param=param) from error
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _read_row(number: int, line: str, form: ChatForm, max_length: int) -> Row:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnusableRowError(f"it is no JSON ({error})") from error
    if not isinstance(given, dict):
        raise UnusableRowError("it is no JSON object")
    if "messages" in given:
        row = _from_chat(number, given["messages"], form)
    elif {"prompt", "completion"} <= given.keys():
        row = _from_completion(number, given["prompt"], given["completion"], form)
    else:
        raise UnusableRowError("it has neither 'messages' nor 'prompt' and 'completion'")
    if row.tokens > max_length:
        raise UnusableRowError(
            f"it has {row.tokens:,} tokens, and the job takes {max_length:,}; nothing is cut, for it would be the end "
            "of the answer. Raise the limit if model and memory allow it, or retrieve fewer or shorter passages"
        )
    return row


def _from_chat(number: int, messages: Any, form: ChatForm) -> Row:
    if not isinstance(messages, list) or not messages or not all(_is_message(one) for one in messages):
        raise UnusableRowError("'messages' is no list of messages with a role and a text")
    answer = messages[-1]["content"].strip()
    if messages[-1]["role"] != "assistant" or not any(one["role"] == "user" for one in messages):
        raise UnusableRowError("its messages must hold one of the user and end in one of the assistant")
    if not answer or messages[-1].get("weight", 1) == 0:
        raise UnusableRowError("it has no token to learn: the assistant's last message is empty or of weight 0")
    prompt = form.prompt(messages[:-1])
    written = form.conversation([*messages[:-1], {"role": "assistant", "content": answer}])
    if not written.startswith(prompt):
        raise UnusableRowError("by the chat template its prompt is not the beginning of prompt and answer")
    at = written.find(answer, len(prompt))
    if at < 0:
        raise UnusableRowError("the chat template changes the text of its answer")
    end = at + len(answer)
    prompt_ids, ids = form.tokens(prompt), form.tokens(written[:end])
    if ids[: len(prompt_ids)] != prompt_ids:
        raise UnusableRowError("the tokens of its prompt are not the first tokens of prompt and answer")
    asked = next(one["content"] for one in reversed(messages) if one["role"] == "user")
    return Row(number, tuple(prompt_ids), tuple(ids[len(prompt_ids) :]), asked, answer, written[end:])


def _from_completion(number: int, prompt: Any, completion: Any, form: ChatForm) -> Row:
    """Return a row of texts. Each has tokens of its own: when it is asked, the model is given those of the prompt."""
    if not isinstance(prompt, str) or not isinstance(completion, str) or not prompt.strip():
        raise UnusableRowError("'prompt' and 'completion' must be texts")
    answer = completion.strip()
    if not answer:
        raise UnusableRowError("it has no token to learn: the completion is empty")
    prompt_ids = list(form.tokenizer(prompt)["input_ids"])
    return Row(number, tuple(prompt_ids), tuple(form.tokens(answer)), prompt, answer, "")


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
    )


def pick_rows(rows: Sequence[Row], count: int) -> list[Row]:
    """Return up to `count` rows, evenly spread over the file."""
    if count >= len(rows):
        return list(rows)
    return [rows[place * len(rows) // count] for place in range(count)]

"""How a base model is spoken to: its chat template, and the token that ends an answer.

Training and serving both come here. A base model without a template gets `PLAIN_TEMPLATE`. A template without a system
role gets the instructions at the head of the user's first message. Thinking is switched off where a template offers it:
the answers that are trained reason in their own text.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# "Answer:" and one line end: a tokenizer can't join them with what an answer begins with, so a prompt's tokens are the
# first ones of prompt and answer ("\n\n" alone is cut in two where a letter follows)
PLAIN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'assistant' %}Answer:\n{{ message.content }}"
    "{{ eos_token }}\n\n{% else %}{{ message.content }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Answer:\n{% endif %}"
)
# the same for one question as Ollama renders it; it writes the first token by itself (https://docs.ollama.com/template)
PLAIN_OLLAMA_TEMPLATE = (
    "{{ if .System }}{{ .System }}\n\n{{ end }}{{ if .Prompt }}{{ .Prompt }}\n\n{{ end }}Answer:\n{{ .Response }}"
)
# what `ChatForm._with_roles` does, before a template that an engine or another program renders by itself
_ROLES = (
    "{%- set form = namespace(told=[], kept=[]) -%}{%- for message in messages -%}"
    "{%- set role = 'system' if message.role == 'developer' else message.role -%}"
    "{%- if role == 'system' and MERGED -%}{%- set form.told = form.told + [message.content] -%}"
    "{%- else -%}{%- set form.kept = form.kept + [{'role': role, 'content': message.content}] -%}{%- endif -%}"
    "{%- endfor -%}{%- if form.told and not form.kept -%}"
    "{%- set form.kept = [{'role': 'user', 'content': form.told | join('\\n\\n')}] -%}"
    "{%- elif form.told -%}{%- set first = form.kept[0] -%}"
    "{%- set said = (form.told + [first.content]) | join('\\n\\n') -%}"
    "{%- set form.kept = [{'role': first.role, 'content': said}] + form.kept[1:] -%}{%- endif -%}"
    "{%- set messages = form.kept -%}{%- set enable_thinking = false %}"
)
_SYSTEM, _USER = "what the system says", "what the user asks"
SAME_DIRECTION = 0.98  # cosine; two tokens that were trained are further apart
ALIKE_TOKENS = 8  # tokens that nothing has ever told apart come in dozens (`<unused17>`), synonyms don't


class ChatError(Exception):
    """A chat can't be rendered by the model's template; the message says why."""


class ChatForm:
    """How one base model is spoken to."""

    def __init__(self, tokenizer: Any, *, end_ids: Sequence[int]) -> None:
        """`end_ids`: the tokens that end what the model says, by its own configuration."""
        self.tokenizer = tokenizer
        self.end_ids = tuple(dict.fromkeys([*end_ids, tokenizer.eos_token_id]))
        self.template: str = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else PLAIN_TEMPLATE
        self.has_system_role = self._accepts_system_role()

    @property
    def template_sha256(self) -> str:
        """The template's hash."""
        return hashlib.sha256(self.template.encode()).hexdigest()

    @property
    def template_for_others(self) -> str:
        """The template for a program that renders it by itself: roles and thinking are as in training."""
        return _ROLES.replace("MERGED", "false" if self.has_system_role else "true") + self.template

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the text that an answer follows; raises ChatError."""
        return self._render(self._with_roles(messages), add_generation_prompt=True)

    def conversation(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return messages of which the last is the answer, as the template writes them; raises ChatError."""
        return self._render(self._with_roles(messages), add_generation_prompt=False)

    def tokens(self, rendered: str) -> list[int]:
        """Return the tokens of a rendered text, in which the template wrote every special token."""
        return list(self.tokenizer(rendered, add_special_tokens=False)["input_ids"])

    def _with_roles(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
        """Return the messages in roles that the template has."""
        given = [
            {"role": "system" if one["role"] == "developer" else one["role"], "content": one["content"]}
            for one in messages
        ]
        if self.has_system_role:
            return given
        instructions = [one["content"] for one in given if one["role"] == "system"]
        kept = [one for one in given if one["role"] != "system"]
        if instructions and not kept:
            return [{"role": "user", "content": "\n\n".join(instructions)}]
        if instructions:
            kept[0] = kept[0] | {"content": "\n\n".join([*instructions, kept[0]["content"]])}
        return kept

    def _render(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> str:
        import jinja2

        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(messages),
                    chat_template=self.template,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    enable_thinking=False,
                )
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise ChatError(f"the chat template refuses the messages: {error}") from error

    def _accepts_system_role(self) -> bool:
        """Return whether the template writes what the system says; some refuse it, others leave it out."""
        try:
            written = self._render(
                [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}], add_generation_prompt=True
            )
        except ChatError:
            return False
        return _SYSTEM in written and _USER in written


def choose_end(form: ChatForm, closing: str, embeddings: Any) -> int:
    """Return the token that ends answers: the one that the template closes with if the model can say it, else `eos`.

    The end of a turn is a token that a base model has never seen: its embedding is that of any unused token, and
    adapters of inner layers don't learn to tell it from them. `closing` is what the template writes after an answer,
    `embeddings` the matrix of output embeddings (tokens, hidden).
    """
    closers = (token for token in form.tokens(closing) if token in form.end_ids)
    closer = next(closers, None)
    if closer is not None and not is_untrained(closer, embeddings):
        return closer
    return int(form.tokenizer.eos_token_id)


def is_untrained(token: int, embeddings: Any) -> bool:
    """Return whether a token's embedding is zero or the same as that of many others."""
    import torch

    embeddings = embeddings.detach()
    row = embeddings[token].float()
    if not float(row.norm()):
        return True
    alike = 0
    for part in embeddings.split(1 << 15):  # a matrix of 262,144 tokens is gigabytes in float32
        cosines = torch.nn.functional.cosine_similarity(part.float(), row[None], dim=1)
        alike += int((cosines > SAME_DIRECTION).sum())
    return alike > ALIKE_TOKENS  # itself among them


def end_ids_of(configurations: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return the tokens that end an answer by a model's configurations (`generation_config.json`, `config.json`)."""
    found: list[int] = []
    for configuration in configurations:
        given = configuration.get("eos_token_id")
        found += given if isinstance(given, list) else [given] if isinstance(given, int) else []
    return list(dict.fromkeys(found))

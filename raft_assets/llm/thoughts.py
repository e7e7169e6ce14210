"""Take off an answer what isn't part of it: the model's thoughts, and the tokens of its chat template.

Services put thoughts into a field of their own where they know the model, and leave them in the text where they don't.
The store keeps the response as it came; nothing here is stored.
"""

import re
from typing import NamedTuple

from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE


class _Tags(NamedTuple):
    opening: re.Pattern[str]
    closing: re.Pattern[str]


def _tags(names: str) -> _Tags:
    """Return the tags by these names, and those of Magistral, Kimi, Command A, Gemma and their descendants."""
    opening = r"\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|begin_of_thought\|>|<\|channel>thought"
    closing = r"\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<\|end_of_thought\|>|<channel\|>"
    return _Tags(
        re.compile(rf"<(?:\w+:)?(?:{names})(?:\s[^<>]*)?>|{opening}", re.IGNORECASE),
        re.compile(rf"</(?:\w+:)?(?:{names})>|{closing}", re.IGNORECASE),
    )


_NAMES = "think(?:ing)?|thoughts?"  # Qwen, DeepSeek
_THOUGHTS = _tags(_NAMES)
_ANY_REASONING = _tags(rf"{_NAMES}|reasoning|analysis|scratchpad")
# gpt-oss: channels, the last of which is the answer; and what is left of them where special tokens are not printed
_FINAL_CHANNEL = re.compile(
    r"\A.*<\|channel\|>final\b[^<]*<\|message\|>|\Aanalysis(?=[A-Z]).*assistantfinal", re.DOTALL
)
_OTHER_CHANNEL = re.compile(r"\A\s*(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)\b.*\Z", re.DOTALL)
_STOP = (
    r"(?:<\|[A-Za-z_]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</s>|<eos>|<EOT>|\[EOS\]|<end_of_turn>|<turn\|>|<seed:eos>"
    r"|<end_of_utterance>)"
)
_STOP_AT_END = re.compile(rf"{_STOP}\Z")
# a model that its server didn't stop goes on with the next turn
_NEXT_TURN = re.compile(rf"(?={_STOP}\s*(?:<\|im_start\|>|<start_of_turn>|<\|start_header_id\|>|<\|turn>|\[INST\]))")


def strip_thoughts(text: str, *, everywhere: bool = False) -> str:
    """Return the text without the thoughts in it; empty if it is nothing but thoughts.

    Thoughts open the text, or a line, and end with their closing tag. The opening tag may have stood in the prompt:
    then everything before a lone closing tag is thoughts. Tags in a quotation or in backticks are text like any other.
    `everywhere`: also within a line, and also what a model calls reasoning, which an answer of the contract may hold.
    """
    text, changed = _final_channel(text)
    while (rest := _without_a_block(text, everywhere=everywhere)) is not None:
        text, changed = rest, True
    return text.lstrip() if changed else text


def strip_stop_tokens(text: str) -> str:
    """Return the text without stop tokens of chat templates at its end, and without turns that follow them.

    A stop token that is itself the answer (`<ANSWER>: </s>`) stays.
    """
    bare = _NEXT_TURN.split(text, maxsplit=1)[0].rstrip() if _NEXT_TURN.search(text) else text.rstrip()
    if bare == text.rstrip() and not _STOP_AT_END.search(bare):
        return text
    while (token := _STOP_AT_END.search(bare)) and not bare[: token.start()].rstrip().endswith(":"):
        bare = bare[: token.start()].rstrip()
    return bare


def _final_channel(text: str) -> tuple[str, bool]:
    if final := _FINAL_CHANNEL.match(text):
        return text[final.end() :], True
    return ("", True) if _OTHER_CHANNEL.match(text) else (text, False)


def _without_a_block(text: str, *, everywhere: bool) -> str | None:
    """Return the text without its first block of thoughts; None if there is none."""
    tags, opens = (_ANY_REASONING, _is_not_quoted) if everywhere else (_THOUGHTS, _opens_a_line)
    opening = next((tag for tag in tags.opening.finditer(text) if opens(text, tag)), None)
    closing = next((tag for tag in tags.closing.finditer(text) if _is_not_quoted(text, tag)), None)
    if opening is None or (closing and closing.start() < opening.start()):
        return text[closing.end() :] if closing else None
    after = next((tag for tag in tags.closing.finditer(text, opening.end()) if _is_not_quoted(text, tag)), None)
    before = text[: opening.start()]
    return before.rstrip() + (text[after.end() :] if after else "") if before.strip() else _rest(text, after)


def _rest(text: str, closing: re.Match[str] | None) -> str:
    return text[closing.end() :] if closing else ""


def _opens_a_line(text: str, tag: re.Match[str]) -> bool:
    line = text[text.rfind("\n", 0, tag.start()) + 1 : tag.start()]
    return not line.strip() and _is_not_quoted(text, tag)


def _is_not_quoted(text: str, tag: re.Match[str]) -> bool:
    """Return whether a tag is no part of what an answer quotes or names."""
    if text[max(tag.start() - 1, 0) : tag.start()] == "`" == text[tag.end() : tag.end() + 1]:
        return False
    begin, end = text.rfind(BEGIN_QUOTE, 0, tag.start()), text.rfind(END_QUOTE, 0, tag.start())
    next_begin, next_end = text.find(BEGIN_QUOTE, tag.end()), text.find(END_QUOTE, tag.end())
    return not (begin > end and next_end >= 0 and not 0 <= next_begin < next_end)

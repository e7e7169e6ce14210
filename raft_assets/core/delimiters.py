"""Neutralise, in text of documents and questions, what would be read as a delimiter of the prompt it is put into.

That is the prompt contract's own delimiters and the special tokens of chat templates, in every spelling: any case,
blanks, attributes, letters and brackets of another width or style (whatever NFKC makes equal), characters without width
in between. What the delimiters mean belongs in `prompt_contract`.
"""

import re
import unicodedata
from functools import lru_cache

CACHED_TEXTS = 256  # a passage is rendered for its questions, in several rows, and to check quotes

# with bars around them, also where blanks are inside; without blanks any name is one (`<|reserved_special_token_7|>`)
_BARRED = (
    r"im_start|im_end|im_sep|im_\w+|eot_id|eom_id|end_of_text|begin_of_text|start_header_id|end_header_id|endoftext"
    r"|startoftext|start_of_role|end_of_role|end_of_turn|endofprompt|system|user|assistant|tool|end|start|message"
    r"|channel|constrain|return|call|observation|python_tag"
)
# in angle brackets: Llama 2, Gemma, Mistral, T5, Qwen, Cohere, Seed, SmolVLM, StarCoder, Baichuan, Nemotron, GLM
_ANGLED = (
    r"bos|eos|pad|unk|mask|cls|sep|eot|eop|eod|sop|eoc|start_of_turn|end_of_turn|end_of_utterance|start_of_image"
    r"|end_of_image|image_soft_token|(?:bos|eos|pad|unk|cls|sep|mask|eop)_token|seed:\w+|tool_call|tool_response|tools"
    r"|(?:\w+:)?(?:think(?:ing)?|thoughts?)(?:\s[^<>]*)?|fim_(?:prefix|middle|suffix|pad)|file_sep|repo_name|gh_stars"
    r"|(?:unused|extra_|extra_id_|special_|reserved_)\d+|_(?:system|user|bot|end)"
)
_HALF_BARRED = r"turn|channel|tool|tool_call|tool_response|think|image|audio|video"  # Gemma 4: <|turn> and <turn|>
# in square brackets: Mistral, ChatGLM, BERT's kin; in capitals only, as other words are in brackets as well
_BRACKETED = (
    r"AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|SYSTEM_PROMPT|MODEL_SETTINGS|IMG|IMG_BREAK|IMG_END|PREFIX"
    r"|SUFFIX|MIDDLE|THINK|ARGS|CALL_ID|AUDIO|BEGIN_AUDIO|TRANSCRIBE|BOS|EOS|PAD|UNK|CLS|SEP|MASK|gMASK|sMASK"
    r"|UNUSED_TOKEN_\d+"
)
_DELIMITER = re.compile(
    rf"""
    <\s*+(?P<slash>/?)\s*+(?P<tag>document|answer)(?P<attributes>(?:[\s/][^>]{{0,200}})?)>
    |\#\#\s*(?P<mark>begin|end)\s*_\s*quote\s*\#\#
    |<[|｜][^\s<>|｜]{{1,60}}[|｜]> | <\s*[|｜]\s*(?:{_BARRED})\s*[|｜]\s*>
    |<｜[^<>|｜]{{1,60}}｜>                                       # DeepSeek's, with blanks of any kind
    |<[|｜](?:{_HALF_BARRED})> | <(?:{_HALF_BARRED})[|｜]>
    |</?s> | <\s*+/?\s*+(?:{_ANGLED})\s*+>
    |<\[[^\s<>\[\]]{{1,60}}\]>                                    # Seed
    |<<\s*+/?\s*+sys\s*+>> | \[\s*+/?\s*+inst\s*+\]                     # Llama 2
    |\[/?(?-i:{_BRACKETED})\]
    |\[[|｜]\s*(?:system|user|assistant|tool|endofturn)\s*[|｜]\] # Exaone
    |\]~!?\w{{1,9}}[\[\]] | \[e~\[ | \]!p~\[                      # MiniMax
    |◁\s*+/?\s*+\w{{1,20}}\s*▷                                      # Kimi
    """,
    re.IGNORECASE | re.VERBOSE,
)
# what stands for the characters that make a text a delimiter
_BLANK_CONTROLS = "\t\n\v\f\r"  # the other controls are nothing between two letters
_HARMLESS = {"<": "‹", ">": "›", "◁": "‹", "▷": "›", "[": "(", "]": ")"}
# characters without width that Unicode doesn't count as format characters: fillers, joiners, variation selectors
_WITHOUT_WIDTH = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)


class _Folding(dict[int, str]):
    """What each character is in the text in which delimiters are sought: nothing where it has no width."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = folded = character if character == "｜" else _fold(character)
        return folded


def _fold(character: str) -> str:
    parts = unicodedata.normalize("NFKC", character)
    return "".join(part for part in parts if part in _BLANK_CONTROLS or not _has_no_width(part))


def _has_no_width(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf") or bool(_WITHOUT_WIDTH.match(character))


_FOLDING = _Folding()


@lru_cache(maxsize=CACHED_TEXTS)
def escape_delimiters(text: str) -> str:
    """Return the text as it appears in a prompt: no delimiter of the contract or of a chat template is left in it.

    Applied twice it gives the same as once. A text without delimiters stays as it is, byte for byte.
    """
    while found := list(_DELIMITER.finditer(text.translate(_FOLDING))):
        places = [place for place, character in enumerate(text) for _ in _FOLDING[ord(character)]]
        pieces, done = list[str](), 0
        for match in found:
            start, end = places[match.start()], places[match.end() - 1] + 1
            pieces += [text[done:start], _neutralise(match, text[start:end])]
            done = end
        text = "".join([*pieces, text[done:]])
    return text


def _neutralise(match: re.Match[str], spelling: str) -> str:
    """Return what stands for a delimiter: it reads much the same, and is none."""
    if match["mark"]:
        return f"#{match['mark']}_quote#"
    if match["tag"]:
        attributes = match["attributes"].rstrip()
        return f"‹{match['slash']}{match['tag'].upper()}{attributes}›"
    return "".join(_HARMLESS.get(_FOLDING[ord(character)], character) for character in spelling)

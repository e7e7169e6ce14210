"""Characters that turn the direction of a text, kept within the text that they are in.

What is right-to-left by its letters needs none of this.
"""

import re
from collections.abc import Iterable

_POP, _POP_ISOLATE = "\N{POP DIRECTIONAL FORMATTING}", "\N{POP DIRECTIONAL ISOLATE}"
_END_OF = dict.fromkeys("\u202a\u202b\u202d\u202e", _POP) | dict.fromkeys("\u2066\u2067\u2068", _POP_ISOLATE)
_LINE_ENDS = frozenset("\n\r\x1c\x1d\x1e\x85\u2029")  # with which every direction ends (UAX 9, class B)
_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def close_direction(text: str) -> str:
    """Return a text in which every embedding, override and isolate ends with its line, at the latest."""
    return close_directions([text])[0]


def close_directions(parts: Iterable[str]) -> list[str]:
    """Return the parts of one text, closed as `close_direction` closes a whole one.

    A character that ends none of them is left out: it would end one that the text stands in, such as an element's
    (browsers isolate `<bdi>` by these very characters).
    """
    texts, opened = list(parts), list[str]()
    if not any(map(_CONTROLS.search, texts)):
        return texts
    closed = ["".join(character for one in text for character in _close(one, opened)) for text in texts]
    return [*closed[:-1], closed[-1] + "".join(reversed(opened))]


def _close(character: str, opened: list[str]) -> str:
    """Return what stands for a character; `opened`: what will end the directions that are open, the last one last."""
    if character in _LINE_ENDS:
        ends = "".join(reversed(opened))
        opened.clear()
        return ends + character
    if character in _END_OF:
        opened.append(_END_OF[character])
    elif character == _POP:
        if opened[-1:] != [_POP]:
            return ""
        opened.pop()
    elif character == _POP_ISOLATE:
        if _POP_ISOLATE not in opened:
            return ""
        while opened.pop() != _POP_ISOLATE:  # an isolate ends with what is open in it
            pass
    return character

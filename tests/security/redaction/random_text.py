"""Random text of a regular expression, for keys that look like real ones and belong to nobody."""

from __future__ import annotations

import random
import string
from importlib import import_module
from typing import Any

_parser: Any = import_module("re._parser")
_CLASSES = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_WORD": string.ascii_letters + string.digits + "_",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_SPACE": string.ascii_letters + string.digits + "_-+/",
}
_PRINTABLE = string.ascii_letters + string.digits + "_-+/. "


def text_of(pattern: str, draw: random.Random) -> str:
    """A text that the pattern matches in full; open-ended repetitions end after ten more."""
    return _sequence(_parser.parse(pattern.replace("[[:alnum:]]", "[A-Za-z0-9]")), draw)


def _sequence(items: Any, draw: random.Random) -> str:
    return "".join(_item(str(op), argument, draw) for op, argument in items)


def _item(op: str, argument: Any, draw: random.Random) -> str:
    if op == "LITERAL":
        return chr(argument)
    if op == "IN":
        return draw.choice(_members(argument))
    if op in {"ANY", "NOT_LITERAL"}:
        return draw.choice(_PRINTABLE)
    if op == "SUBPATTERN":
        return _sequence(argument[-1], draw)
    if op == "BRANCH":
        return _sequence(draw.choice(argument[1]), draw)
    if op in {"MAX_REPEAT", "MIN_REPEAT"}:
        least, most, inner = argument
        count = draw.randint(least, min(most, least + 10))
        return "".join(_sequence(inner, draw) for _ in range(count))
    assert op == "AT", f"no text can be drawn for {op}"
    return ""


def _members(argument: Any) -> str:
    members = ""
    for kind, value in argument:
        if str(kind) == "LITERAL":
            members += chr(value)
        elif str(kind) == "RANGE":
            members += "".join(map(chr, range(value[0], value[1] + 1)))
        else:
            members += _CLASSES[str(value)]
    return members

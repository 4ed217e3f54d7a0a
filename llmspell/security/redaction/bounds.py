"""How far a pattern can look and how often it can try, from its parse tree.

``re`` backtracks, so its time is linear in the text only if what one starting position can cost has
a bound. Patterns here have one: every repetition has a maximum, and those that could give back what
they took are possessive. The bound is counted, not believed: a pattern without one is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from llmspell.errors import UnsafePattern

__all__ = ["MAX_STEPS", "MAX_WIDTH", "Bounds", "bounds"]

_parser: Any = import_module("re._parser")

# A PEM block of an 8192-bit RSA key takes 6.4 kB; nothing that is redacted is longer than this.
MAX_WIDTH = 20_000
# Per starting position. That of a PEM block, the largest here, is about 7 per character of it.
MAX_STEPS = 200_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one attempt at one position may cost.

    ``width``: characters from the start that it may look at, look-ahead included. ``steps``: single
    comparisons, all ways of backtracking included. ``ways``: how often what follows may be tried.
    ``least`` and ``most``: characters that a match takes.
    """

    width: int
    steps: int
    ways: int
    least: int = 0
    most: int = 0


def bounds(pattern: str, flags: int = 0) -> Bounds:
    """Bounds of a pattern; raises ``UnsafePattern`` if it has none, or one that is too large."""
    try:
        try:
            tree = _parser.parse(pattern, flags)
        except (re.error, OverflowError, ValueError) as error:  # ValueError: of flags at odds
            raise UnsafePattern(f"{pattern!r} isn't a regular expression: {error}") from error
        found = _sequence(list(tree), pattern)
    except RecursionError:
        raise UnsafePattern(f"{pattern!r} is nested too deep: take groups out of it") from None
    if found.width > MAX_WIDTH or found.steps > MAX_STEPS:
        raise UnsafePattern(
            f"{pattern!r} may look at {found.width} characters in {found.steps} steps from one "
            f"position; the limits are {MAX_WIDTH} and {MAX_STEPS}: lower the maxima of its "
            "repetitions or make them possessive, as in [a-z]{1,40}+"
        )
    return found


def _sequence(items: list[Any], pattern: str) -> Bounds:
    seen = least = most = 0
    parts = [_item(item, pattern) for item in items]
    for part in parts:
        seen = max(seen, most + part.width)
        least += part.least
        most += part.most
    steps = 0
    for part in reversed(parts):  # what follows is tried once for each way of what precedes
        steps = part.steps + part.ways * steps
    ways = 1
    for part in parts:
        ways *= part.ways
    return Bounds(seen, steps, ways, least, most)


def _item(item: tuple[Any, Any], pattern: str) -> Bounds:
    op, argument = str(item[0]), item[1]
    if op in {"LITERAL", "NOT_LITERAL", "ANY", "IN"}:
        return Bounds(1, 1, 1, 1, 1)  # a class is one look into a table
    if op == "AT":
        return Bounds(1, 1, 1)  # a border looks at the next character
    if op == "SUBPATTERN":
        return _sequence(list(argument[-1]), pattern)
    if op == "ATOMIC_GROUP":
        return replace(_sequence(list(argument), pattern), ways=1)
    if op in {"ASSERT", "ASSERT_NOT"}:
        direction, inner = argument[0], list(argument[1])
        found = _sequence(inner, pattern)
        return Bounds(found.width if direction > 0 else 0, found.steps, 1)
    if op == "BRANCH":
        found_all = [_sequence(list(branch), pattern) for branch in argument[1]]
        return Bounds(
            max(found.width for found in found_all),
            sum(found.steps for found in found_all),
            sum(found.ways for found in found_all),
            min(found.least for found in found_all),
            max(found.most for found in found_all),
        )
    if op in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
        return _repeat(op, argument, pattern)
    raise UnsafePattern(f"{pattern!r} uses {op.lower()}, whose work can't be bounded beforehand")


def _repeat(op: str, argument: tuple[int, int, Any], pattern: str) -> Bounds:
    least, most, inner = argument
    if most > MAX_WIDTH:  # MAXREPEAT is the largest of all
        raise UnsafePattern(
            f"{pattern!r} repeats without a maximum: say how long a value may be, as in "
            "[a-z]{1,40}+"
        )
    found = _sequence(list(inner), pattern)
    width = found.width + found.most * max(most - 1, 0)
    taken = least * found.least, most * found.most
    if op == "POSSESSIVE_REPEAT":
        return Bounds(width, found.steps * (most + 1), 1, *taken)
    if found.ways == 1:
        ways, steps = most - least + 1, found.steps * (most + 1)
    else:
        ways = min(sum(found.ways**count for count in range(least, min(most, 64) + 1)), 10**12)
        steps = found.steps * ways
    return Bounds(width, steps, ways, *taken)

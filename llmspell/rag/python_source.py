"""Where a Python source falls apart into functions, methods and classes."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

__all__ = ["section_starts"]

_LAYOUT: Final = frozenset({tokenize.NL, tokenize.COMMENT, tokenize.ENCODING, tokenize.ENDMARKER})


def section_starts(source: str) -> list[int] | None:
    """Offsets in characters at which sections begin, the first being 0.

    Every class, every function of a module and every method begins a section, with its decorators
    and the comment right above it; so does the code after one. What stands inside of a function
    is one with it.

    Returns:
        Offsets in order, or None where ``source`` isn't Python.
    """
    try:
        rows = set(_section_rows(io.StringIO(source, newline="")))
    # The tokenizer and not `ast`: it neither warns of odd escapes nor asks for valid grammar.
    except (tokenize.TokenError, SyntaxError):
        return None
    # Gone over again, for a list of all lines takes up to fifty times the source.
    begins = accumulate(map(len, io.StringIO(source, newline="")), initial=0)
    return [offset for row, offset in enumerate(begins, 1) if row in rows]


def _section_rows(source: Iterator[str]) -> list[int]:
    rows = [1]
    inside: list[bool] = []  # for each open block: does it stand in a function?
    opens_function = False
    line_start = True
    lead: int | None = None  # row of the comment or decorator that the next line may belong to
    after_function = False
    for token in tokenize.generate_tokens(lambda: next(source, "")):
        row = token.start[0]
        if token.type == tokenize.INDENT:
            inside.append(opens_function or (bool(inside) and inside[-1]))
            lead = None
        elif token.type == tokenize.DEDENT:
            after_function |= inside.pop() and not (inside and inside[-1])
        elif token.type == tokenize.NEWLINE:
            line_start = True
        elif token.type == tokenize.COMMENT and line_start:
            lead = lead or row
        elif token.type == tokenize.NL and line_start and not token.line.strip():
            lead = None
        elif token.type not in _LAYOUT and line_start:
            line_start = False
            decorator = token.string == "@"
            if decorator:
                lead = lead or row
                continue
            begins = token.string in ("def", "class", "async")
            opens_function = begins and token.string != "class"
            if not (inside and inside[-1]) and (begins or after_function):
                start = lead or row
                if start > rows[-1]:
                    rows.append(start)
                after_function = False
            lead = None
    return rows

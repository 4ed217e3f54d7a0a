"""What runs in a confined worker for :mod:`llmspell.security.patterns.backtracking`."""

from __future__ import annotations

import functools
import itertools
import re

__all__ = ["find"]


@functools.lru_cache(128)
def _compiled(pattern: str, flags: int) -> re.Pattern[str]:
    return re.compile(pattern, flags)


def find(
    how: str, pattern: str, flags: int, text: str, most: int
) -> tuple[dict[str, int], list[list[tuple[int, int]]]]:
    """Names of groups, and the spans of each match, of one or of up to ``most``."""
    compiled = _compiled(pattern, flags)
    if how == "finditer":
        found = list(itertools.islice(compiled.finditer(text), most))
    else:
        one = getattr(compiled, how)(text)
        found = [] if one is None else [one]
    groups = range(compiled.groups + 1)
    return dict(compiled.groupindex), [[match.span(group) for group in groups] for match in found]

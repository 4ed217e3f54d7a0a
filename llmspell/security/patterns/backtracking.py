"""Patterns of ``re``, for what RE2 lacks: run in a confined worker, which is ended in time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, Self

from llmspell.errors import (
    ConfigError,
    InputError,
    PatternLimitExceeded,
    ToolFailed,
    ToolLimitExceeded,
    ToolTimeout,
    UnsafePattern,
)
from llmspell.security.patterns.pattern_match import PatternMatch
from llmspell.security.requirements import SecurityRequirements
from llmspell.security.sandbox.sandbox import Sandbox

__all__ = ["BacktrackingPattern", "BacktrackingPatterns"]

_SOURCE: Final = Path(__file__).with_name("re_tool.py")
_MAX_PATTERN: Final = 2_000
_MAX_TEXT: Final = 1_000_000
_MAX_MATCHES: Final = 10_000


class BacktrackingPatterns:
    """Runs patterns on ``re`` in workers of a sandbox. Thread-safe.

    A search that takes too long ends with its worker; the next one gets another. A worker serves
    one tenant.

    Args:
        sandbox: where the workers are.
        timeout: seconds that one search may take, at most 5.

    Raises:
        ConfigError: a timeout out of range.
        SandboxUnavailable: this host can't confine workers.
    """

    def __init__(self, sandbox: Sandbox, *, timeout: float = 0.1) -> None:
        number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
        if not number or not 0 < timeout <= 5:
            raise ConfigError(f"timeout must be above 0 and at most 5 s, got {timeout!r}")
        self._timeout = float(timeout)
        needs = SecurityRequirements.safe().with_output_limit(16 << 20)
        self._tool = sandbox.load(
            "re_tool",
            ["find"],
            needs,
            source=_SOURCE.read_text(encoding="utf-8"),
            keep_workers=True,
        )

    def compile(
        self,
        pattern: str,
        *,
        ignore_case: bool = False,
        multiline: bool = False,
        dot_all: bool = False,
        tenant: str | None = None,
    ) -> BacktrackingPattern:
        """A pattern of ``re``, which isn't looked at before it is searched for.

        Args:
            pattern: at most 2,000 characters.
            ignore_case, multiline, dot_all: as the flags of ``re``.
            tenant: whose worker searches.

        Raises:
            UnsafePattern: it is longer.
            InputError: it isn't a str.
        """
        if not isinstance(pattern, str):
            raise InputError(f"a pattern is a str, not {type(pattern).__name__}")
        if len(pattern) > _MAX_PATTERN:
            raise UnsafePattern(
                f"a pattern of {len(pattern):,} characters; the limit is {_MAX_PATTERN:,}"
            )
        flags = re.IGNORECASE * ignore_case | re.MULTILINE * multiline | re.DOTALL * dot_all
        return BacktrackingPattern(self, pattern, int(flags), tenant)

    def close(self) -> None:
        """End the workers."""
        self._tool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _find(
        self,
        how: Literal["search", "match", "fullmatch", "finditer"],
        pattern: BacktrackingPattern,
        text: str,
    ) -> list[PatternMatch]:
        if not isinstance(text, str):
            raise InputError(f"a text to search is a str, not {type(text).__name__}")
        if len(text) > _MAX_TEXT:
            raise PatternLimitExceeded(
                f"a text of {len(text):,} characters; the limit is {_MAX_TEXT:,}",
                limit="text_characters",
            )
        given = [how, pattern.pattern, pattern.flags, text, _MAX_MATCHES + 1]
        try:
            answer = self._tool.call("find", given, timeout=self._timeout, tenant=pattern.tenant)
        except ToolTimeout:
            raise PatternLimitExceeded(
                f"{pattern!r} took more than {self._timeout:g} s; LinearPattern takes no pattern "
                "that can",
                limit="seconds",
            ) from None
        except ToolLimitExceeded as error:
            raise PatternLimitExceeded(
                f"{pattern!r} took too much {error.limit}", limit=error.limit
            ) from None
        except ToolFailed as error:
            if error.error in ("error", "PatternError", "RecursionError", "OverflowError"):
                raise UnsafePattern(f"{pattern!r} isn't a regular expression: {error}") from None
            raise
        names, found = answer.value
        if len(found) > _MAX_MATCHES:
            raise PatternLimitExceeded(
                f"{pattern!r} matches more than {_MAX_MATCHES:,} times", limit="matches"
            )
        return [PatternMatch(text, tuple(map(tuple, spans)), names) for spans in found]


class BacktrackingPattern:
    """A pattern of ``re``; made by :meth:`BacktrackingPatterns.compile`. Thread-safe.

    Each search raises :class:`PatternLimitExceeded` where it takes too long, and
    :class:`UnsafePattern` where the pattern is none.
    """

    def __init__(
        self, patterns: BacktrackingPatterns, pattern: str, flags: int, tenant: str | None
    ) -> None:
        self._patterns = patterns
        self.pattern = pattern
        self.flags = flags
        self.tenant = tenant

    def search(self, text: str) -> PatternMatch | None:
        """The first match."""
        return next(iter(self._patterns._find("search", self, text)), None)

    def match(self, text: str) -> PatternMatch | None:
        """The match at the beginning."""
        return next(iter(self._patterns._find("match", self, text)), None)

    def fullmatch(self, text: str) -> PatternMatch | None:
        """The match of the whole text."""
        return next(iter(self._patterns._find("fullmatch", self, text)), None)

    def finditer(self, text: str) -> Iterator[PatternMatch]:
        """All matches, from left to right, up to 10,000; all are searched for at once."""
        return iter(self._patterns._find("finditer", self, text))

    def __repr__(self) -> str:
        return f"BacktrackingPattern({self.pattern[:80]!r})"

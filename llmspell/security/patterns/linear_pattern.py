"""A compiled pattern of RE2, with limits on what it may be and on what it is tried on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from time import perf_counter
from typing import Any, final

from llmspell.errors import (
    ConfigError,
    InputError,
    MissingDependency,
    PatternLimitExceeded,
    UnsafePattern,
)
from llmspell.security.patterns.constructs import first_refused
from llmspell.security.patterns.pattern_match import PatternMatch

__all__ = ["LinearPattern", "PatternLimits"]

_MAX_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternLimits:
    """What a pattern may be, and how much it may work.

    Args:
        pattern_characters: of the pattern.
        memory_bytes: RE2's ``max_mem``: two thirds for the program, the rest for its automata.
        text_characters: of a text that is searched, and of what :meth:`LinearPattern.sub` returns.
        steps: instructions of the program times bytes of the text, at most. A search that can't
            use an automaton takes time in proportion to these.
        scan_seconds: that one ``finditer`` or ``sub`` may search in all. One search is linear in
            the text; finding all matches may search the rest of the text anew for each.

    Raises:
        ConfigError: a limit that isn't a positive number.
    """

    pattern_characters: int = 2_000
    memory_bytes: int = 1 << 20
    text_characters: int = 1_000_000
    steps: int = 300_000_000
    scan_seconds: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int, float) if field.name == "scan_seconds" else (int,)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
                raise ConfigError(f"{field.name} is {value!r}; it must be a positive number")


@final
class LinearPattern:
    r"""A regular expression by RE2: one search takes time linear in the text, whatever it is.

    The methods are those of ``re.Pattern``, and offsets are in characters. The language is RE2's:
    back-references, look-around, atomic groups, possessive repetitions and conditionals are
    refused. It differs from ``re``: ``\d``, ``\w``, ``\s`` and ``\b`` are of ASCII (``\pL`` is any
    letter) and ``\s`` is without ``\v``; ``$`` is the very end, never before a last line break; the
    end is also ``\z``, not ``\Z``. Immutable, and safe to share between threads.

    Args:
        pattern: at most ``limits.pattern_characters``.
        ignore_case: by the simple case folding of Unicode.
        multiline: ``^`` and ``$`` match at lines.
        dot_all: ``.`` matches a line break too.
        limits: see :class:`PatternLimits`.

    Raises:
        UnsafePattern: the pattern is too large, isn't a regular expression, or uses what RE2 lacks:
            the message says what and where.
        InputError: the pattern isn't a str.
        MissingDependency: the extra ``security`` isn't installed.
    """

    __slots__ = ("_compiled", "_names", "limits", "pattern")

    def __init__(
        self,
        pattern: str,
        *,
        ignore_case: bool = False,
        multiline: bool = False,
        dot_all: bool = False,
        limits: PatternLimits | None = None,
    ):
        if not isinstance(pattern, str):
            raise InputError(f"a pattern is a str, not {type(pattern).__name__}")
        self.pattern = pattern
        self.limits = limits or PatternLimits()
        letters = "i" * ignore_case + "m" * multiline + "s" * dot_all
        self._compiled = _compile(pattern, f"(?{letters})" if letters else "", self.limits)
        self._names: dict[str, int] = self._compiled.groupindex

    @property
    def groups(self) -> int:
        """The number of groups."""
        return int(self._compiled.groups)

    @property
    def group_index(self) -> dict[str, int]:
        """The numbers of named groups."""
        return dict(self._names)

    def search(self, text: str) -> PatternMatch | None:
        """The first match; raises ``PatternLimitExceeded`` for too large a text."""
        self._hold(text)
        return self._match(self._compiled.search(text))

    def match(self, text: str) -> PatternMatch | None:
        """The match at the beginning; raises ``PatternLimitExceeded`` for too large a text."""
        self._hold(text)
        return self._match(self._compiled.match(text))

    def fullmatch(self, text: str) -> PatternMatch | None:
        """The match of the whole text; raises ``PatternLimitExceeded`` for too large a text."""
        self._hold(text)
        return self._match(self._compiled.fullmatch(text))

    def finditer(self, text: str) -> Iterator[PatternMatch]:
        """Matches from left to right, apart from each other.

        Raises:
            PatternLimitExceeded: the text is too large, or, between two matches, the search for
                them has taken ``limits.scan_seconds``.
        """
        self._hold(text)
        return self._scan(text)

    def sub(self, replacement: str | Callable[[PatternMatch], str], text: str) -> str:
        """The text with each match replaced: by a string as it stands, or by what a call returns.

        Raises:
            PatternLimitExceeded: as :meth:`finditer`, and where the result would be too large.
        """
        parts: list[str] = []
        position = size = 0
        for match in self.finditer(text):
            new = replacement if isinstance(replacement, str) else replacement(match)
            parts += (text[position : match.start()], new)
            size += match.start() - position + len(new)
            self._hold_result(size)
            position = match.end()
        self._hold_result(size + len(text) - position)
        parts.append(text[position:])
        return "".join(parts)

    def _hold_result(self, size: int) -> None:
        if size > self.limits.text_characters:
            raise PatternLimitExceeded(
                f"replacing matches of {_shown(self.pattern)} gives more than "
                f"{self.limits.text_characters} characters, the limit of its text",
                limit="text_characters",
            )

    def _scan(self, text: str) -> Iterator[PatternMatch]:
        found = self._compiled.finditer(text)
        spent = 0.0
        while True:
            began = perf_counter()
            match = self._match(next(found, None))
            spent += perf_counter() - began
            if match is None:
                return
            yield match
            if spent > self.limits.scan_seconds:
                raise PatternLimitExceeded(
                    f"searching {len(text)} characters for all matches of {_shown(self.pattern)} "
                    f"took more than {self.limits.scan_seconds} s; search less text at a time",
                    limit="scan_seconds",
                )

    def _match(self, found: Any) -> PatternMatch | None:
        if found is None:
            return None
        spans = tuple(found.span(group) for group in range(self.groups + 1))
        return PatternMatch(found.string, spans, self._names)

    def _hold(self, text: str) -> None:
        if not isinstance(text, str):
            raise InputError(f"a text to search is a str, not {type(text).__name__}")
        if len(text) > self.limits.text_characters:
            raise PatternLimitExceeded(
                f"a text of {len(text)} characters is to be searched for {_shown(self.pattern)}; "
                f"the limit is {self.limits.text_characters}",
                limit="text_characters",
            )
        try:
            size = len(text) if text.isascii() else len(text.encode())
        except UnicodeEncodeError as error:
            raise InputError(
                f"character {error.start} of the text is half of a surrogate pair; such text isn't "
                "Unicode and can't be searched: decode it properly first"
            ) from None
        steps = size * int(self._compiled.programsize)
        if steps > self.limits.steps:
            raise PatternLimitExceeded(
                f"a text of {size} bytes may take {steps} steps to search for "
                f"{_shown(self.pattern)}; the limit is {self.limits.steps}: search less text at a "
                "time, or write smaller counts",
                limit="steps",
            )

    def __repr__(self) -> str:
        return f"LinearPattern({_shown(self.pattern)})"


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= _MAX_SHOWN else pattern[: _MAX_SHOWN - 3] + "...")


def _compile(pattern: str, flags: str, limits: PatternLimits) -> Any:
    if len(pattern) > limits.pattern_characters:
        raise UnsafePattern(
            f"a pattern of {len(pattern)} characters was given; "
            f"the limit is {limits.pattern_characters}"
        )
    refused = first_refused(pattern)
    if refused is not None:
        raise UnsafePattern(
            f"{_shown(pattern)} has a construct that isn't taken at character {refused.position}, "
            f"{refused.name}: {refused.reason}",
            construct=refused.name,
            position=refused.position,
        )
    try:
        re2: Any = importlib.import_module("re2")
    except ImportError as error:
        raise MissingDependency("security", "google-re2") from error
    options = re2.Options()
    options.max_mem = limits.memory_bytes
    options.log_errors = False
    try:
        compiled = re2.compile(flags + pattern, options)
        # Of what is too large to run backwards RE2 says nothing before it searches.
        if compiled.reverseprogramsize < 0:
            raise re2.error(b"pattern too large - reverse compile failed")
    except UnicodeEncodeError as error:
        raise UnsafePattern(
            f"{_shown(pattern)} has half of a surrogate pair",
            construct="surrogate",
            position=error.start - len(flags),
        ) from None
    except re2.error as error:
        raise _refusal(pattern, flags, error, limits) from None
    return compiled


def _refusal(pattern: str, flags: str, error: Any, limits: PatternLimits) -> UnsafePattern:
    detail = error.args[0] if error.args else ""
    text = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
    if "too large" in text:
        return UnsafePattern(
            f"{_shown(pattern)} takes more memory than {limits.memory_bytes} bytes to run: write "
            "smaller counts"
        )
    text = text.replace(f": {flags}", ": ", 1)
    fragment = text.partition(": ")[2]
    position = pattern.find(fragment) if fragment else -1
    where = f" (character {position})" if position >= 0 else ""
    return UnsafePattern(
        f"{_shown(pattern)} isn't a regular expression of RE2: {text}{where}",
        construct="syntax",
        position=position if position >= 0 else None,
    )

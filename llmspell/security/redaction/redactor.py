"""Text with its secrets replaced, and where they were."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from llmspell.errors import ConfigError
from llmspell.security.redaction.assignments import PLACES
from llmspell.security.redaction.providers import PROVIDERS
from llmspell.security.redaction.rules import Rule
from llmspell.security.redaction.stream import RedactionStream

__all__ = ["KINDS", "SecretFinding", "Redactor", "find_secrets", "redact"]

_RULES: tuple[Rule, ...] = PLACES[:2] + PROVIDERS + PLACES[2:]
KINDS: frozenset[str] = frozenset(rule.kind for rule in _RULES)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, order=True)
class SecretFinding:
    """Where a secret stands: ``text[start:end]``. It doesn't hold the secret."""

    start: int
    end: int
    kind: str


class Redactor:
    """Replaces secrets in text by a mask; what tells the kind, such as ``sk-``, stays.

    Work is linear in the length of the text: of every pattern the characters that one attempt looks
    at, and its steps, have a bound that is computed when it is built. Immutable, and safe to share.

    Args:
        patterns: more patterns, by the name of their kind: lower case, digits, underscores. The
            secret is the named group that matched, or the whole match. Matched with ``re.ASCII``.
        keep: kinds of :data:`KINDS` that are left as they are.
        mask: what stands for a secret.

    Raises:
        ConfigError: a kind in ``keep`` that isn't known, or a name that can't be one.
        UnsafePattern: a pattern that could look at, or try, without bound, or match nothing at all.
    """

    def __init__(
        self,
        *,
        patterns: Mapping[str, str] | None = None,
        keep: Collection[str] = (),
        mask: str = "***",
    ):
        extra = patterns or {}
        unknown = sorted(set(keep) - KINDS)
        if unknown:
            raise ConfigError(f"keep names {unknown}, which are no kinds: see KINDS")
        for name in extra:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{name!r} can't name a kind: lower case, digits and underscores, 64 at most"
                )
        own = tuple(Rule(kind, ("",), pattern) for kind, pattern in extra.items())
        self._rules = own + tuple(rule for rule in _RULES if rule.kind not in keep)
        self._mask = mask

    def find(self, text: str) -> list[SecretFinding]:
        """Where the secrets of a text are, in order and apart from each other."""
        lowered = text.lower()
        spans: list[tuple[int, int, int, str]] = []
        for rank, rule in enumerate(self._rules):
            if not any(word in lowered for word in rule.keywords):
                continue
            spans += ((start, rank, end, rule.kind) for start, end in rule.spans(text))
        return list(_apart(sorted(spans)))

    def redact(self, text: str) -> str:
        """The text with a mask in place of each secret."""
        parts: list[str] = []
        position = 0
        for finding in self.find(text):
            parts += (text[position : finding.start], self._mask)
            position = finding.end
        parts.append(text[position:])
        return "".join(parts)

    def stream(self) -> RedactionStream:
        """A redactor of one text that comes in pieces; see :class:`RedactionStream`."""
        return RedactionStream(self._rules, self._mask)


def _apart(spans: Iterable[tuple[int, int, int, str]]) -> Iterator[SecretFinding]:
    """Spans in order, where those that overlap or touch are one, of the kind of the first."""
    current: SecretFinding | None = None
    for start, _, end, kind in spans:
        if current is None:
            current = SecretFinding(start, end, kind)
        elif start <= current.end:
            current = SecretFinding(current.start, max(end, current.end), current.kind)
        else:
            yield current
            current = SecretFinding(start, end, kind)
    if current is not None:
        yield current


@cache
def _default() -> Redactor:
    return Redactor()


def redact(text: str) -> str:
    """The text with ``***`` in place of each secret, by all the patterns of :data:`KINDS`."""
    return _default().redact(text)


def find_secrets(text: str) -> list[SecretFinding]:
    """Where the secrets of a text are; see :meth:`Redactor.find`."""
    return _default().find(text)

"""Text that is checked against rules, and only on demand changed."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import final

from llmspell.errors import InputError, TextRefused
from llmspell.security.text.hidden import HIDDEN_KINDS, hidden_in
from llmspell.security.text.look_alikes import mixed_words
from llmspell.security.text.rules import TextRules

__all__ = ["SanitizedText", "TextFinding", "TextValidator"]

_LINE_END = re.compile("\r\n|[\n\r\v\f\x85\u2028\u2029]")
# Each pass takes out what was found; what is found after it was put together by that.
_MAX_PASSES = 8


@dataclass(frozen=True, slots=True, order=True)
class TextFinding:
    """What breaks a rule: ``text[start:end]``, its kind, and what it is in words."""

    start: int
    end: int
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SanitizedText:
    """A text that keeps the rules, and what had to be changed: spans are those of the original."""

    text: str
    findings: tuple[TextFinding, ...]


@final
class TextValidator:
    """Reports what in a text breaks rules, refuses it, or mends it: whichever is asked for.

    Linear in the text. Immutable, and safe to share between threads.

    Args:
        rules: see :class:`TextRules`.
    """

    __slots__ = ("rules",)

    def __init__(self, rules: TextRules | None = None):
        self.rules = rules or TextRules()

    def inspect(self, text: str) -> list[TextFinding]:
        """All findings, in order; of a text beyond a limit of size that one alone.

        Raises:
            InputError: the text isn't a str.
            MissingDependency: ``scripts`` is set, and the extra ``security`` isn't installed.
        """
        too_large = self._too_large(text)
        if too_large:
            return [too_large]
        findings = self._hidden(text)
        # Marks beyond the limit would make normalising slow; the text is refused for them anyway.
        if not any(finding.kind == "combining-run" for finding in findings):
            findings += self._not_normal(text)
        findings += self._mixed(text)
        return sorted(findings)

    def validate(self, text: str) -> str:
        """The text itself, if it keeps all rules.

        Raises:
            TextRefused: it doesn't; the error is about the first finding, and counts them.
            InputError, MissingDependency: as :meth:`inspect`.
        """
        findings = self.inspect(text)
        if findings:
            raise _refusal(findings)
        return text

    def sanitize(self, text: str) -> SanitizedText:
        """The text with hidden characters taken out, in the form that the rules ask for.

        Raises:
            TextRefused: what can't be mended: it is too large, before or after, or mixes scripts.
            InputError, MissingDependency: as :meth:`inspect`.
        """
        findings = self.inspect(text)
        unmendable = [finding for finding in findings if finding.kind not in _MENDED]
        if unmendable:
            raise _refusal(unmendable)
        clean = text
        for _ in range(_MAX_PASSES):
            hidden = self._hidden(clean)
            if hidden:
                clean = _without(clean, hidden)
                continue
            normal = self._normal(clean)
            settled = normal == clean
            clean = normal
            if settled or self._too_large(clean):
                break
        remaining = self.inspect(clean)
        if remaining:
            raise _refusal(remaining)
        return SanitizedText(clean, tuple(findings))

    def _too_large(self, text: str) -> TextFinding | None:
        if not isinstance(text, str):
            raise InputError(f"a text is a str, not {type(text).__name__}; decode it first")
        rules = self.rules
        for what, limit, number in (
            ("characters", rules.max_characters, len(text)),
            ("bytes", rules.max_bytes, len(text.encode("utf-8", "surrogatepass"))),
            ("lines", rules.max_lines, 1 + sum(1 for _ in _LINE_END.finditer(text))),
        ):
            if limit is not None and number > limit:
                detail = f"it has {number} {what}, the limit is {limit}"
                return TextFinding(0, len(text), f"too-many-{what}", detail)
        return None

    def _hidden(self, text: str) -> list[TextFinding]:
        return [
            TextFinding(start, end, kind, _named(text[start:end]))
            for start, end, kind in hidden_in(text)
            if kind not in self.rules.allow
        ]

    def _normal(self, text: str) -> str:
        form = self.rules.normalization
        return text if form is None else unicodedata.normalize(form, text)

    def _not_normal(self, text: str) -> list[TextFinding]:
        normal = self._normal(text)
        if normal == text:
            return []
        pairs = enumerate(zip(text, normal, strict=False))
        start = next((index for index, (a, b) in pairs if a != b), min(len(text), len(normal)))
        start = min(start, len(text) - 1)
        detail = f"it isn't in {self.rules.normalization} from here on"
        return [TextFinding(start, len(text), "not-normalized", detail)]

    def _mixed(self, text: str) -> list[TextFinding]:
        if self.rules.scripts == "any":
            return []
        words = mixed_words(text, unmistakable=self.rules.scripts == "unmistakable")
        return [TextFinding(start, end, "mixed-script", detail) for start, end, detail in words]


_MENDED = HIDDEN_KINDS.keys() | {"not-normalized"}


def _named(hidden: str) -> str:
    shown = ", ".join(f"U+{ord(c):04X} {unicodedata.name(c, '')}".rstrip() for c in hidden[:3])
    return shown + (f" and {len(hidden) - 3} more" if len(hidden) > 3 else "")


def _without(text: str, hidden: list[TextFinding]) -> str:
    parts: list[str] = []
    position = 0
    for finding in hidden:
        length = finding.end - finding.start
        parts += (text[position : finding.start], HIDDEN_KINDS[finding.kind] * length)
        position = finding.end
    parts.append(text[position:])
    return "".join(parts)


def _refusal(findings: list[TextFinding]) -> TextRefused:
    first = findings[0]
    more = f", and {len(findings) - 1} more findings" if len(findings) > 1 else ""
    return TextRefused(
        f"the text is refused at character {first.start} for {first.kind}: {first.detail}{more}; "
        "mend it, or allow it by TextRules",
        reason=first.kind,
        start=first.start,
        end=first.end,
    )

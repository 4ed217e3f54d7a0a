"""How much a text looks like an instruction to a model, and where."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import final

from llmspell.errors import ConfigError, InputError, TextRefused
from llmspell.security.patterns.linear_pattern import LinearPattern, PatternLimits
from llmspell.security.prompts.encoded import Piece, pieces_of
from llmspell.security.prompts.languages import OTHER_LANGUAGES
from llmspell.security.prompts.phrase import Phrase
from llmspell.security.prompts.phrases import SPOKEN, SQUEEZED
from llmspell.security.prompts.planted_phrases import PLANTED
from llmspell.security.prompts.views import View, fold, views_of

__all__ = ["InjectionDetector", "InjectionFinding", "InjectionReport", "find_injection"]

# A piece in an encoding may hold another, and that is all: base64 of base64.
_MAX_DEPTH = 2
# Of one phrase in one view; a flood of one sign must not hide another.
_MAX_MATCHES = 50
# By views that make words of noise only what is sure alone is believed.
_SURE = 0.5
_NOISY = {"leet", "rot13", "reversed"}
# Who disguises a phrase means it: the doubt that is left shrinks by this.
_DISGUISE = 0.5
_HIDDEN_WEIGHT = 0.6
# A phrase that is quoted by a text about attacks is an example.
_QUOTED_EXAMPLE, _EXAMPLE = 0.4, 0.8
_ABOUT = (
    r"\b(?:prompt injections?|injections?|jailbreaks?|jailbreaking|attacks?|attackers?|"
    r"for example|e\.g\.|such as|phrases? |sentences? like|(?:an?|classic) examples?|scanner|"
    r"test case|regular expression|owasp|"
    r"researchers|paraphrase|angreifer|zum beispiel|attaque|frases?|inyeccion|ataque)|"
    "инъекц|атак|注入|攻击|攻撃|インジェクション"
)
_QUOTED = re.compile(
    r"\"[^\"\n]{1,300}\"|`[^`\n]{1,300}`|“[^”\n]{1,300}[”“]|„[^“”\n]{1,300}[“”]|"
    r"«[^»\n]{1,300}»|(?<!\w)'[^'\n]{1,300}'(?!\w)|\u2018[^\u2019\n]{1,300}\u2019"
)


@dataclass(frozen=True, slots=True, order=True)
class InjectionFinding:
    """A sign: ``text[start:end]`` of the original, the rule's name, and its weight, 0 to 1.

    ``disguise`` is how it was written: empty for plainly, or ``"base64"``, ``"look-alikes"``...
    """

    start: int
    end: int
    rule: str
    weight: float
    disguise: str = ""


@dataclass(frozen=True, slots=True)
class InjectionReport:
    """``score`` from 0 to 1, and the findings that it was made of, in order."""

    score: float
    findings: tuple[InjectionFinding, ...]


@final
class InjectionDetector:
    """Looks in text for instructions to a model. It reports; it changes and refuses nothing.

    Heuristics: a text may score low and be an attack, or score high and be about attacks. Don't let
    what a model may do hang on this. The score is one minus the product of the doubts that each
    rule leaves, the surest finding of each. Text is read folded, by look-alikes, as leet, with
    letters set apart, in rot13, backwards, and decoded (base64, hex, percent, entities, escapes,
    tags, variation selectors); spans are of the original. Linear in the text, at most
    ``max_characters`` of it. Immutable, and safe to share between threads.

    Args:
        max_characters: of a text; longer ones are refused, for half a look would be none.

    Raises:
        ConfigError: ``max_characters`` isn't a positive integer.
        MissingDependency: the extra ``security`` isn't installed.
    """

    __slots__ = ("max_characters",)

    def __init__(self, *, max_characters: int = 100_000):
        if isinstance(max_characters, bool) or not isinstance(max_characters, int) or (
            max_characters < 1
        ):  # fmt: skip
            raise ConfigError(f"max_characters is {max_characters!r}; take an integer from 1")
        self.max_characters = max_characters
        _compiled()

    def inspect(self, text: str) -> InjectionReport:
        """The score of a text and what was found in it.

        Raises:
            InputError: the text isn't a str.
            TextRefused: it has more than ``max_characters``.
        """
        if not isinstance(text, str):
            raise InputError(f"a text is a str, not {type(text).__name__}")
        if len(text) > self.max_characters:
            raise TextRefused(
                f"the text has {len(text)} characters, the limit is {self.max_characters}",
                reason="too-many-characters",
            )
        return _report(_findings(text, depth=0))


def find_injection(text: str) -> InjectionReport:
    """The report of an :class:`InjectionDetector` with its defaults; raises what that raises."""
    return _default().inspect(text)


@cache
def _default() -> InjectionDetector:
    return InjectionDetector()


def _report(findings: list[InjectionFinding]) -> InjectionReport:
    surest: dict[str, float] = {}
    for finding in findings:
        surest[finding.rule] = max(surest.get(finding.rule, 0.0), finding.weight)
    doubt = 1.0
    for weight in surest.values():
        doubt *= 1 - weight
    return InjectionReport(round(1 - doubt, 6), tuple(sorted(findings)))


def _findings(text: str, depth: int) -> list[InjectionFinding]:
    found: list[InjectionFinding] = []
    damping = _Damping(text)
    taken: dict[str, list[tuple[int, int]]] = {}
    for view in views_of(text):
        for phrase, start, end in _in_view(view):
            spans = taken.setdefault(phrase.rule, [])
            if any(s < end and start < e for s, e in spans):
                continue
            spans.append((start, end))
            weight = phrase.weight * damping.of(start, end)
            weight = _surer(weight) if view.name else weight
            found.append(InjectionFinding(start, end, phrase.rule, round(weight, 6), view.name))
    pieces = list(pieces_of(text))
    for piece in pieces:
        if piece.hidden:
            found.append(
                InjectionFinding(
                    piece.start, piece.end, "hidden-text", _HIDDEN_WEIGHT, piece.encoding
                )
            )
    if pieces and depth < _MAX_DEPTH:
        found += _decoded_findings(pieces, depth)
    return found


def _decoded_findings(pieces: list[Piece], depth: int) -> Iterator[InjectionFinding]:
    """What all pieces together say: many small ones cost no more than a large one."""
    begins = [0]
    for piece in pieces:
        begins.append(begins[-1] + len(piece.decoded) + 1)
    for inner in _findings("\n".join(piece.decoded for piece in pieces), depth + 1):
        first = pieces[bisect_right(begins, inner.start) - 1]
        last = pieces[bisect_right(begins, inner.end - 1) - 1]
        yield InjectionFinding(
            min(first.start, last.start),
            max(first.end, last.end),
            inner.rule,
            round(_surer(inner.weight), 6),
            first.encoding,
        )


def _surer(weight: float) -> float:
    return 1 - (1 - weight) * _DISGUISE


def _in_view(view: View) -> Iterator[tuple[Phrase, int, int]]:
    """Matches of each phrase, the surest phrases first."""
    for phrase, pattern in _compiled()[view.name == "apart"]:
        if view.name in _NOISY and phrase.weight < _SURE:
            continue
        for match in islice(pattern.finditer(view.text), _MAX_MATCHES):
            yield phrase, *view.original(match.start(), match.end())


class _Damping:
    """How much a phrase at a place counts: less where the text is about attacks and quotes it."""

    def __init__(self, text: str):
        self._about = _about().search("".join(map(fold, text))) is not None
        self._quoted = [match.span() for match in _QUOTED.finditer(text)] if self._about else []

    def of(self, start: int, end: int) -> float:
        if not self._about:
            return 1.0
        at = bisect_right(self._quoted, (start, end)) - 1
        quoted = any(s <= start and end <= e for s, e in self._quoted[max(at, 0) : at + 2])
        return _QUOTED_EXAMPLE if quoted else _EXAMPLE


# Of patterns that are known, and no user's: their work is linear, and its factor known.
_LIMITS = PatternLimits(
    pattern_characters=4_000,
    memory_bytes=8 << 20,
    text_characters=10_000_000,
    steps=10**12,
    scan_seconds=600.0,
)


@cache
def _about() -> LinearPattern:
    return LinearPattern(_ABOUT, limits=_LIMITS)


@cache
def _compiled() -> tuple[list[tuple[Phrase, LinearPattern]], list[tuple[Phrase, LinearPattern]]]:
    """Patterns for running text, and those for letters that were set apart."""

    def of(phrases: tuple[Phrase, ...]) -> list[tuple[Phrase, LinearPattern]]:
        return [
            (phrase, LinearPattern(_folded_pattern(phrase.pattern), limits=_LIMITS))
            for phrase in sorted(phrases, key=lambda phrase: -phrase.weight)
        ]

    return of(SPOKEN + PLANTED + OTHER_LANGUAGES), of(SQUEEZED)


def _folded_pattern(pattern: str) -> str:
    """The pattern with its letters folded, as those of texts are; ASCII stays as it is."""
    return "".join(character if character.isascii() else fold(character) for character in pattern)

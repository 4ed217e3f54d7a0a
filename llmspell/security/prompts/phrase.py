"""A phrase that is a sign of an instruction to a model."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Phrase"]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A rule's name, its weight, and its pattern: RE2's language, over folded text.

    A weight is how sure one sign alone makes us; 0.5 is the threshold that the tests report at.
    Phrases that ordinary texts have too weigh less, and count where several come together.
    """

    rule: str
    weight: float
    pattern: str

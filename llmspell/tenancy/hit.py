"""One result of a search."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llmspell._hot import FoundRecord, found_records
from llmspell.config import Metric
from llmspell.storage import unpack

__all__ = ["Hit", "hit_maker"]


class Hit(FoundRecord):
    """A record that a search found.

    Its bytes were read with the search; what isn't looked at is never decoded. Immutable. All but
    the score raises CorruptFile where the record's checksum doesn't match.

    Attributes:
        score: higher is better: inner product, cosine similarity, or minus squared distance.
        id: as it was given, a str or an int.
        text: None where none was given.
    """

    __slots__ = ()

    @property
    def metadata(self) -> dict[str, Any]:
        """A new dict each time."""
        decoded: dict[str, Any] = unpack(self.raw_metadata)
        return decoded

    @property
    def distance(self) -> float:
        """Lower is better: 1 minus the score, or the squared distance under ``l2``."""
        return 1.0 - self.score

    def __repr__(self) -> str:
        text = self.text
        shown = "" if text is None else f", text={text if len(text) <= 60 else text[:57] + '...'!r}"
        return f"Hit(id={self.id!r}, score={self.score:.4f}{shown})"


class _SquaredL2Hit(Hit):
    __slots__ = ()

    @property
    def distance(self) -> float:
        return -self.score


def hit_maker(metric: Metric) -> Callable[[list[bytes], list[int], list[float]], list[Hit]]:
    """What makes hits of records, rows and scores, with the distances of ``metric``."""
    return functools.partial(found_records, _SquaredL2Hit if metric == "l2" else Hit)

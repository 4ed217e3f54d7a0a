"""One result of a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmspell.config import Metric
from llmspell.storage import StoredRecord, decode_id

__all__ = ["Hit", "hit_type"]


class Hit:
    """A record that a search found.

    Its bytes were read with the search; what isn't looked at is never decoded. Immutable.

    Attributes:
        score: higher is better: inner product, cosine similarity, or minus squared distance.
    """

    __slots__ = ("_raw", "_record", "_row", "score")

    def __init__(self, raw: bytes, row: int, score: float) -> None:
        self._raw = raw
        self._row = row
        self._record: StoredRecord | None = None
        self.score = score

    @property
    def id(self) -> str | int:
        """As it was given."""
        return decode_id(self._stored().key)

    @property
    def text(self) -> str | None:
        """None where none was given."""
        return self._stored().text

    @property
    def metadata(self) -> dict[str, Any]:
        """A new dict each time."""
        return self._stored().metadata

    @property
    def distance(self) -> float:
        """Lower is better: 1 minus the score, or the squared distance under ``l2``."""
        return 1.0 - self.score

    def __repr__(self) -> str:
        text = self.text
        shown = "" if text is None else f", text={text if len(text) <= 60 else text[:57] + '...'!r}"
        return f"Hit(id={self.id!r}, score={self.score:.4f}{shown})"

    def _stored(self) -> StoredRecord:
        """Decode once.

        Raises:
            CorruptFile: the record's checksum doesn't match.
        """
        record = self._record
        if record is None:
            record = self._record = StoredRecord(self._row, self._raw)
        return record


class _SquaredL2Hit(Hit):
    __slots__ = ()

    @property
    def distance(self) -> float:
        return -self.score


def hit_type(metric: Metric) -> Callable[[bytes, int, float], Hit]:
    """The class of hits whose distance is that of ``metric``."""
    return _SquaredL2Hit if metric == "l2" else Hit

"""The results of a search, read when they are first looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from llmspell._hot import Deferred
from llmspell.storage import Found
from llmspell.tenancy.hit import Hit

__all__ = ["Hits"]

Make: TypeAlias = Callable[[list[bytes], list[int], list[float]], list[Hit]]


class Hits(Deferred, Sequence[Hit]):
    """What a search found, best first: a sequence of :class:`llmspell.Hit` that doesn't change.

    The search is done; the records that it found are read together, as one moment shows them, when
    the hits are first looked at. Where a write came between, and one of them is gone, the search is
    made again: hits are those of one moment, no earlier than the search. A tenant that closes reads
    for its hits what was not looked at before.

    Thread-safe. The first look raises CorruptFile where the store is damaged, and TenantNotFound
    where the tenant was dropped meanwhile.
    """

    __slots__ = ()

    @classmethod
    def of(cls, make: Make, found: Found) -> Self:
        """Hits that are read already."""
        return cls(make(*found))

    @property
    def ids(self) -> list[str | int]:
        """Ids, as they were given."""
        return [hit.id for hit in self.look()]

    @property
    def scores(self) -> NDArray[np.float32]:
        """Scores, (n,); higher is better."""
        return np.array([hit.score for hit in self.look()], dtype=np.float32)

    def __len__(self) -> int:
        return len(self.look())

    @overload
    def __getitem__(self, which: int) -> Hit: ...
    @overload
    def __getitem__(self, which: slice) -> list[Hit]: ...
    def __getitem__(self, which: int | slice) -> Hit | list[Hit]:
        return self.look()[which]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.look())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Hits, list, tuple)):
            return NotImplemented
        return self.look() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.look())

"""What was found in a file, its vectors in batches, and the index made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from llmspell.config import ElementType, IndexParams, Metric
from llmspell.errors import InputError, InvalidId, NonFiniteVector, ZeroVector
from llmspell.index.arrays import MAX_ID, require_count
from llmspell.index.index import Index
from llmspell.index.migrate.recall import recall

__all__ = ["BATCH_BYTES", "FORMATS", "Batch", "Description", "ForeignFile", "Format", "Reader"]

Format = Literal["hnswlib", "faiss", "usearch", "npy"]
FORMATS: tuple[Format, ...] = get_args(Format)

Batch = tuple[NDArray[np.int64], NDArray[np.float32]]

# Large enough that a batch costs far more to link than to hand over.
BATCH_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a file holds.

    Args:
        format: the library that wrote it.
        kind: what that library calls it, for example ``"IndexIDMap2 of IndexHNSWFlat"``.
        count: vectors, without deleted ones.
        deleted: vectors that are in the file, marked as deleted.
        dim: their dimension.
        metric: how the library compared them.
        dtype: how the file holds them: ``"float64"``, ``"float32"``, ``"float16"``,
            ``"bfloat16"`` or ``"int8"``.
    """

    format: Format
    kind: str
    count: int
    deleted: int
    dim: int
    metric: Metric
    dtype: str


class Reader(Protocol):
    """One format. It is made with a file, all of whose counts and places it has checked."""

    description: Description

    def batches(self, rows: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Give (n,) ids of any integer type and (n, dim) vectors, n at most ``rows``."""


class ForeignFile:
    """A file of another library, opened by :func:`llmspell.index.migrate.read`.

    Iterating gives ``(ids, vectors)``, (n,) int64 and (n, dim) float32, as often as wanted: what
    was deleted is left out, and float16, bfloat16 and int8 are widened, int8 to the whole numbers
    that the file holds. Memory is bounded by the batch. Thread-safe.

    Iterating raises:

    - CorruptFile: a length or mark in the file doesn't hold, or it was cut short meanwhile.
    - InvalidId: an id is negative or above 2**63 - 1.
    """

    __slots__ = ("_reader", "path")

    def __init__(self, path: str, reader: Reader) -> None:
        self.path = path
        self._reader = reader

    @property
    def description(self) -> Description:
        """What the file holds."""
        return self._reader.description

    def __len__(self) -> int:
        return self.description.count

    def __repr__(self) -> str:
        return f"ForeignFile({self.path!r}, {self.description})"

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    def batches(self, rows: int | None = None) -> Iterator[Batch]:
        """Iterate with at most ``rows`` vectors a batch; 16 MiB of float32 where None.

        Raises:
            InputError: ``rows`` is below 1.
        """
        if rows is None:
            rows = max(1, BATCH_BYTES // (4 * self.description.dim))
        return self._batches(require_count("rows", rows))

    def _batches(self, rows: int) -> Iterator[Batch]:
        for ids, vectors in self._reader.batches(rows):
            wrong = ids > MAX_ID if ids.dtype.kind == "u" else ids < 0
            if wrong.any():
                raise InvalidId(
                    f"{self.path} has the id {ids[wrong][0]}; "
                    "ids of an Index are from 0 to 2**63 - 1"
                )
            with np.errstate(over="ignore"):  # what becomes infinite is refused by the index
                yield ids.astype(np.int64), vectors.astype(np.float32, order="C")

    def rebuild(
        self,
        *,
        dtype: ElementType | None = None,
        params: IndexParams | None = None,
        threads: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Index:
        """Build an index of all vectors under their ids, batch by batch.

        Args:
            dtype: how the index holds them; as the file does where an index can, else float32.
            params: see :class:`llmspell.IndexParams`; its defaults where None.
            threads: as in :meth:`llmspell.Index.add`.
            progress: called with the number of vectors in the index after each batch.

        Raises:
            DuplicateId: two vectors have one id.
            NonFiniteVector, ZeroVector: a vector can't be compared; the message says which.
            ConfigError: ``dtype`` is none of an index's.
            CorruptFile, InvalidId: as iterating raises them.
        """
        held = self.description
        if dtype is None:
            same = held.dtype in get_args(ElementType)
            dtype = cast(ElementType, held.dtype) if same else "float32"
        index = Index(dim=held.dim, metric=held.metric, dtype=dtype, params=params)
        for ids, vectors in self:
            try:
                index.add(ids, vectors, threads=threads)
            except (NonFiniteVector, ZeroVector) as error:
                raise type(error)(f"{self.path}: after {len(index):,} vectors, {error}") from error
            if progress is not None:
                progress(len(index))
        return index

    def recall(
        self, index: Index, *, k: int = 10, queries: int = 100, seed: int = 0
    ) -> float | None:
        """Compare an index with the exact answers, for vectors of the file taken at random.

        The exact answers come from a sweep over the file in double precision. A vector is no
        neighbour of itself here.

        Args:
            index: with the file's ids.
            k: neighbours looked for.
            queries: vectors taken; all where there are fewer.
            seed: of the choice.

        Returns:
            The share of the k nearest that the index finds, at its own ``ef_search``; None where
            the file has fewer than two vectors.

        Raises:
            DimensionMismatch: the index has another dimension.
            InputError: k or queries is below 1, or the index has another metric.
        """
        if index.metric != self.description.metric:
            raise InputError(
                f"the file's metric is {self.description.metric}, the index's {index.metric}"
            )
        k, queries = require_count("k", k), require_count("queries", queries)
        return recall(self, index, self.description.metric, k=k, queries=queries, seed=seed)

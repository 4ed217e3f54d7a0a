"""Files of FAISS's ``write_index`` (``faiss/impl/index_write.cpp``).

An index is four letters for its class, a header, and its parts, indexes among them. Vectors are
float32; the metric is in the header.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmspell.config import MAX_DIM, Metric
from llmspell.errors import UnsupportedFormat
from llmspell.index.migrate.faiss_names import CLASSES, METRICS
from llmspell.index.migrate.file import Cursor, File
from llmspell.index.migrate.source import BATCH_BYTES, Description

__all__ = ["FaissReader", "is_faiss"]

FLAT = {b"IxFI": 0, b"IxF2": 1, b"IxFl": None}  # and the metric that the letters say
HNSW_FLAT = b"IHNf"
ID_MAPS = (b"IxMp", b"IxM2")
OURS: dict[int, Metric] = {0: "ip", 1: "l2", 2: "l1"}
MOST_LEVELS = 256  # FAISS makes levels while more than one vector in 10**9 would reach them


@dataclass(frozen=True, slots=True)
class _Part:
    """An index in the file: what it is, and where its vectors and ids begin."""

    kind: str
    dim: int
    count: int
    metric: Metric
    vectors_at: int
    ids_at: int | None = None


def is_faiss(file: File) -> bool:
    """Whether the file begins with the letters of a class of FAISS."""
    return file.size >= 4 and file.read(0, 4, "the letters of the class") in CLASSES


class FaissReader:
    """Checks a file and reads it; see :class:`llmspell.index.migrate.source.Reader`."""

    def __init__(self, file: File) -> None:
        self._file = file
        cursor = Cursor(file)
        self._part = _index(cursor, "")
        cursor.end()
        self.description = Description(
            format="faiss",
            kind=self._part.kind,
            count=self._part.count,
            deleted=0,
            dim=self._part.dim,
            metric=self._part.metric,
            dtype="float32",
        )

    def batches(self, rows: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Give ids, or numbers from 0 where there are none, and vectors."""
        part = self._part
        rows = min(rows, max(1, BATCH_BYTES // (4 * part.dim)))
        for start in range(0, part.count, rows):
            count = min(rows, part.count - start)
            if part.ids_at is None:
                ids = np.arange(start, start + count)
            else:
                ids = self._file.array(part.ids_at + 8 * start, "<i8", count, "the ids")
            values = self._file.array(
                part.vectors_at + 4 * start * part.dim, "<f4", count * part.dim, "the vectors"
            )
            yield ids, values.reshape(count, part.dim)


def _index(cursor: Cursor, around: str) -> _Part:
    """Read one index; ``around`` names those that it lies in."""
    file = cursor.file
    (letters,) = cursor.fields("4s", "the letters of a class")
    kind = CLASSES.get(letters)
    if kind is None:
        if not around:
            raise UnsupportedFormat(f"{file.path} begins with {letters!r}, as no FAISS index does")
        raise file.corrupt(f"{around}is around {letters!r}, which is no class of FAISS")
    nested_map = letters in ID_MAPS and around
    nested_graph = letters == HNSW_FLAT and "HNSW" in around
    if letters not in (*FLAT, HNSW_FLAT, *ID_MAPS) or nested_map or nested_graph:
        raise UnsupportedFormat(
            f"{file.path} is a FAISS {around}{kind}; read are IndexFlat, IndexHNSWFlat, and "
            "IndexIDMap and IndexIDMap2 of these"
        )
    part = _header(cursor, kind)
    inner = f"{around}{kind} of "
    if letters in ID_MAPS:
        held = _same(cursor, part, _index(cursor, inner))
        ids_at = _vector(cursor, 8, "the ids", exactly=part.count)
        return replace(held, kind=f"{kind} of {held.kind}", ids_at=ids_at)
    if letters == HNSW_FLAT:
        _skip_graph(cursor, part.count)
        storage = _same(cursor, part, _index(cursor, inner))
        return replace(storage, kind=kind)
    said = FLAT[letters]
    if said is not None and OURS[said] != part.metric:
        raise file.corrupt(f"a flat index for {OURS[said]} says that it is for {part.metric}")
    return replace(part, vectors_at=_vector(cursor, 4, "the vectors", part.count * part.dim))


def _header(cursor: Cursor, kind: str) -> _Part:
    file = cursor.file
    dim, count, _, _, trained, metric = cursor.fields("iqqqBi", "the header")
    if dim < 1 or count < 0 or trained > 1:
        raise file.corrupt(f"{kind} has {count:,} vectors of {dim:,} dimensions")
    if metric not in METRICS:
        raise file.corrupt(f"{kind} has the metric {metric}, which is none of FAISS's")
    if metric not in OURS:
        raise UnsupportedFormat(
            f"{file.path} has the metric {METRICS[metric]}; read are METRIC_INNER_PRODUCT, "
            "METRIC_L2 and METRIC_L1"
        )
    if metric > 1:
        cursor.fields("f", "the argument of the metric")
    if dim > MAX_DIM:
        raise UnsupportedFormat(
            f"{file.path} has vectors of {dim:,} dimensions; an index takes {MAX_DIM:,}"
        )
    return _Part(kind, dim, count, OURS[metric], vectors_at=0)


def _vector(cursor: Cursor, size: int, what: str, exactly: int) -> int:
    """Pass over a counted vector; gives where its elements begin."""
    (count,) = cursor.fields("Q", f"the number of {what}")
    if count != exactly:
        raise cursor.file.corrupt(f"{count:,} stand where {exactly:,} are to be, in {what}")
    return cursor.skip(size * count, what)


def _same(cursor: Cursor, outer: _Part, inner: _Part) -> _Part:
    """Require that an index and what it lies around agree."""
    for name in ("dim", "count", "metric"):
        ours, theirs = getattr(outer, name), getattr(inner, name)
        if ours != theirs:
            raise cursor.file.corrupt(
                f"{outer.kind} has {name} {ours}, the {inner.kind} in it {theirs}"
            )
    return inner


def _skip_graph(cursor: Cursor, count: int) -> None:
    """Check the graph's tables against each other, and pass over it."""
    file = cursor.file
    (levels,) = cursor.fields("Q", "the number of levels")
    if not 0 < levels <= MOST_LEVELS:
        raise file.corrupt(f"the graph has {levels:,} levels")
    cursor.skip(8 * levels, "the probabilities of levels")
    places_at = _vector(cursor, 4, "the links of levels", exactly=levels + 1)
    places = file.array(places_at, "<i4", levels + 1, "the links of levels").astype(np.int64)
    if places[0] != 0 or (np.diff(places) < 0).any():
        raise file.corrupt("the links of a level have a negative number")
    levels_at = _vector(cursor, 4, "the levels of vectors", exactly=count)
    offsets_at = _vector(cursor, 8, "the places of links", exactly=count + 1)
    rows = BATCH_BYTES // 16
    end = np.zeros(1, np.int64)
    for start in range(0, count, rows):
        part = min(rows, count - start)
        level = file.array(levels_at + 4 * start, "<i4", part, "the levels of vectors")
        if level.min() < 1 or level.max() > levels:
            raise file.corrupt("a vector is on a level that the graph doesn't have")
        offsets = file.array(offsets_at + 8 * start, "<i8", part + 1, "the places of links")
        expected = np.concatenate((end, end + np.cumsum(places[level])))
        if (offsets != expected).any():
            raise file.corrupt("the links of a vector don't begin where the last one's end")
        end = expected[-1:]
    _vector(cursor, 4, "the links", exactly=int(end[0]))
    cursor.fields("5i", "the parameters of the graph")

"""Files of hnswlib's ``save_index`` (``hnswalg.h``, ``saveIndex``).

A header of sizes, one record an element (links of the bottom layer, vector, label), then for each
element the length of its upper links and these. Dimension, metric and element type are not in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmspell.config import MAX_DIM, Metric
from llmspell.errors import DimensionMismatch, InputError, UnsupportedFormat
from llmspell.index.migrate.file import Cursor, File
from llmspell.index.migrate.source import BATCH_BYTES, Description

__all__ = ["HnswlibReader", "is_hnswlib"]

HEADER_BYTES = 96
MOST_LINKS = 0xFFFF  # a record counts them in 16 bits
WINDOW = 1 << 20


class _Header(NamedTuple):
    offset_level0: int
    max_elements: int
    elements: int
    record_bytes: int
    label_at: int
    vector_at: int
    max_level: int
    entry_point: int
    max_upper_links: int
    max_links: int
    m: int
    multiplier: float
    ef_construction: int

    @property
    def vector_bytes(self) -> int:
        return self.label_at - self.vector_at

    def problem(self) -> str | None:
        """Why these can't be the sizes of one record."""
        if self.offset_level0 != 0:
            return f"a record's links begin at its byte {self.offset_level0}, not 0"
        if not (self.max_links <= MOST_LINKS and self.max_upper_links <= MOST_LINKS):
            return f"an element has up to {max(self.max_links, self.max_upper_links):,} links"
        if self.vector_at != 4 * self.max_links + 4:
            return f"vectors begin at byte {self.vector_at:,} of a record, past its links"
        if not (self.vector_bytes > 0 and self.label_at + 8 == self.record_bytes):
            return "the sizes of a record's parts don't add up"
        if self.elements > self.max_elements:
            return f"it holds {self.elements:,} of at most {self.max_elements:,}"
        return None


def _header(file: File) -> _Header:
    return _Header(*Cursor(file).fields("6QiI3QdQ", "the header"))


def is_hnswlib(file: File) -> bool:
    """Whether the header could be hnswlib's: it has no magic number, but sizes that must agree."""
    return file.size >= HEADER_BYTES and _header(file).problem() is None


class HnswlibReader:
    """Checks a file and reads it; see :class:`llmspell.index.migrate.source.Reader`."""

    def __init__(self, file: File, dim: int | None, metric: Metric | None) -> None:
        self._file = file
        header = _header(file)
        if problem := header.problem():
            raise file.corrupt(problem)
        dim = _checked_dim(file, header.vector_bytes, dim)
        if metric is None:
            raise InputError(f"{file.path}: hnswlib files don't hold the metric; say which it is")
        self._rows = header.elements
        self._most_links = header.max_links
        self._record = np.dtype(
            {
                "names": ["links", "mark", "unused", "vector", "label"],
                "formats": ["<u2", "u1", "u1", ("<f4", (dim,)), "<u8"],
                "offsets": [0, 2, 3, header.vector_at, header.label_at],
                "itemsize": header.record_bytes,
            }
        )
        self._check_upper_links(header)
        live = sum(int((records["mark"] == 0).sum()) for records in self._records(BATCH_BYTES))
        self.description = Description(
            format="hnswlib",
            kind="HierarchicalNSW",
            count=live,
            deleted=self._rows - live,
            dim=dim,
            metric=metric,
            dtype="float32",
        )

    def _check_upper_links(self, header: _Header) -> None:
        """Follow their lengths to the end of the file."""
        file = self._file
        cursor = Cursor(file, HEADER_BYTES)
        at = cursor.skip(header.elements * header.record_bytes, "the records") + (
            header.elements * header.record_bytes
        )
        level_bytes = 4 * header.max_upper_links + 4
        start, window = at, b""
        for element in range(header.elements):
            if at + 4 > start + len(window):
                start = at
                window = file.read(at, max(4, min(WINDOW, file.size - at)), "the upper links")
            (length,) = struct.unpack_from("<I", window, at - start)
            if length and (length % level_bytes or length // level_bytes > header.max_level):
                raise file.corrupt(
                    f"element {element:,} has {length:,} bytes of upper links, of "
                    f"{level_bytes:,} each on at most {header.max_level} levels"
                )
            at += 4 + length
        Cursor(file, at).end()

    def _records(self, rows: int) -> Iterator[NDArray[Any]]:
        rows = min(rows, max(1, BATCH_BYTES // self._record.itemsize))
        for start in range(0, self._rows, rows):
            records = self._file.array(
                HEADER_BYTES + start * self._record.itemsize,
                self._record,
                min(rows, self._rows - start),
                "the records",
            )
            wrong = (
                (records["links"] > self._most_links)
                | (records["mark"] > 1)
                | (records["unused"] != 0)
            )
            if wrong.any():
                raise self._file.corrupt(
                    f"element {start + int(wrong.argmax()):,} counts links that it can't have"
                )
            yield records

    def batches(self, rows: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Give labels and vectors of what isn't marked as deleted."""
        for records in self._records(rows):
            live = records[records["mark"] == 0]
            if len(live):
                yield live["label"], live["vector"]


def _checked_dim(file: File, vector_bytes: int, dim: int | None) -> int:
    held = f"{file.path} holds vectors of {vector_bytes:,} bytes"
    if dim is not None and dim == vector_bytes and dim * 4 != vector_bytes:
        raise UnsupportedFormat(f"{held}, one a component; only float32 is read")
    if vector_bytes % 4 or vector_bytes > 4 * MAX_DIM:
        raise UnsupportedFormat(f"{held}; only float32 of at most {MAX_DIM:,} dimensions is read")
    if dim is None:
        raise InputError(
            f"{held}, and hnswlib doesn't write the dimension; say dim={vector_bytes // 4} "
            "where they are float32"
        )
    if dim * 4 != vector_bytes:
        raise DimensionMismatch(
            f"{held}, so dim={vector_bytes // 4} where they are float32, not {dim}",
            expected=dim,
            actual=vector_bytes // 4,
        )
    return dim

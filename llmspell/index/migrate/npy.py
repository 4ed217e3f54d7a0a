"""Pairs of NumPy's ``.npy`` files: vectors, and where there are any, ids.

The format is that of ``numpy.lib.format``, versions 1 to 3. The header is a Python literal; it is
matched here, so that nothing a stranger wrote is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmspell.config import MAX_DIM, Metric
from llmspell.errors import DimensionMismatch, InputError, UnsupportedFormat
from llmspell.index.migrate.file import Cursor, File
from llmspell.index.migrate.source import BATCH_BYTES, Description

__all__ = ["NpyReader", "is_npy"]

MAGIC = b"\x93NUMPY"
MOST_HEADER_BYTES = 10_000  # as numpy.load has it
VECTOR_TYPES = {"f8": "float64", "f4": "float32", "f2": "float16", "i1": "int8"}
ID_TYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")

_HEADER = re.compile(
    r"""\{(?=.*['"]descr['"]:\s*['"](?P<descr>[^'"]*)['"])
    (?=.*['"]fortran_order['"]:\s*(?P<fortran>True|False))
    (?=.*['"]shape['"]:\s*\((?P<shape>[0-9, ]*)\))
    .*\}\s*$""",
    re.VERBOSE | re.DOTALL,
)


def is_npy(file: File) -> bool:
    """Whether the file begins as NumPy's do."""
    return file.size >= len(MAGIC) and file.read(0, len(MAGIC), "the magic number") == MAGIC


class NpyReader:
    """Checks a pair and reads it; see :class:`llmspell.index.migrate.source.Reader`."""

    def __init__(
        self, file: File, ids: File | None, dim: int | None, metric: Metric | None
    ) -> None:
        self._vectors = _Array(file, tuple(VECTOR_TYPES))
        shape = self._vectors.shape
        if len(shape) != 2 or not 1 <= shape[1] <= MAX_DIM:
            raise UnsupportedFormat(
                f"{file.path} has the shape {shape}; read are (n, dim), dim up to {MAX_DIM:,}"
            )
        if dim is not None and dim != shape[1]:
            raise DimensionMismatch(
                f"{file.path} has {shape[1]} dimensions, not {dim}", expected=dim, actual=shape[1]
            )
        if metric is None:
            raise InputError(f"{file.path}: NumPy files don't hold the metric; say which it is")
        self._ids = None if ids is None else _Array(ids, ID_TYPES)
        if self._ids is not None and self._ids.shape != shape[:1]:
            raise UnsupportedFormat(
                f"{self._ids.path} has the shape {self._ids.shape}; "
                f"({shape[0]},) goes with the vectors"
            )
        self.description = Description(
            format="npy",
            kind=f"array of shape {shape}",
            count=shape[0],
            deleted=0,
            dim=shape[1],
            metric=metric,
            dtype=VECTOR_TYPES[self._vectors.kind],
        )

    def batches(self, rows: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Give ids, or numbers from 0 where there are none, and vectors."""
        count, dim = self._vectors.shape
        rows = min(rows, max(1, BATCH_BYTES // (8 * dim)))
        for start in range(0, count, rows):
            end = min(start + rows, count)
            ids = np.arange(start, end) if self._ids is None else self._ids.rows(start, end, 1)
            yield ids, self._vectors.rows(start, end, dim).reshape(end - start, dim)


class _Array:
    """An array of one of some types in a file of its own, in C order."""

    def __init__(self, file: File, types: tuple[str, ...]) -> None:
        self._file = file
        self.path = file.path
        cursor = Cursor(file)
        magic, major, minor = cursor.fields("6sBB", "the magic number")
        if magic != MAGIC:
            raise UnsupportedFormat(f"{file.path} is no NumPy file (.npy)")
        if major not in (1, 2, 3) or minor != 0:
            raise UnsupportedFormat(f"{file.path} is of version {major}.{minor} of NumPy's format")
        (length,) = cursor.fields("H" if major == 1 else "I", "the header's length")
        if length > MOST_HEADER_BYTES:
            raise UnsupportedFormat(f"{file.path} has a header of {length:,} bytes")
        text = file.read(cursor.at, length, "the header").decode("latin-1")
        self._at = cursor.at + length
        found = _HEADER.match(text)
        if found is None:
            if "'descr': [" in text:
                raise UnsupportedFormat(f"{file.path} holds records, not numbers")
            raise file.corrupt("its header doesn't describe an array")
        self.kind = found["descr"].lstrip("<>|=")
        if self.kind not in types:
            raise UnsupportedFormat(
                f"{file.path} holds {found['descr']!r}; read are {', '.join(types)}"
            )
        self.dtype = np.dtype((">" if found["descr"].startswith(">") else "<") + self.kind)
        sizes = [part.strip() for part in found["shape"].split(",")]
        if sizes[-1] == "":
            sizes.pop()
        if any(not re.fullmatch("[0-9]{1,18}", size) for size in sizes):
            raise file.corrupt("its header has no shape")
        self.shape = tuple(int(size) for size in sizes)
        if found["fortran"] == "True" and len(self.shape) > 1:
            raise UnsupportedFormat(
                f"{file.path} is in Fortran order; save numpy.ascontiguousarray of it"
            )
        length = self.dtype.itemsize
        for size in self.shape:
            length *= size
        cursor.at = self._at
        cursor.skip(length, "the array")
        cursor.end()

    def rows(self, start: int, end: int, width: int) -> NDArray[Any]:
        """Elements of the rows, each of ``width``."""
        at = self._at + start * width * self.dtype.itemsize
        return self._file.array(at, self.dtype, (end - start) * width, "the array")

"""From a path to a reader, whatever library wrote the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, get_args

from llmspell.config import ElementType, IndexParams, Metric
from llmspell.errors import DimensionMismatch, InputError, UnsupportedFormat
from llmspell.index.arrays import require_count
from llmspell.index.index import Index
from llmspell.index.migrate.faiss import FaissReader, is_faiss
from llmspell.index.migrate.file import File
from llmspell.index.migrate.hnswlib import HnswlibReader, is_hnswlib
from llmspell.index.migrate.npy import NpyReader, is_npy
from llmspell.index.migrate.source import FORMATS, ForeignFile, Format, Reader
from llmspell.index.migrate.usearch import UsearchReader, is_usearch

__all__ = ["convert", "read"]

# Files hold numbers, and Hamming distance is for bits.
METRICS = tuple(metric for metric in get_args(Metric) if metric != "hamming")

# Those with a magic number first; hnswlib's header is told by its sizes alone.
_TESTS: tuple[tuple[Format, Callable[[File], bool]], ...] = (
    ("npy", is_npy),
    ("usearch", is_usearch),
    ("faiss", is_faiss),
    ("hnswlib", is_hnswlib),
)


def read(
    path: str | os.PathLike[str],
    *,
    format: Format | Literal["auto"] = "auto",
    dim: int | None = None,
    metric: Metric | None = None,
    ids: str | os.PathLike[str] | None = None,
) -> ForeignFile:
    """Open a file of hnswlib, FAISS, USearch or NumPy, and check every count and length in it.

    Args:
        path: of hnswlib's ``save_index``; FAISS's ``write_index`` (IndexFlat, IndexHNSWFlat, and
            IndexIDMap or IndexIDMap2 of these); USearch's ``save`` (2.10 and later; f64, f32, f16,
            bf16, i8); or ``numpy.save``, (n, dim).
        format: which of them; found out where ``"auto"``.
        dim: needed for hnswlib, whose files don't hold it; else compared with the file.
        metric: needed for hnswlib and NumPy; else compared with the file.
        ids: a ``.npy`` file of (n,) integers beside NumPy's vectors; their numbers from 0 where
            None.

    Raises:
        StorageError: the file can't be read.
        CorruptFile: a length, count or place in it doesn't hold.
        UnsupportedFormat: it is of none of these kinds; the message says which it is.
        InputError: an argument is missing, or isn't what the file says.
        DimensionMismatch: ``dim`` isn't the file's.
    """
    if format != "auto" and format not in FORMATS:
        raise InputError(f"format must be 'auto' or one of {FORMATS}, got {format!r}")
    if metric is not None and metric not in METRICS:
        raise InputError(f"metric must be one of {METRICS}, got {metric!r}")
    if dim is not None:
        dim = require_count("dim", dim)
    file = File(path)
    kind = _kind_of(file) if format == "auto" else format
    if ids is not None and kind != "npy":
        raise InputError(f"{file.path} has ids of its own; a file of ids goes with NumPy's vectors")
    reader: Reader
    if kind == "npy":
        reader = NpyReader(file, None if ids is None else File(ids), dim, metric)
    elif kind == "hnswlib":
        reader = HnswlibReader(file, dim, metric)
    else:
        reader = FaissReader(file) if kind == "faiss" else UsearchReader(file)
        held = reader.description
        if dim not in (None, held.dim):
            raise DimensionMismatch(
                f"{file.path} has {held.dim} dimensions, not {dim}", expected=dim, actual=held.dim
            )
        if metric not in (None, held.metric):
            raise InputError(f"{file.path} is for the metric {held.metric}, not {metric}")
    return ForeignFile(file.path, reader)


def convert(
    path: str | os.PathLike[str],
    *,
    format: Format | Literal["auto"] = "auto",
    dim: int | None = None,
    metric: Metric | None = None,
    ids: str | os.PathLike[str] | None = None,
    dtype: ElementType | None = None,
    params: IndexParams | None = None,
    threads: int | None = None,
) -> Index:
    """Build an index from a file of another library: :func:`read`, then ``rebuild``.

    The graph is built anew; only vectors and ids are taken. Beyond what the index takes as it
    grows, a batch of 16 MiB and a few copies of it are in memory.

    Args:
        path: as are ``format``, ``dim``, ``metric`` and ``ids``, for :func:`read`.
        dtype: as are ``params`` and ``threads``, for :meth:`ForeignFile.rebuild`.

    Raises:
        StorageError, CorruptFile, UnsupportedFormat, InputError, DimensionMismatch: see
            :func:`read`.
        DuplicateId, InvalidId, NonFiniteVector, ZeroVector, ConfigError: see
            :meth:`ForeignFile.rebuild`.
    """
    source = read(path, format=format, dim=dim, metric=metric, ids=ids)
    return source.rebuild(dtype=dtype, params=params, threads=threads)


def _kind_of(file: File) -> Format:
    for kind, test in _TESTS:
        if test(file):
            return kind
    if file.size >= 8 and file.read(0, 8, "the magic number") == b"LLSPIDX\n":
        raise UnsupportedFormat(f"{file.path} is a snapshot of llmspell; Index.load opens it")
    raise UnsupportedFormat(
        f"{file.path} is no whole file of hnswlib, FAISS, USearch or NumPy; "
        "say which it is meant to be to learn what is wrong with it"
    )

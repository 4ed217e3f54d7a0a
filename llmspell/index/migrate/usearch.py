"""Files of USearch's ``save`` (``index_dense.hpp`` and ``index.hpp``, ``save_to_stream``).

The matrix of vectors behind its two sizes, a header of 64 bytes, the graph: its header, the levels
of the nodes, the nodes. The key of a vector stands in its node; a deleted one has the largest key.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmspell.config import MAX_DIM, Metric
from llmspell.errors import UnsupportedFormat
from llmspell.index.migrate.file import Cursor, File
from llmspell.index.migrate.source import BATCH_BYTES, Description

__all__ = ["UsearchReader", "is_usearch"]

MAGIC = b"usearch"
HEADER_BYTES = 64
GRAPH_HEADER_BYTES = 40
HEAD = np.dtype([("key", "<u8"), ("level", "<i2")])  # of a node; packed
FREE_KEY = np.uint64(2**64 - 1)
MOST_LEVELS = 64  # at two links a node and 2**32 nodes about 32 are reached
MOST_LINKS = 1 << 14
NO_LEVEL = 2**64 - 1

# index_plugins.hpp: metric_kind_t, scalar_kind_t. What isn't read has a name alone.
METRICS: dict[int, Metric] = {ord("i"): "ip", ord("c"): "cosine", ord("e"): "l2"}
OTHER_METRICS = {
    ord("p"): "pearson",
    ord("h"): "haversine",
    ord("d"): "divergence",
    ord("b"): "hamming",
    ord("t"): "tanimoto",
    ord("s"): "sorensen",
    ord("j"): "jaccard",
}
SCALARS = {10: "float64", 11: "float32", 12: "float16", 4: "bfloat16", 23: "int8"}
STORED = {"float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int8": "i1"}
OTHER_SCALARS = {
    1: "b1",
    2: "u40",
    3: "uuid",
    13: "f8",
    14: "u64",
    15: "u32",
    16: "u16",
    17: "u8",
    20: "i64",
    21: "i32",
    22: "i16",
}
U64_KEYS = 14
SLOT_BYTES = {15: 4, 2: 5}


class _Header(NamedTuple):
    magic: bytes
    major: int
    minor: int
    patch: int
    metric: int
    scalar: int
    key: int
    slot: int
    present: int
    deleted: int
    dim: int
    multi: int


class _Graph(NamedTuple):
    nodes: int
    links: int
    base_links: int
    top: int
    entry: int


def _place(file: File) -> tuple[int, int, int, int] | None:
    """Find the header: (its place, the matrix's, rows, bytes a row); None where there is none."""
    first = file.read(0, min(16, file.size), "the sizes of the matrix")
    if first.startswith(MAGIC):
        return 0, 0, 0, 0
    for layout in ("<II", "<QQ"):
        size = struct.calcsize(layout)
        if len(first) < size:
            continue
        rows, width = struct.unpack_from(layout, first)
        place = size + rows * width
        if (
            place + HEADER_BYTES <= file.size
            and file.read(place, len(MAGIC), "the header") == MAGIC
        ):
            return place, size, rows, width
    return None


def is_usearch(file: File) -> bool:
    """Whether USearch's header is where the first numbers say."""
    return _place(file) is not None


class UsearchReader:
    """Checks a file and reads it; see :class:`llmspell.index.migrate.source.Reader`."""

    def __init__(self, file: File) -> None:
        self._file = file
        place = _place(file)
        if place is None:
            raise file.corrupt("USearch's header is not behind the matrix of vectors")
        header_at, self._vectors_at, self._rows, self._width = place
        cursor = Cursor(file, header_at)
        header = _Header(*cursor.fields("7sHHHBBBBQQQB", "the header"))
        self._check_header(header, has_vectors=self._vectors_at > 0)
        cursor.at = header_at + HEADER_BYTES
        self._graph = _Graph(*cursor.fields("5Q", "the graph's header"))
        self._check_graph()
        slot = SLOT_BYTES[header.slot]
        self._base_bytes = 8 + 2 + 4 + self._graph.base_links * slot
        self._level_bytes = 4 + self._graph.links * slot
        self._levels_at = cursor.skip(2 * self._rows, "the levels")
        self._nodes_at = cursor.at
        self._chunk = max(1, BATCH_BYTES // max(self._base_bytes, self._width))
        deleted = sum(int((keys == FREE_KEY).sum()) for keys in self._keys(self._chunk))
        if (header.present + deleted, header.deleted) != (self._rows, deleted):
            raise file.corrupt(
                f"{header.present:,} vectors and {header.deleted:,} deleted ones are said, "
                f"{self._rows - deleted:,} and {deleted:,} there"
            )
        self.description = Description(
            format="usearch",
            kind=f"index_dense {header.major}.{header.minor}.{header.patch}",
            count=self._rows - deleted,
            deleted=deleted,
            dim=header.dim,
            metric=METRICS[header.metric],
            dtype=self._dtype,
        )

    def _check_header(self, header: _Header, *, has_vectors: bool) -> None:
        path = self._file.path
        if (header.major, header.minor >= 10) != (2, True):
            raise UnsupportedFormat(
                f"{path} is of USearch {header.major}.{header.minor}; read are 2.10 and later 2.x"
            )
        if header.metric not in METRICS:
            name = OTHER_METRICS.get(header.metric, f"number {header.metric}")
            raise UnsupportedFormat(f"{path} has the metric {name}; read are ip, cos and l2sq")
        if header.scalar not in SCALARS:
            name = OTHER_SCALARS.get(header.scalar, f"number {header.scalar}")
            raise UnsupportedFormat(
                f"{path} has components of type {name}; read are f64, f32, f16, bf16 and i8"
            )
        if header.key != U64_KEYS:
            name = OTHER_SCALARS.get(header.key, f"number {header.key}")
            raise UnsupportedFormat(f"{path} has keys of type {name}; read are u64")
        if header.slot not in SLOT_BYTES:
            raise self._file.corrupt(f"slots have the type {header.slot}, none of USearch's")
        if not has_vectors:
            raise UnsupportedFormat(f"{path} was saved without its vectors")
        self._dtype = SCALARS[header.scalar]
        self._stored = np.dtype(STORED[self._dtype])
        if header.dim < 1 or header.dim * self._stored.itemsize != self._width:
            raise self._file.corrupt(
                f"a vector has {self._width:,} bytes, which isn't {header.dim:,} of {self._dtype}"
            )
        if header.dim > MAX_DIM:
            raise UnsupportedFormat(
                f"{path} has vectors of {header.dim:,} dimensions; an index takes {MAX_DIM:,}"
            )

    def _check_graph(self) -> None:
        graph = self._graph
        if graph.nodes != self._rows:
            raise self._file.corrupt(f"the graph has {graph.nodes:,} nodes, not {self._rows:,}")
        if graph.links > MOST_LINKS or graph.base_links > MOST_LINKS:
            raise self._file.corrupt(f"nodes have {max(graph.links, graph.base_links):,} links")
        if not graph.nodes:
            self._top = 0
            if graph.top not in (0, NO_LEVEL) or graph.entry:
                raise self._file.corrupt("the graph has an entry point and no nodes")
        elif graph.top >= MOST_LEVELS or graph.entry >= graph.nodes:
            raise self._file.corrupt(f"level {graph.top:,}, entry {graph.entry:,} can't be")
        else:
            self._top = graph.top

    def _keys(self, rows: int) -> Iterator[NDArray[np.uint64]]:
        """Give the keys of the nodes in their order; each node must begin where the last ends."""
        file, at = self._file, self._nodes_at
        for start in range(0, self._rows, rows):
            count = min(rows, self._rows - start)
            levels = file.array(self._levels_at + 2 * start, "<i2", count, "the levels")
            if levels.min() < 0 or levels.max() > self._top:
                raise file.corrupt(f"a node is on a level outside 0 to {self._top}")
            ends = np.cumsum(self._base_bytes + self._level_bytes * levels.astype(np.int64))
            heads = self._heads(at + np.append(0, ends))
            if (heads["level"] != levels).any():
                raise file.corrupt("a node's level isn't that of the table of levels")
            yield heads["key"]
            at += int(ends[-1])
        Cursor(file, at).end()

    def _heads(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """What the nodes between the places begin with, read in parts of bounded size."""
        heads = np.empty(len(places) - 1, HEAD)
        first = 0
        while first < len(heads):
            start = int(places[first])
            last = int(np.searchsorted(places, start + BATCH_BYTES, side="right")) - 1
            last = max(last, first + 1)
            content = self._file.array(start, np.uint8, int(places[last]) - start, "the nodes")
            within = (places[first:last] - start)[:, None] + np.arange(HEAD.itemsize)
            heads[first:last] = content[within].view(HEAD)[:, 0]
            first = last
        return heads

    def batches(self, rows: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Give keys and vectors of what isn't deleted."""
        start = 0
        for keys in self._keys(min(rows, self._chunk)):
            raw = self._file.array(
                self._vectors_at + start * self._width,
                self._stored,
                len(keys) * self.description.dim,
                "the vectors",
            ).reshape(len(keys), -1)
            start += len(keys)
            live = keys != FREE_KEY
            if live.any():
                yield keys[live], self._widened(raw[live])

    def _widened(self, raw: NDArray[Any]) -> NDArray[Any]:
        if self._dtype != "bfloat16":
            return raw
        # A bfloat16 is the upper half of a float32; NumPy has no such type.
        return (raw.astype(np.uint32) << 16).view(np.float32)

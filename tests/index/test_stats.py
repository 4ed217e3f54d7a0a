"""`Index.stats`: true counts of slots, nodes and links, and true bytes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from llmspell import Index, IndexParams
from tests.index.vectors import clustered

# Prints how many bytes stats() counts and how many the process has grown by, for an index that
# grew by several additions: of `n` vectors in all, of `dim` dimensions.
GROWTH = """
import ctypes, sys
import numpy as np
from llmspell import Index, IndexParams

n, dim, dtype, metric, threshold, quantization = sys.argv[1:]
n, dim = int(n), int(dim)

def resident():
    getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)(0)
    # Exact, which RssAnon in /proc/self/status isn't on every kernel.
    with open("/proc/self/smaps_rollup") as pages:
        return next(int(line.split()[1]) << 10 for line in pages if line.startswith("Anonymous:"))

random = np.random.default_rng(0)
def vectors(count):
    scale = np.linspace(1, 0.02, dim, dtype=np.float32)
    return random.normal(size=(count, dim)).astype(np.float32) * scale

def index_of(parts, share):
    params = IndexParams(m=16, ef_construction=16, graph_threshold=int(threshold),
                         quantization=quantization)
    index = Index(dim=dim, dtype=dtype, metric=metric, params=params)
    for part in range(parts):
        index.add(np.arange(part * share, (part + 1) * share), vectors(share))
    index.search(vectors(8), 10)
    return index

index_of(2, 500)
before = resident()
index = index_of(4, n // 4)
print(index.stats().memory.total, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("n", "dim", "dtype", "metric", "threshold", "quantization"),
    [
        (32_000, 768, "float32", "l2", 1 << 32, "none"),  # rows
        (600_000, 8, "int8", "l2", 1 << 32, "none"),  # ids
        (40_000, 8, "int8", "l2", 0, "none"),  # links
        (12_000, 256, "float32", "ip", 0, "pq"),  # codes
        (12_000, 256, "float16", "l2", 0, "sq4"),  # four-bit rows
    ],
    ids=["rows", "ids", "links", "codes", "four-bit rows"],
)
def test_counted_bytes_are_those_that_the_process_grows_by(
    n: int, dim: int, dtype: str, metric: str, threshold: int, quantization: str
) -> None:
    arguments = [str(value) for value in (n, dim, dtype, metric, threshold, quantization)]
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, *arguments], capture_output=True, text=True, check=True
    )
    counted, grown = (int(word) for word in done.stdout.split())
    # Of the room for more vectors only what was written to is resident.
    assert 0.97 * grown <= counted <= 1.15 * grown


def _index(n: int, dim: int = 16, **settings: Any) -> Index:
    params = IndexParams(**{"m": 6, "ef_construction": 40, "graph_threshold": 0, **settings})
    index = Index(dim=dim, metric="ip", params=params)
    if n:
        index.add(np.arange(n), clustered(n, dim, 1))
    return index


def test_slots_are_live_deleted_or_free() -> None:
    index = _index(1_000)
    index.delete(np.arange(10))
    stats = index.stats()
    assert (stats.live, stats.deleted, stats.free) == (990, 10, 0)
    index.delete(np.arange(10, 38))
    stats = index.stats()
    assert (stats.live, stats.deleted, stats.free) == (962, 0, 38)
    assert stats.slots == 1_000 <= stats.capacity


def test_degrees_and_layers_count_the_nodes() -> None:
    stats = _index(3_000).stats()
    assert len(stats.degrees) == 12 + 1
    assert sum(stats.degrees) == stats.graph_nodes == stats.layers[0] == 3_000
    assert stats.edges == sum(d * n for d, n in enumerate(stats.degrees)) > 3 * 3_000
    assert stats.degrees[0] == 0
    assert list(stats.layers) == sorted(stats.layers, reverse=True)
    assert stats.max_level == len(stats.layers) - 1 > 1
    assert 300 < stats.layers[1] < 700  # one in m
    assert stats.memory.upper_layers > 28 * stats.layers[1]


@pytest.mark.parametrize("n", [0, 100])
def test_an_index_without_a_graph_has_no_degrees(n: int) -> None:
    stats = _index(n, graph_threshold=1_000).stats()
    assert (stats.live, stats.degrees, stats.layers, stats.max_level) == (n, (), (), -1)
    assert (stats.graph_nodes, stats.edges, stats.code_groups) == (0, 0, 0)


def test_bytes_are_told_apart_by_part() -> None:
    plain, coded = _index(2_000, 64).stats(), _index(2_000, 64, quantization="pq").stats()
    assert plain.memory.vectors == 2_000 * 64 * 4
    assert plain.memory.codes == plain.memory.refined_codes == plain.memory.codebook == 0
    assert plain.code_groups == 0
    assert coded.code_groups % 4 == 0
    assert coded.memory.codes >= 2_000 * coded.code_groups / 2
    assert coded.memory.refined_codes >= 2_000 * 64 / 2
    assert coded.memory.codebook > 0
    assert (
        coded.memory.bottom_layer > plain.memory.bottom_layer + 2_000 * 12 * coded.code_groups / 2
    )
    total = sum(dataclasses.asdict(coded.memory).values())
    assert coded.memory.total == total


def test_four_bit_rows_are_all_that_comes_with_them() -> None:
    plain, rounded = _index(2_000, 384).stats(), _index(2_000, 384, quantization="sq4").stats()
    assert rounded.memory.refined_codes == pytest.approx(2_000 * (384 / 2 + 8), rel=0.01)
    assert rounded.memory.codes == rounded.memory.codebook == rounded.code_groups == 0
    assert rounded.memory.bottom_layer == plain.memory.bottom_layer
    assert rounded.memory.vectors == plain.memory.vectors


def test_scratch_is_counted_once_there_was_a_search() -> None:
    index = _index(1_000)
    before = index.stats().memory.scratch
    index.search(clustered(1, 16)[0], 10)
    assert index.stats().memory.scratch > before + 2 * 1_000

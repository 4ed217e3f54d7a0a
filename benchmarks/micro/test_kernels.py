"""Distances of one query to 1,000 rows that lie in the cache, by metric, type and SIMD level.

Run: ``python -m pytest benchmarks/micro/test_kernels.py --benchmark-only``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import _core

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

ROWS = 1_000
DIM = 384


@pytest.mark.parametrize("level", _core.simd_levels())
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("metric", ["ip", "l2", "l1"])
def test_distances(benchmark: BenchmarkFixture, metric: str, dtype: str, level: str) -> None:
    rows = _rows(dtype)
    query = rows[0] if dtype == "int8" else _rows("float32")[0]
    benchmark.extra_info["rows"] = ROWS
    found = benchmark(_core.distances, metric, query, rows, level)
    assert len(found) == ROWS


@pytest.mark.parametrize("level", _core.simd_levels())
def test_hamming_distances(benchmark: BenchmarkFixture, level: str) -> None:
    rows = np.random.default_rng(1).integers(0, 256, size=(ROWS, DIM // 8), dtype=np.uint8)
    benchmark.extra_info["rows"] = ROWS
    found = benchmark(_core.distances, "hamming", rows[0], rows, level)
    assert len(found) == ROWS


def test_numpy_inner_products(benchmark: BenchmarkFixture) -> None:
    rows = _rows("float32")
    found = benchmark(np.dot, rows, rows[0])
    assert len(found) == ROWS


def _rows(dtype: str) -> NDArray[Any]:
    random = np.random.default_rng(1)
    if dtype == "int8":
        return random.integers(-127, 128, size=(ROWS, DIM), dtype=np.int8)
    rows = random.normal(size=(ROWS, DIM)).astype(np.float32)
    if dtype == "bfloat16":  # the upper halves
        return (rows.view(np.uint32) >> 16).astype(np.uint16)
    return rows.astype(dtype)

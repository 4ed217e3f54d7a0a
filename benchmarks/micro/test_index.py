"""The cost of a call to the index: on nothing, exactly, by the graph, filtered, in batches.

Run: ``python -m pytest benchmarks/micro/test_index.py --benchmark-only``.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import IdBitmap, Index, IndexParams
from llmspell.config import ElementType

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

DIM = 128
QUERIES = 256
VECTORS = 10_000
TYPES: tuple[ElementType, ...] = ("float32", "float16", "bfloat16", "int8")


@pytest.mark.parametrize("dtype", TYPES)
def test_search_by_the_graph(benchmark: BenchmarkFixture, dtype: ElementType) -> None:
    index, queries = _graph(dtype), itertools.cycle(_vectors(QUERIES, seed=2))
    found = benchmark(lambda: index.search(next(queries), 10, ef_search=64))
    assert len(found.ids) == 10


@pytest.mark.parametrize("dtype", TYPES)
def test_exact_search_of_a_thousand(benchmark: BenchmarkFixture, dtype: ElementType) -> None:
    index, queries = _index(1_000, dtype), itertools.cycle(_vectors(QUERIES, seed=2))
    found = benchmark(lambda: index.search(next(queries), 10))
    assert len(found.ids) == 10


def test_search_of_three_vectors_is_the_call_alone(benchmark: BenchmarkFixture) -> None:
    index, query = _index(3, "float32"), _vectors(1, seed=2)[0]
    found = benchmark(index.search, query, 3)
    assert len(found.ids) == 3


@pytest.mark.parametrize("percent", [50, 10, 1])
def test_search_with_a_filter(benchmark: BenchmarkFixture, percent: int) -> None:
    index, queries = _graph("float32"), itertools.cycle(_vectors(QUERIES, seed=2))
    kept = np.random.default_rng(3).choice(VECTORS, VECTORS * percent // 100, replace=False)
    allowed = np.zeros(VECTORS, dtype=bool)
    allowed[kept] = True
    bitmap = IdBitmap(np.packbits(allowed, bitorder="little"))
    found = benchmark(lambda: index.search(next(queries), 10, ef_search=64, filter=bitmap))
    assert allowed[found.ids].all()


def test_batch_of_queries(benchmark: BenchmarkFixture) -> None:
    index, queries = _graph("float32"), _vectors(QUERIES, seed=2)
    found = benchmark(index.search, queries, 10, ef_search=64)
    assert found.ids.shape == (QUERIES, 10)


def test_insert_and_delete_in_a_graph(benchmark: BenchmarkFixture) -> None:
    index, vectors = _index(VECTORS, "float32"), itertools.cycle(_vectors(QUERIES, seed=4))

    def insert_and_delete() -> None:
        index.add([VECTORS], next(vectors))
        index.delete([VECTORS])

    benchmark(insert_and_delete)
    assert len(index) == VECTORS


@cache
def _graph(dtype: ElementType) -> Index:
    return _index(VECTORS, dtype)


def _index(n: int, dtype: ElementType) -> Index:
    index = Index(dim=DIM, metric="ip", dtype=dtype, params=IndexParams(graph_threshold=2_000))
    index.add(np.arange(n), _vectors(n, seed=1), threads=1)
    return index


def _vectors(n: int, *, seed: int) -> NDArray[np.float32]:
    """Unit vectors around 100 centres, as sentence embeddings lie, rather than spread evenly."""
    centres = np.random.default_rng(0).normal(size=(100, DIM))
    random = np.random.default_rng(seed)
    vectors = centres[random.integers(100, size=n)] + random.normal(size=(n, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)

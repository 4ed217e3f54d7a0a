"""`estimate_memory`: within 5 % of what an index then takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmspell import Index, IndexParams, errors, estimate_memory
from llmspell.config import ElementType, Metric
from tests.index.vectors import clustered


def _grow(index: Index, n: int, parts: int) -> int:
    """Add ``n`` vectors in ``parts``, search once; the largest total of bytes there was."""
    vectors = clustered(n, index.dim, 1)
    if index.dtype == "binary":
        vectors = vectors > 0
    most = 0
    for ids in np.array_split(np.arange(n), parts):
        index.add(ids, vectors[ids])
        most = max(most, index.stats().memory.total)
    index.search(vectors[0], 10)
    return most


@pytest.mark.parametrize(
    ("n", "dim", "dtype", "metric", "settings"),
    [
        (20_000, 384, "float32", "cosine", {"graph_threshold": 1 << 32}),
        (20_000, 384, "float16", "ip", {"graph_threshold": 1 << 32}),
        (20_000, 4, "int8", "l2", {"graph_threshold": 1 << 32}),
        (20_000, 8, "binary", "hamming", {"graph_threshold": 1 << 32}),
        (10_000, 64, "bfloat16", "l2", {"m": 12}),
        (10_000, 8, "int8", "l2", {"m": 4, "max_neighbors": 5}),
        (5_000, 16, "float32", "l1", {"m": 8, "max_neighbors": 32}),
        (10_000, 64, "binary", "hamming", {"m": 8}),
        (10_000, 128, "float16", "ip", {"m": 16, "quantization": "pq"}),
        (10_000, 48, "float32", "l2", {"m": 16, "quantization": "pq"}),
        (10_000, 128, "int8", "cosine", {"m": 8, "quantization": "pq"}),
        (10_000, 384, "float16", "ip", {"m": 16, "quantization": "sq4"}),
        (10_000, 48, "float32", "l2", {"m": 12, "quantization": "sq4"}),
    ],
)
def test_estimate_is_within_five_percent(
    n: int, dim: int, dtype: ElementType, metric: Metric, settings: dict[str, Any]
) -> None:
    params = IndexParams(**{"ef_construction": 16, **settings})
    index = Index(dim=dim, metric=metric, dtype=dtype, params=params)
    _grow(index, n, 1)
    stats = index.stats()
    coded = params.quantization == "pq"
    found = estimate_memory(
        n, dim, params, metric=metric, dtype=dtype, code_groups=stats.code_groups if coded else None
    )
    assert found.total == pytest.approx(stats.memory.total, rel=0.05)
    assert found.built.vectors == stats.memory.vectors
    assert found.total < found.grown < found.peak


@pytest.mark.parametrize("quantization", ["none", "pq", "sq4"])
@pytest.mark.parametrize("n", [6_000, 9_001])
def test_an_index_that_grows_stays_below_the_estimate_of_that(n: int, quantization: str) -> None:
    params = IndexParams(m=8, ef_construction=16, quantization=quantization)  # type: ignore[arg-type]
    index = Index(dim=48, params=params)
    most = _grow(index, n, 17)
    found = estimate_memory(n, 48, params, code_groups=index.stats().code_groups)
    assert found.total * 0.95 < most < found.grown * 1.05


def test_codes_are_counted_at_their_longest_unless_said_otherwise() -> None:
    params = IndexParams(quantization="pq")
    longest = estimate_memory(10_000, 384, params)
    assert longest == estimate_memory(10_000, 384, params, code_groups=128)
    assert longest.total > estimate_memory(10_000, 384, params, code_groups=80).total
    without = estimate_memory(10_000, 384, params, code_groups=0)
    assert without == estimate_memory(10_000, 384, IndexParams())


def test_there_is_no_limit_to_what_may_be_asked() -> None:
    assert estimate_memory(0, 384).built.vectors == 0
    billions = estimate_memory(4_000_000_000, 384, IndexParams(quantization="pq"))
    assert billions.built.vectors == 4_000_000_000 * 384 * 4


@pytest.mark.parametrize("n", [-1, 1 << 32, 1.5, True, "7"])
def test_a_number_of_vectors_that_no_index_holds_is_refused(n: Any) -> None:
    with pytest.raises(errors.InputError, match="n must be an int from 0 to"):
        estimate_memory(n, 384)


@pytest.mark.parametrize("groups", [-4, 3, 132, True, 8.0])
def test_groups_that_no_code_has_are_refused(groups: Any) -> None:
    with pytest.raises(errors.InputError, match="code_groups must be a multiple of 4"):
        estimate_memory(10, 384, code_groups=groups)


def test_an_index_that_cannot_be_is_refused() -> None:
    for quantization in ("pq", "sq4"):
        with pytest.raises(errors.ConfigError):
            estimate_memory(10, 384, metric="l1", params=IndexParams(quantization=quantization))
    with pytest.raises(errors.ConfigError):
        estimate_memory(10, 20_000)

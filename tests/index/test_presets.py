"""Named parameters: what each is for holds for every metric and type that it is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmspell import Index, IndexParams, SearchCounters, errors
from llmspell.config import ElementType, Metric
from tests.index.vectors import ALL_METRICS, METRICS, TYPES, clustered, recall, scores_of


def _saved(path: Path, metric: Metric, dtype: ElementType, dim: int, count: int) -> Index:
    index = Index(dim=dim, metric=metric, dtype=dtype, params=IndexParams.memory_optimized())
    index.add(np.arange(count), clustered(count, dim, 1))
    index.save(path)
    return index


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_memory_optimized_walks_in_little_memory_with_its_vectors_in_a_file(
    tmp_path: Path, metric: Metric, dtype: ElementType
) -> None:
    index = _saved(tmp_path / "index", metric, dtype, 160, 2_500)
    opened = Index.load(tmp_path / "index", mmap="vectors")
    queries, counters = clustered(50, 160, 2), SearchCounters()
    found = opened.search(queries, 10, counters=counters)
    exact = scores_of(metric, queries, index.get(np.arange(2_500)))
    assert recall(found.ids, exact, 10) > 0.95
    assert counters.strategy == "quantized"
    assert counters.reranked < counters.estimated / 4
    memory = opened.stats().memory
    assert memory.vectors == 0
    assert memory.total - memory.scratch < 2_500 * 320


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_memory_optimized_is_exact_below_the_threshold(
    tmp_path: Path, metric: Metric, dtype: ElementType
) -> None:
    index = _saved(tmp_path / "index", metric, dtype, 24, 500)
    queries = clustered(20, 24, 2)
    found = Index.load(tmp_path / "index", mmap="vectors").search(queries, 10)
    np.testing.assert_array_equal(found.ids, index.search(queries, 10).ids)
    exact = scores_of(metric, queries, index.get(np.arange(500)))
    assert recall(found.ids, exact, 10) > (0.9 if dtype == "int8" else 0.99)


def test_memory_optimized_says_which_metrics_it_is_for() -> None:
    params = IndexParams.memory_optimized()
    with pytest.raises(errors.ConfigError, match="is for metric 'ip', 'cosine' or 'l2'"):
        Index(dim=24, metric="l1", params=params)


@pytest.mark.parametrize("count", [10_000, 100_000, 1_000_000, 10_000_000])
def test_parameters_for_a_scale_fit_every_metric(count: int) -> None:
    params = IndexParams.for_scale(count)
    for metric in ALL_METRICS:
        assert Index(dim=24, metric=metric, params=params).params == params
    assert Index(dim=24, metric="hamming", dtype="binary", params=params).params == params

"""The graph's quality: recall, and that every vector finds itself, under what wears graphs out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import Index, IndexParams
from llmspell.config import ElementType, Metric, Quantization
from tests.index.vectors import ALL_METRICS, clustered, recall, scores_of

GRAPH = IndexParams(m=8, ef_construction=80, graph_threshold=0)


def _misses(index: Index, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> int:
    """How many of the vectors don't find themselves; one with copies may find a copy."""
    found = index.search(vectors, 1)
    own = np.diag(scores_of(index.metric, vectors, index.get(ids)))
    return int(((found.ids[:, 0] != ids) & (found.scores[:, 0] < own - 1e-4)).sum())


@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_vector_finds_itself_after_churn(metric: Metric, dtype: ElementType) -> None:
    random = np.random.default_rng(0)
    index = Index(dim=16, metric=metric, dtype=dtype, params=GRAPH)
    vectors = clustered(3_000, 16, 1)
    live = np.zeros(3_000, bool)
    for round_ in range(12):
        some = random.choice(3_000, 700, replace=False)
        if round_ % 2 == 0:
            fresh = clustered(700, 16, 100 + round_)
            index.upsert(some, fresh, threads=1)  # the same graph each time
            vectors[some], live[some] = fresh, True
        else:
            index.delete(some)
            live[some] = False
        ids = np.flatnonzero(live)
        assert _misses(index, ids, vectors[ids]) == 0


def test_recall_after_churn_is_that_of_a_fresh_graph() -> None:
    queries = clustered(100, 24, 2)
    random = np.random.default_rng(0)
    worn = Index(dim=24, metric="ip", params=GRAPH)
    worn.add(np.arange(2_000), clustered(2_000, 24, 1))
    for round_ in range(10):
        ids = random.permutation(2_000)
        worn.delete(ids[:1_000])
        worn.upsert(ids[:1_000], clustered(1_000, 24, 10 + round_))
    held = worn.get(np.arange(2_000))
    fresh = Index(dim=24, metric="ip", params=GRAPH)
    fresh.add(np.arange(2_000), held)
    exact = scores_of("ip", queries, held)
    of_worn, of_fresh = (
        recall(index.search(queries, 10, ef_search=40).ids, exact, 10) for index in (worn, fresh)
    )
    assert of_worn > of_fresh - 0.02


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(("copies", "allowed_misses"), [(80, 0), (1_000, 10)])
def test_many_copies_of_one_vector_hide_no_other(
    copies: int, allowed_misses: int, mixed: bool
) -> None:
    """More copies than ``ef_search`` can fill a beam and so keep it from what is right behind."""
    vectors = np.concatenate([np.repeat(clustered(1, 16, 3), copies, axis=0), clustered(500, 16)])
    if mixed:
        vectors = vectors[np.random.default_rng(0).permutation(len(vectors))]
    index = Index(dim=16, metric="ip", params=GRAPH)
    ids = np.arange(len(vectors))
    index.add(ids, vectors)
    assert _misses(index, ids, vectors) <= allowed_misses
    best = index.search(clustered(1, 16, 3)[0], 40).scores
    np.testing.assert_allclose(best, 1.0, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 4])
def test_nothing_but_copies_is_a_graph_too(threads: int) -> None:
    index = Index(dim=4, metric="l2", params=IndexParams(m=2, graph_threshold=0))
    index.add(np.arange(2_000), np.ones((2_000, 4)), threads=threads)
    ids, scores = index.search(np.ones(4), 100)
    assert len(set(ids.tolist())) == 100
    assert (scores == 0).all()
    index.delete(np.arange(1_900))
    assert index.search(np.ones(4), 100).ids.size == 100


def test_region_replaced_at_once_is_found_again() -> None:
    """A document written anew: its chunks lie together, and all go and come in one batch."""
    random = np.random.default_rng(5)
    centre = random.normal(size=(1, 24))
    first, second = (
        (centre + 0.05 * random.normal(size=(300, 24))).astype(np.float32) for _ in range(2)
    )
    index = Index(dim=24, params=GRAPH)
    index.add(np.arange(5_000), clustered(5_000, 24, 1))
    index.add(np.arange(5_000, 5_300), first)
    index.upsert(np.arange(5_000, 5_300), second)
    assert _misses(index, np.arange(5_000, 5_300), second) == 0


def test_search_beside_a_deleted_region_finds_what_is_left() -> None:
    random = np.random.default_rng(5)
    centre = random.normal(size=24)
    region = (centre + 0.05 * random.normal(size=(90, 24))).astype(np.float32)
    rest = clustered(5_000, 24, 1)
    index = Index(dim=24, metric="l2", params=GRAPH)
    index.add(np.arange(5_000), rest)
    index.add(np.arange(5_000, 5_090), region)
    index.delete(np.arange(5_000, 5_090))
    assert index.stats().deleted > 0
    found = index.search(region, 10, ef_search=20).ids
    assert recall(found, scores_of("l2", region, rest), 10) > 0.95


@pytest.mark.parametrize("quantization", ["none", "pq", "sq4"])
def test_one_thread_and_one_seed_build_one_graph(
    quantization: Quantization, tmp_path: Path
) -> None:
    vectors = clustered(2_500, 64, 1)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        params = IndexParams(
            m=6, ef_construction=40, graph_threshold=0, seed=seed, quantization=quantization
        )
        index = Index(dim=64, params=params)
        for part in (slice(1_500), slice(1_500, 2_500)):
            index.add(np.arange(2_500)[part], vectors[part], threads=1)
        index.delete(np.arange(0, 2_500, 7))
        index.save(tmp_path / name)
    files = [(tmp_path / name).read_bytes() for name in "abc"]
    assert files[0] == files[1]
    header = 4_096  # with its padding; the seed stands in it
    assert files[0][header:] != files[2][header:]


def test_graph_built_by_many_threads_is_as_good() -> None:
    vectors, queries = clustered(4_000, 24, 1), clustered(100, 24, 2)
    exact = scores_of("ip", queries, vectors)
    found = []
    for threads in (1, 8):
        index = Index(dim=24, metric="ip", params=GRAPH)
        index.add(np.arange(4_000), vectors, threads=threads)
        assert _misses(index, np.arange(4_000), vectors) == 0
        found.append(recall(index.search(queries, 10, ef_search=40).ids, exact, 10))
    assert found[1] > found[0] - 0.02


def test_vectors_added_one_by_one_make_as_good_a_graph() -> None:
    vectors, queries = clustered(1_500, 24, 1), clustered(100, 24, 2)
    index = Index(dim=24, metric="ip", params=GRAPH)
    for i, vector in enumerate(vectors):
        index.add([i], vector)
    assert _misses(index, np.arange(1_500), vectors) == 0
    found = index.search(queries, 10, ef_search=60).ids
    assert recall(found, scores_of("ip", queries, vectors), 10) > 0.98


@pytest.mark.skipif("LLMSPELL_DATASET" not in os.environ, reason="LLMSPELL_DATASET is not set")
def test_recall_on_real_embeddings() -> None:
    folder = Path(os.environ["LLMSPELL_DATASET"])
    base = np.load(folder / "base.f16.npy", mmap_mode="r")[:20_000].astype(np.float32)
    queries = np.load(folder / "queries.f16.npy")[:200].astype(np.float32)
    index = Index(dim=base.shape[1], metric="cosine")
    index.add(np.arange(len(base)), base)
    exact = scores_of("cosine", queries, base)
    assert recall(index.search(queries, 10, ef_search=100).ids, exact, 10) > 0.99
    assert _misses(index, np.arange(1_000), base[:1_000]) == 0

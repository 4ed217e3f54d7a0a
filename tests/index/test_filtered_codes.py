"""Searches by codes under a filter: as good as without one, whichever way answers."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import IdBitmap, Index, IndexParams, SearchCounters
from llmspell.config import ElementType, Metric
from tests.index.vectors import METRICS, clustered, scores_of

N, DIM, K = 6_000, 96, 10
KINDS = ("random", "correlated", "anti-correlated")


def made(metric: Metric = "ip", dtype: ElementType = "float32", first: int = 0) -> Index:
    params = IndexParams(m=8, ef_construction=80, graph_threshold=0, quantization="pq")
    index = Index(dim=DIM, metric=metric, dtype=dtype, params=params)
    index.add(np.arange(first, first + N), clustered(N, DIM, 1), threads=2)
    return index


@pytest.fixture(scope="module")
def index() -> Index:
    return made()


def mask_of(kind: str, kept: float, query: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Allow so large a share: any, the nearest to the query, or the farthest from it."""
    size = round(kept * N)
    if kind == "random":
        order = np.random.default_rng(4).permutation(N)
    else:
        order = np.argsort(-(clustered(N, DIM, 1) @ query))
        if kind == "anti-correlated":
            order = order[::-1]
    mask = np.zeros(N, bool)
    mask[order[:size]] = True
    return mask


def bitmap(mask: NDArray[np.bool_]) -> IdBitmap:
    return IdBitmap(np.packbits(mask, bitorder="little"))


def share_found(index: Index, queries: NDArray[np.float32], kind: str, kept: float) -> float:
    """Recall over queries of which each has a filter of its own, used twice."""
    hits = []
    for query in queries:
        mask = mask_of(kind, kept, query)
        allowed, k = bitmap(mask), min(K, int(mask.sum()))
        exact = index.search(query, k, recall=1.0, filter=allowed).scores
        for _ in range(2):
            found = index.search(query, K, ef_search=48, filter=allowed)
            assert len(found.ids) == k and len(set(found.ids.tolist())) == k
            assert mask[found.ids].all()
            hits.append((found.scores >= exact[-1] - 1e-5).mean())
    return float(np.mean(hits))


def unfiltered(index: Index, queries: NDArray[np.float32]) -> float:
    found = index.search(queries, K, ef_search=48).scores
    exact = index.search(queries, K, recall=1.0).scores
    return float((found >= exact[:, -1:] - 1e-5).mean())


@pytest.mark.parametrize("kept", [0.5, 0.1, 0.03, 0.01, 0.001])
@pytest.mark.parametrize("kind", KINDS)
def test_recall_under_a_filter_is_that_without_one(index: Index, kind: str, kept: float) -> None:
    queries = clustered(40, DIM, 2)
    assert share_found(index, queries, kind, kept) >= unfiltered(index, queries) - 0.02


@pytest.mark.parametrize("kept", [0.5, 0.1, 0.03])
@pytest.mark.parametrize(
    ("metric", "dtype"), [*((metric, "float16") for metric in METRICS), ("l2", "int8")]
)
def test_every_metric_and_type_keeps_its_recall_under_a_filter(
    metric: Metric, dtype: ElementType, kept: float
) -> None:
    index, queries = made(metric, dtype), clustered(20, DIM, 2)
    least = unfiltered(index, queries) - 0.03
    for kind in KINDS:
        assert share_found(index, queries, kind, kept) >= least


def test_a_few_are_compared_by_their_vectors(index: Index) -> None:
    counters = SearchCounters()
    query = clustered(1, DIM, 2)[0]
    index.search(query, K, filter=np.arange(100), counters=counters)
    assert (counters.strategy, counters.distances) == ("exact", 100)


def test_a_filter_that_comes_again_is_answered_by_its_codes(index: Index) -> None:
    mask = mask_of("random", 0.2, clustered(1, DIM, 2)[0])
    ways, compared = [], []
    for query in clustered(60, DIM, 7):
        counters = SearchCounters()
        index.search(query, K, ef_search=48, filter=bitmap(mask), counters=counters)
        ways.append(counters.strategy)
        compared.append(counters.reranked)
    assert ways[0] in ("filtered-quantized", "quantized-sweep")
    assert ways[-1] == "quantized-sweep"
    assert max(compared) < mask.sum() / 2


@pytest.mark.parametrize("metric", METRICS)
def test_a_narrow_filter_that_comes_again_is_answered_exactly_where_much_is_asked(
    metric: Metric,
) -> None:
    index = made(metric)
    mask = mask_of("random", 0.15, clustered(1, DIM, 2)[0])
    index.search(clustered(1, DIM, 2)[0], K, ef_search=600)  # the scratch of a search
    before = index.stats().memory.scratch
    for query in clustered(40, DIM, 7):
        counters = SearchCounters()
        found = index.search(query, K, ef_search=600, filter=bitmap(mask), counters=counters)
        exact = index.search(query, K, recall=1.0, filter=bitmap(mask))
        np.testing.assert_allclose(found.scores, exact.scores, atol=1e-6)
        assert counters.strategy == "quantized-sweep"
        assert counters.reranked < mask.sum() / 2
    four_bits = 64 + 8  # bytes of a row, at least
    assert index.stats().memory.scratch - before > mask.sum() * four_bits


def test_bits_that_change_in_place_are_seen(index: Index) -> None:
    query = clustered(1, DIM, 2)[0]
    allowed = bitmap(mask_of("random", 0.3, query))
    first = index.search(query, K, filter=allowed).ids
    best = int(first[0])
    allowed.bits[best // 8] &= np.uint8(0xFF ^ (1 << best % 8))
    assert best not in index.search(query, K, filter=allowed).ids
    allowed.bits[:] = 0
    assert index.search(query, K, filter=allowed).ids.size == 0


def test_one_filter_holds_while_the_index_changes() -> None:
    index, query = made(), clustered(1, DIM, 2)[0]
    mask = mask_of("random", 0.2, query)
    allowed = bitmap(mask)
    for _ in range(30):  # until codes are kept for it
        found = index.search(query, K, filter=allowed).ids
    index.delete(found[:5])
    left = index.search(query, K, filter=allowed).ids
    assert not np.isin(found[:5], left).any() and mask[left].all() and len(left) == K
    index.add(found[:5], np.repeat(query[None], 5, axis=0))
    again = index.search(query, K, filter=allowed).ids
    assert set(again[:5].tolist()) == set(found[:5].tolist())
    index.upsert(found[:5], -np.repeat(query[None], 5, axis=0))
    assert not np.isin(found[:5], index.search(query, K, filter=allowed).ids).any()


def test_one_filter_serves_two_indexes() -> None:
    near, far = made(), made(first=N // 2)
    query = clustered(1, DIM, 2)[0]
    allowed = bitmap(mask_of("random", 0.4, query))
    for _ in range(30):
        for index in (near, far):
            found = index.search(query, K, filter=allowed, ef_search=400)
            exact = index.search(query, K, filter=allowed, recall=1.0)
            assert len(set(found.ids.tolist()) & set(exact.ids.tolist())) >= K - 1


def test_ids_may_lie_anywhere_and_repeat() -> None:
    index = made(first=10**12)
    query = clustered(1, DIM, 2)[0]
    picked = np.random.default_rng(5).permutation(N)[:900] + 10**12
    listed = [*picked.tolist(), *picked[:100].tolist(), 3, 10**15]
    found = index.search(query, K, filter=listed, ef_search=400)
    exact = index.search(query, K, filter=np.sort(picked), recall=1.0)
    assert len(set(found.ids.tolist()) & set(exact.ids.tolist())) >= K - 1
    everything = index.search(query, 2_000, filter=listed).ids
    assert sorted(everything.tolist()) == sorted(picked.tolist())


def test_threads_share_a_filter_while_vectors_come_and_go() -> None:
    index, queries = made(), clustered(64, DIM, 2)
    mask = mask_of("random", 0.2, queries[0])
    mask[:100] = False
    allowed, wrong, done = bitmap(mask), [], threading.Event()

    def search() -> None:
        while not done.is_set():
            for query in queries:
                found = index.search(query, K, filter=allowed).ids
                if len(found) != K or not mask[found].all():
                    wrong.append(found)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        index.delete(np.arange(100))
        index.add(np.arange(100), clustered(100, DIM, 9))
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_kept_of_filters_has_a_bound() -> None:
    index, query = made(), clustered(1, DIM, 2)[0]
    random = np.random.default_rng(6)
    for _ in range(300):
        ids = random.permutation(N)[:2_000]
        for _ in range(3):
            index.search(query, K, filter=ids)
    assert index.stats().memory.scratch < 3 * 2**20


def test_scores_are_true_and_a_threshold_cuts_them(index: Index) -> None:
    query = clustered(1, DIM, 2)[0]
    allowed = bitmap(mask_of("random", 0.3, query))
    found = index.search(query, K, filter=allowed)
    true = scores_of("ip", query[None], clustered(N, DIM, 1)[found.ids])[0]
    np.testing.assert_allclose(found.scores, true, atol=1e-5)
    cut = index.search(query, K, filter=allowed, threshold=float(found.scores[3]))
    assert cut.ids.tolist() == found.ids[:4].tolist()

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import Index, IndexParams, SearchCounters, errors
from llmspell.config import Quantization
from llmspell.index import IdBitmap
from tests.index.vectors import clustered, recall, scores_of

N = 3_000
MANY, NARROW = 30_000, 16  # so many vectors, and so narrow a walk, that it beats a sweep


@pytest.fixture(scope="module", params=[0, 10_000], ids=["graph", "flat"])
def index(request: pytest.FixtureRequest) -> Index:
    made = Index(dim=24, metric="ip", params=IndexParams(m=8, graph_threshold=int(request.param)))
    made.add(np.arange(N), clustered(N, 24, 1))
    return made


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1, 0.01, 0.001])
def test_filtered_search_finds_the_nearest_allowed(index: Index, kept: float) -> None:
    vectors, queries = clustered(N, 24, 1), clustered(50, 24, 2)
    mask = np.random.default_rng(3).random(N) < kept
    mask[:2] = True
    allowed = np.flatnonzero(mask)
    found = index.search(queries, 10, filter=allowed)
    assert np.isin(found.ids, [*allowed, -1]).all()
    k = min(10, len(allowed))
    assert (found.ids[:, :k] >= 0).all()
    exact = np.where(mask, scores_of("ip", queries, vectors), -np.inf)
    assert recall(found.ids, exact, k) > 0.99


@pytest.mark.parametrize("opposed", [False, True])
def test_filter_that_goes_with_the_query_or_against_it(index: Index, opposed: bool) -> None:
    vectors, queries = clustered(N, 24, 1), clustered(30, 24, 2)
    exact = scores_of("ip", queries, vectors)
    for query, scores in zip(queries, exact, strict=True):
        order = np.argsort(scores if opposed else -scores)
        allowed = order[: N // 3]
        best = allowed[np.argsort(-scores[allowed])[:10]]
        found = index.search(query, 10, filter=allowed).ids
        assert len(set(found.tolist()) & set(best.tolist())) >= 9


@pytest.fixture(scope="module", params=["none", "sq4"])
def large(request: pytest.FixtureRequest) -> Index:
    quantization: Quantization = request.param
    params = IndexParams(m=12, ef_construction=60, quantization=quantization)
    made = Index(dim=32, metric="ip", params=params)
    made.add(np.arange(MANY), clustered(MANY, 32, 1), threads=2)
    return made


@pytest.mark.parametrize("kept", [0.5, 0.1])
@pytest.mark.parametrize("kind", ["random", "correlated", "anti-correlated"])
def test_a_walk_under_a_filter_finds_as_much_as_one_without(
    large: Index, kind: str, kept: float
) -> None:
    vectors, queries = clustered(MANY, 32, 1), clustered(60, 32, 2)
    exact = scores_of("ip", queries, vectors)
    free = recall(large.search(queries, 10, ef_search=NARROW).ids, exact, 10)
    hits, ways = [], []
    for query, scores in zip(queries, exact, strict=True):
        order = np.random.default_rng(3).permutation(MANY)
        if kind != "random":
            order = np.argsort(-scores if kind == "correlated" else scores)
        mask = np.zeros(MANY, bool)
        mask[order[: int(kept * MANY)]] = True
        counters = SearchCounters()
        found = large.search(query, 10, ef_search=NARROW, filter=mask, counters=counters)
        assert len(found.ids) == 10 and mask[found.ids].all()
        hits.append(recall(found.ids[None], np.where(mask, scores, -np.inf)[None], 10))
        ways.append(counters.strategy)
    assert np.mean(hits) >= free - 0.02
    if kind == "random" and kept == 0.5:
        assert any(way.startswith("filtered") for way in ways)


def test_ids_mask_and_bitmap_say_the_same(index: Index) -> None:
    query = clustered(1, 24, 2)[0]
    mask = np.random.default_rng(3).random(N) < 0.3
    by_ids = index.search(query, 20, filter=np.flatnonzero(mask))
    by_mask = index.search(query, 20, filter=mask)
    by_bits = index.search(query, 20, filter=IdBitmap(np.packbits(mask, bitorder="little")))
    for other in (by_mask, by_bits):
        assert other.ids.tolist() == by_ids.ids.tolist()
        assert other.scores.tolist() == by_ids.scores.tolist()


def test_unknown_and_repeated_ids_in_a_filter_are_passed_over(index: Index) -> None:
    query = clustered(1, 24, 2)[0]
    found = index.search(query, 5, filter=[4, 4, 4, 10**12, 9])
    assert sorted(found.ids.tolist()) == [4, 9]


@pytest.mark.parametrize(
    "nothing", [[], np.array([], bool), np.zeros(N, bool), IdBitmap(np.zeros(0, np.uint8))]
)
def test_filter_that_allows_nothing_gives_nothing(
    index: Index, nothing: list[int] | NDArray[np.bool_] | IdBitmap
) -> None:
    query = clustered(1, 24, 2)[0]
    assert index.search(query, 5, filter=nothing).ids.size == 0
    assert index.search(query[None], 5, filter=nothing).ids.tolist() == [[-1] * 5]


def test_mask_shorter_than_the_largest_id_allows_none_beyond() -> None:
    index = Index(dim=1, metric="l2")
    index.add([2, 5, 1_000_000], [[0.0], [1.0], [2.0]])
    assert index.search([2.0], 3, filter=np.ones(6, bool)).ids.tolist() == [5, 2]


def test_filter_and_threshold_work_together(index: Index) -> None:
    query = clustered(1, 24, 2)[0]
    allowed = np.arange(0, N, 2)
    free = index.search(query, 10, filter=allowed)
    limit = float(free.scores[4])
    assert index.search(query, 10, filter=allowed, threshold=limit).ids.tolist() == (
        free.ids[:5].tolist()
    )


def test_filter_of_another_kind_is_refused(index: Index) -> None:
    query = clustered(1, 24, 2)[0]
    with pytest.raises(errors.InvalidId, match="integer ids"):
        index.search(query, filter=["a"])
    with pytest.raises(errors.InvalidId, match="integer ids"):
        index.search(query, filter=[1.5])
    with pytest.raises(errors.InvalidId, match="from 0 to"):
        index.search(query, filter=[-1])
    with pytest.raises(errors.ShapeError):
        index.search(query, filter=np.zeros((2, 2), bool))
    with pytest.raises(errors.ShapeError):
        index.search(query, filter=np.zeros((2, 2), int))
    with pytest.raises(errors.DtypeError, match="uint8"):
        IdBitmap(np.zeros(4, bool))
    with pytest.raises(errors.ShapeError):
        IdBitmap(np.zeros((2, 2), np.uint8))

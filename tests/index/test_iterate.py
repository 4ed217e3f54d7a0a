from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import CancelToken, Index, IndexParams, SearchPages, errors
from llmspell.config import ElementType, Metric
from llmspell.index import IdBitmap
from tests.index.vectors import METRICS, TYPES, clustered, scores_of

N = 3_000
PARAMS = {
    "flat": IndexParams(graph_threshold=1 << 30),
    "graph": IndexParams(m=8, graph_threshold=0),
    "coded": IndexParams(m=8, graph_threshold=0, quantization="pq"),
    "rounded": IndexParams(m=8, graph_threshold=0, quantization="sq4"),
}
KINDS = tuple(PARAMS)
QUERY = clustered(1, 24, 2)[0]


def _index(kind: str, metric: Metric = "ip", dtype: ElementType = "float32") -> Index:
    index = Index(dim=24, metric=metric, dtype=dtype, params=PARAMS[kind])
    index.add(np.arange(N), clustered(N, 24, 1))
    return index


def _all_ids(pages: SearchPages) -> list[int]:
    return [id for page in pages for id in page.ids.tolist()]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_vector_comes_once(kind: str, metric: Metric, dtype: ElementType) -> None:
    index = _index(kind, metric, dtype)
    pages = list(index.iterate(QUERY, 170))
    assert [len(page.ids) for page in pages] == [170] * (N // 170) + [N % 170]
    assert sorted(id for page in pages for id in page.ids.tolist()) == list(range(N))
    scores = dict(zip(*(part.tolist() for part in index.search(QUERY, N)), strict=True))
    for page in pages:
        assert (np.diff(page.scores) <= 0).all()
        # The last bit of a sum depends on how many rows a kernel takes at once.
        expected = [scores[id] for id in page.ids.tolist()]
        np.testing.assert_allclose(page.scores, expected, rtol=1e-5, atol=1e-5)


def test_pages_of_a_small_index_are_in_exact_order() -> None:
    index = _index("flat")
    scores = np.concatenate([page.scores for page in index.iterate(QUERY, 64)])
    assert (np.diff(scores) <= 0).all()
    np.testing.assert_allclose(scores, index.search(QUERY, N).scores, atol=1e-5)


@pytest.mark.parametrize("kind", ["graph", "coded"])
def test_first_pages_of_a_graph_hold_nearly_the_nearest(kind: str) -> None:
    index = _index(kind)
    queries = clustered(40, 24, 3)
    hits = 0
    for query, exact in zip(queries, scores_of("ip", queries, clustered(N, 24, 1)), strict=True):
        pages = index.iterate(query, 10)
        ids = [id for _ in range(20) for id in next(pages).ids.tolist()]
        assert len(set(ids)) == 200
        hits += len(set(ids) & set(np.argsort(-exact)[:200].tolist()))
    assert hits > 0.97 * 200 * len(queries)


def test_a_page_size_of_all_is_one_page() -> None:
    index = _index("graph")
    assert [len(page.ids) for page in index.iterate(QUERY, N)] == [N]
    assert [len(page.ids) for page in index.iterate(QUERY, 2**62)] == [N]


def test_empty_index_has_no_page() -> None:
    assert list(Index(dim=2, metric="l2").iterate([0.0, 0.0])) == []


@pytest.mark.parametrize("kept", [0.9, 0.2, 0.002])
@pytest.mark.parametrize("kind", KINDS)
def test_only_allowed_ones_come(kind: str, kept: float) -> None:
    index = _index(kind)
    mask = np.random.default_rng(3).random(N) < kept
    mask[7] = True
    allowed = np.flatnonzero(mask)
    bits = IdBitmap(np.packbits(mask, bitorder="little"))
    for filter in (mask, bits, allowed, [*allowed, 10**9, 7]):
        assert sorted(_all_ids(index.iterate(QUERY, 40, filter=filter))) == allowed.tolist()


def test_filter_and_query_are_copied() -> None:
    index = _index("graph")
    query, bits = QUERY.copy(), np.full(N // 8, 255, np.uint8)
    pages = index.iterate(query, 1_000, filter=IdBitmap(bits))
    query[:] = np.nan
    bits[:] = 0
    assert sorted(_all_ids(pages)) == list(range(N))


@pytest.mark.parametrize("kind", KINDS)
def test_deleted_vectors_do_not_come(kind: str) -> None:
    index = _index(kind)
    pages = index.iterate(QUERY, 50)
    seen = next(pages).ids.tolist()
    gone: set[int] = set()
    random = np.random.default_rng(5)
    for page in pages:
        assert not gone & set(page.ids.tolist())
        seen += page.ids.tolist()
        # Few at first, then enough for repairs and for rows to move.
        doomed = random.permutation(N)[: 5 if len(seen) < 500 else 120].tolist()
        index.delete(doomed)
        gone |= set(doomed)
    assert len(seen) == len(set(seen))
    assert set(range(N)) - gone <= set(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_added_vectors_come_too(kind: str) -> None:
    index = _index(kind)
    pages = index.iterate(QUERY, 100)
    seen = next(pages).ids.tolist()
    fresh = iter(np.array_split(np.arange(N, N + 1_000), 10))
    vectors = clustered(1_000, 24, 9)
    for page in pages:
        seen += page.ids.tolist()
        if (ids := next(fresh, None)) is not None:
            index.add(ids, vectors[ids - N])
    assert sorted(seen) == list(range(N + 1_000))


@pytest.mark.parametrize("kind", KINDS)
def test_replaced_vectors_come_once(kind: str) -> None:
    index = _index(kind)
    pages = index.iterate(QUERY, 100)
    seen = next(pages).ids.tolist()
    random = np.random.default_rng(6)
    for round_, page in enumerate(pages):
        seen += page.ids.tolist()
        assert len(seen) == len(set(seen))
        again = random.permutation(N)[:40]
        index.upsert(again, clustered(40, 24, 20 + round_))
    assert sorted(seen) == list(range(N))


@pytest.mark.parametrize("kind", KINDS)
def test_pages_go_on_when_everything_is_deleted_and_added_anew(kind: str) -> None:
    index = _index(kind)
    pages = index.iterate(QUERY, 100)
    first = next(pages).ids.tolist()
    index.delete(np.arange(N))
    index.add(np.arange(200), clustered(200, 24, 4))
    assert sorted(_all_ids(pages)) == sorted(set(range(200)) - set(first))


def test_pages_go_on_when_an_index_becomes_a_graph_and_is_none_again() -> None:
    index = Index(dim=24, metric="ip", params=IndexParams(m=8, graph_threshold=500))
    index.add(np.arange(400), clustered(400, 24, 1))
    pages = index.iterate(QUERY, 30)
    seen = next(pages).ids.tolist()
    index.add(np.arange(400, 1_000), clustered(600, 24, 3))
    assert index.stats().graph_nodes == 1_000
    seen += next(pages).ids.tolist()
    index.delete(np.arange(100, 1_000))
    assert index.stats().graph_nodes == 0
    seen += _all_ids(pages)
    assert len(seen) == len(set(seen))
    assert set(range(100)) <= set(seen)


def test_a_walk_outlives_the_name_of_its_index() -> None:
    index = _index("graph")
    pages = index.iterate(QUERY, 500)
    next(pages)
    del index
    assert len(_all_ids(pages)) == N - 500


def test_iterators_of_one_index_do_not_meet() -> None:
    index = _index("graph")
    alone = [page.ids.tolist() for page in index.iterate(QUERY, 200)]
    together = zip(index.iterate(QUERY, 200), index.iterate(-QUERY, 200), strict=True)
    assert [page.ids.tolist() for page, _ in together] == alone


def test_a_closed_iterator_has_ended() -> None:
    index = _index("graph")
    with index.iterate(QUERY, 10) as pages:
        assert len(next(pages).ids) == 10
    assert list(pages) == []
    pages.close()
    with pytest.raises(StopIteration):
        next(pages)


def test_a_page_that_is_given_up_can_be_asked_for_again() -> None:
    index = _index("graph")
    pages = index.iterate(QUERY, 10, timeout=0.0)
    for _ in range(2):
        with pytest.raises(errors.SearchTimeout):
            next(pages)
    token = CancelToken()
    pages = index.iterate(QUERY, 10, cancel=token)
    assert len(next(pages).ids) == 10
    token.cancel()
    with pytest.raises(errors.SearchCancelled):
        next(pages)


def test_threads_that_share_an_iterator_get_pages_of_their_own() -> None:
    index = _index("graph")
    pages = index.iterate(QUERY, 20)
    parts: list[list[int]] = [[], [], []]

    def take(part: list[int]) -> None:
        for page in pages:
            part += page.ids.tolist()

    threads = [threading.Thread(target=take, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(id for part in parts for id in part) == list(range(N))


def test_pages_beside_changes_repeat_nothing_and_miss_nothing() -> None:
    index = _index("graph")
    vectors: NDArray[np.float32] = clustered(4_000, 24, 9)
    done = threading.Event()

    def change() -> None:
        at = N
        while not done.is_set():
            ids = np.arange(at, at + 40)
            index.add(ids, vectors[(ids - N) % len(vectors)])
            index.delete(ids)
            at += 40

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(5):
            ids = _all_ids(index.iterate(QUERY, 150))
            assert len(ids) == len(set(ids))
            assert set(range(N)) <= set(ids)
    finally:
        done.set()
        changing.join()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"query": [0.0, 0.0], "page_size": 0}, errors.InputError),
        ({"query": [0.0, 0.0], "ef_search": -1}, errors.InputError),
        ({"query": [0.0]}, errors.DimensionMismatch),
        ({"query": [[0.0, 0.0]]}, errors.ShapeError),
        ({"query": [0.0, np.inf]}, errors.NonFiniteVector),
        ({"query": [0.0, 0.0], "filter": ["a"]}, errors.InvalidId),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    index = Index(dim=2, metric="l2")
    with pytest.raises(error):
        index.iterate(**arguments)


@pytest.mark.parametrize("kind", ["flat", "graph"])
def test_vectors_of_bits_come_once(kind: str) -> None:
    bits = np.random.default_rng(1).random((2_500, 61)) < 0.5
    index = Index(dim=61, metric="hamming", dtype="binary", params=PARAMS[kind])
    index.add(np.arange(2_500), bits)
    differ = (bits != bits[9]).sum(axis=1)
    pages = list(index.iterate(bits[9], 300))
    assert pages[0].ids[0] == 9
    assert sorted(id for page in pages for id in page.ids.tolist()) == list(range(2_500))
    for page in pages:
        assert page.distances.tolist() == differ[page.ids].tolist()

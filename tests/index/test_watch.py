"""Deadlines, cancellation and counters of searches. How often a walk looks at them is for
tests/csrc/test_watch.cpp."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from llmspell import CancelToken, Index, IndexParams, SearchCounters, errors
from tests.index.vectors import clustered

N = 3_000
PARAMS = {
    "flat": IndexParams(graph_threshold=1 << 30),
    "graph": IndexParams(m=8, graph_threshold=0),
    "coded": IndexParams(m=8, graph_threshold=0, quantization="pq"),
    "rounded": IndexParams(m=8, graph_threshold=0, quantization="sq4"),
}
QUERIES = clustered(8, 24, 2)


@pytest.fixture(scope="module", params=PARAMS)
def index(request: pytest.FixtureRequest) -> Index:
    made = Index(dim=24, metric="ip", params=PARAMS[str(request.param)])
    made.add(np.arange(N), clustered(N, 24, 1))
    return made


CALLS: dict[str, Callable[..., Any]] = {
    "search": lambda index, **watch: index.search(QUERIES[0], 10, **watch),
    "batch": lambda index, **watch: index.search(QUERIES, 10, threads=3, **watch),
    "filtered": lambda index, **watch: index.search(
        QUERIES[0], 10, filter=np.arange(N // 2), **watch
    ),
    "by_id": lambda index, **watch: index.search_by_id([1, 2], 10, **watch),
    "range": lambda index, **watch: index.range_search(QUERIES, 0.5, **watch),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_search_out_of_time_raises_and_the_index_goes_on(
    index: Index, call: Callable[..., Any]
) -> None:
    before = call(index)
    with pytest.raises(errors.SearchTimeout, match=r"timeout of 0 s") as caught:
        call(index, timeout=0.0)
    assert isinstance(caught.value, TimeoutError)
    after = call(index, timeout=3600)
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(call(index, timeout=float("inf")).ids, before.ids)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_cancelled_token_stops_every_search_it_is_given_to(
    index: Index, call: Callable[..., Any]
) -> None:
    token = CancelToken()
    before = call(index, cancel=token)
    assert not token.cancelled
    token.cancel()
    token.cancel()
    assert token.cancelled
    for _ in range(2):
        with pytest.raises(errors.SearchCancelled, match="token was cancelled"):
            call(index, cancel=token)
    np.testing.assert_array_equal(call(index, cancel=CancelToken()).ids, before.ids)


def test_another_thread_stops_a_search_that_runs() -> None:
    index = Index(dim=24, metric="ip", params=PARAMS["flat"])
    index.add(np.arange(N), clustered(N, 24, 1))
    token, started, caught = CancelToken(), threading.Event(), threading.Event()

    def search() -> None:
        started.set()
        with pytest.raises(errors.SearchCancelled):
            while True:
                index.search(clustered(1_000, 24, 3), 10, cancel=token)
        caught.set()

    searching = threading.Thread(target=search)
    searching.start()
    started.wait()
    token.cancel()
    searching.join()
    assert caught.is_set()


def test_a_search_that_waits_for_a_change_keeps_to_its_time() -> None:
    vectors = clustered(6_000, 64, 1)
    raised = 0
    # A search meets a change by chance: on a busy machine none may run beside one addition.
    while not raised:
        index = Index(dim=64, metric="ip", params=IndexParams(graph_threshold=0))
        adding = threading.Thread(target=index.add, args=(np.arange(6_000), vectors))
        adding.start()
        while adding.is_alive():
            try:
                index.search(vectors[0], timeout=0.001)
            except errors.SearchTimeout:
                raised += 1
        adding.join()
    assert index.search(vectors[0], 1).ids.tolist() == [0]


def _counted(index: Index, *arguments: Any, **options: Any) -> SearchCounters:
    counters = SearchCounters()
    index.search(*arguments, counters=counters, **options)
    return counters


def test_counters_tell_how_a_search_was_answered(index: Index) -> None:
    coded, graph = index.params.quantization != "none", index.params.graph_threshold == 0
    usual = "quantized" if coded else "graph" if graph else "exact"
    assert _counted(index, QUERIES[0], 10).strategy == usual
    assert _counted(index, QUERIES, 10).strategy == usual
    assert _counted(index, QUERIES[0], N).strategy == "exact"
    assert _counted(index, QUERIES[0], 10, filter=[1, 2, 3]).strategy == "exact"
    most = np.arange(N * 9 // 10)
    wide = _counted(index, QUERIES[0], 10, filter=most, ef_search=10).strategy
    assert wide == ("filtered-quantized" if coded else "filtered-graph" if graph else "exact")


def test_counters_of_a_sweep_are_its_rows() -> None:
    index = Index(dim=24, metric="ip")
    index.add(np.arange(500), clustered(500, 24, 1))
    assert _counted(index, QUERIES[0]) == SearchCounters(distances=500, strategy="exact")
    assert _counted(index, QUERIES, threads=2) == SearchCounters(distances=4_000, strategy="exact")
    assert _counted(index, QUERIES[0], filter=np.arange(40)) == SearchCounters(
        distances=40, strategy="exact"
    )


def test_counters_of_a_walk_grow_with_its_width() -> None:
    index = Index(dim=24, metric="ip", params=PARAMS["graph"])
    index.add(np.arange(N), clustered(N, 24, 1))
    narrow, wide = (_counted(index, QUERIES[0], 10, ef_search=ef) for ef in (20, 200))
    assert 20 <= narrow.visited < wide.visited <= N
    assert narrow.visited < narrow.distances < wide.distances < N
    assert narrow.reranked == wide.reranked == narrow.estimated == wide.estimated == 0


def test_counters_of_a_walk_by_four_bit_rows_tell_of_walk_and_order() -> None:
    index = Index(dim=24, metric="ip", params=PARAMS["rounded"])
    index.add(np.arange(N), clustered(N, 24, 1))
    narrow, wide = (_counted(index, QUERIES[0], 10, ef_search=ef) for ef in (20, 200))
    assert narrow.strategy == wide.strategy == "quantized"
    assert 20 <= narrow.visited < wide.visited <= N
    assert narrow.visited < narrow.estimated < wide.estimated < 2 * N
    assert narrow.distances == narrow.reranked and wide.distances == wide.reranked
    assert 10 <= narrow.reranked <= wide.reranked <= 200


def test_counters_of_a_walk_by_codes_tell_of_walk_and_order() -> None:
    index = Index(dim=24, metric="ip", params=PARAMS["coded"])
    index.add(np.arange(N), clustered(N, 24, 1))
    narrow, wide = (_counted(index, QUERIES[0], 10, ef_search=ef) for ef in (20, 500))
    for counters in (narrow, wide):
        assert counters.strategy == "quantized"
        assert counters.distances == counters.reranked
        assert 16 * counters.visited <= counters.estimated
    assert 5 < narrow.visited < wide.visited < N
    assert 10 <= narrow.reranked <= wide.reranked < N


@pytest.mark.parametrize("kept", [0.9, 0.2])
def test_counters_of_a_search_by_codes_under_a_filter_tell_of_its_way(kept: float) -> None:
    index = Index(dim=128, metric="ip", params=PARAMS["coded"])
    index.add(np.arange(N), clustered(N, 128, 1))
    counters = _counted(index, clustered(1, 128, 2)[0], 10, filter=np.arange(int(kept * N)))
    if kept == 0.9:
        assert counters.strategy == "filtered-quantized" and counters.visited > 0
        assert counters.estimated >= 16 * counters.visited
    else:
        assert counters.strategy == "quantized-sweep"
        assert kept * N <= counters.estimated < 2 * kept * N


def test_counters_are_of_the_last_call() -> None:
    index = Index(dim=24, metric="ip")
    index.add(np.arange(500), clustered(500, 24, 1))
    counters = SearchCounters()
    for _ in range(2):
        index.search(QUERIES[0], counters=counters)
    assert counters.distances == 500
    with pytest.raises(errors.SearchTimeout):
        index.search(QUERIES[0], counters=counters, timeout=0)
    assert counters == SearchCounters()


def test_nothing_to_search_is_no_strategy() -> None:
    assert _counted(Index(dim=24, metric="ip"), QUERIES[0]).strategy == "none"


def test_queries_that_are_answered_in_several_ways_are_mixed() -> None:
    index = Index(dim=24, metric="ip", params=PARAMS["graph"])
    vectors = clustered(N, 24, 1)
    index.add(np.arange(N), vectors)
    counters = SearchCounters()
    # The range holds a great part of all for one query, nothing for the other.
    index.range_search(np.stack([vectors[0] * 100, vectors[1] * 1e-6]), 1.0, counters=counters)
    assert counters.strategy == "mixed"


@pytest.mark.parametrize("value", [-1, -0.1, float("nan"), "1", True])
def test_timeout_that_is_no_time_is_refused(index: Index, value: Any) -> None:
    with pytest.raises(errors.InputError, match="timeout must be a number of seconds"):
        index.search(QUERIES[0], timeout=value)


def test_other_objects_are_refused_by_name(index: Index) -> None:
    with pytest.raises(errors.InputError, match="cancel must be a CancelToken, got Event"):
        index.search(QUERIES[0], cancel=threading.Event())  # type: ignore[arg-type]
    with pytest.raises(errors.InputError, match="counters must be a SearchCounters, got dict"):
        index.range_search(QUERIES[0], 0.0, counters={})  # type: ignore[arg-type]


def test_a_token_says_what_it_is() -> None:
    token = CancelToken()
    assert repr(token) == "CancelToken(cancelled=False)"
    token.cancel()
    assert repr(token) == "CancelToken(cancelled=True)"

"""Searches through tenants' handles beside the same searches of their indexes."""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import llmspell
from llmspell import Tenant

__all__ = ["SIDES", "Asked", "compare", "no_collector", "room_of"]

Query: TypeAlias = NDArray[np.float32]
_Call: TypeAlias = Callable[[Query], object]
_Latencies: TypeAlias = list[list[int]]

#: What is compared: the index alone, the handle, and the handle with ids and scores read.
SIDES = ("index", "tenant", "read")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which tenants are asked what: ``turns`` are numbers of tenants and their queries."""

    tenants: Sequence[Tenant]
    turns: Sequence[tuple[int, Query]]


def compare(
    db: llmspell.Database, asked: Asked, *, k: int, ef_search: int, threads: int, rounds: int
) -> dict[str, Any]:
    """Search on all sides; µs, medians over the rounds.

    On one thread the sides take turns, call by call, and those of a turn ask different queries, and
    other tenants where there are several, so that none finds in the cache what another has just
    read. Several threads make all calls of one side, each in an order of its own, then those of
    the next side.

    Raises:
        RuntimeError: a tenant was closed meanwhile, so that another index was searched.
    """
    indexes = [room_of(tenant).index for tenant in asked.tenants]
    calls = _calls(asked.tenants, indexes, k, ef_search)
    spreads: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    shares: list[dict[str, float]] = []
    _in_turn(calls, asked.turns)
    for number in range(rounds):
        before = _stage_sums(db)
        if threads == 1:
            latencies = _in_turn(calls, asked.turns)
            shares.append(_shares(latencies, before, _stage_sums(db)))
        else:
            latencies = [[] for _ in SIDES]
            for place in range(len(SIDES)):
                # Another side is first in each round, so that none has the warmer cache.
                which = (number + place) % len(SIDES)
                latencies[which], rate = _on_threads(calls[which], asked.turns, threads)
                rates[SIDES[which]].append(rate)
        for side, each in zip(SIDES, latencies, strict=True):
            spreads[side].append(_spread(each))
    if any(room_of(t).index is not i for t, i in zip(asked.tenants, indexes, strict=True)):
        raise RuntimeError("a tenant was closed and opened again; give the run a larger budget")
    found = {side: _medians(each) for side, each in spreads.items()}
    index, tenant = found["index"], found["tenant"]
    return {
        "ef_search": ef_search,
        "threads": threads,
        **{f"{side}_us": spread for side, spread in found.items()},
        "overhead_us": {name: round(tenant[name] - index[name], 2) for name in index},
        "overhead_percent": {
            name: round(100 * (tenant[name] / index[name] - 1), 2) for name in index
        },
        "qps": {side: round(statistics.median(each)) for side, each in rates.items() if each},
        "in_place_us": _medians(shares) if shares else None,
    }


def room_of(tenant: Tenant) -> Any:
    """The open room of a tenant; there is no other way to its index."""
    return tenant._enter()


@contextmanager
def no_collector() -> Iterator[None]:
    """Keep Python's garbage collector from the figures."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _calls(
    tenants: Sequence[Tenant], indexes: Sequence[Any], k: int, ef_search: int
) -> list[list[_Call]]:
    """A function of the query for each side and tenant."""

    def by_index(index: Any) -> _Call:
        return lambda query: index.search(query, k, ef_search=ef_search)

    def by_tenant(tenant: Tenant) -> _Call:
        return lambda query: tenant.search(query, k, ef_search=ef_search)

    def and_read(tenant: Tenant) -> _Call:
        def search(query: Query) -> object:
            hits = tenant.search(query, k, ef_search=ef_search)
            return [(hit.id, hit.score) for hit in hits]

        return search

    return [[*map(by_index, indexes)], [*map(by_tenant, tenants)], [*map(and_read, tenants)]]


def _in_turn(calls: Sequence[Sequence[_Call]], turns: Sequence[tuple[int, Query]]) -> _Latencies:
    """Latency of each call by side, in ns, the sides in turn."""
    clock = time.perf_counter_ns
    step = len(turns) // len(calls)
    latencies: _Latencies = [[] for _ in calls]
    with no_collector():
        for turn in range(len(turns)):
            for number, side in enumerate(calls):
                tenant, query = turns[(turn + number * step) % len(turns)]
                call = side[tenant]
                start = clock()
                call(query)
                latencies[number].append(clock() - start)
    return latencies


def _on_threads(
    calls: Sequence[_Call], turns: Sequence[tuple[int, Query]], threads: int
) -> tuple[list[int], float]:
    """Latency of each call of one side, in ns, and calls a second; each thread begins elsewhere."""
    clock = time.perf_counter_ns
    together = threading.Barrier(threads)
    latencies: _Latencies = [[] for _ in range(threads)]
    spans: list[tuple[int, int]] = []

    def work(number: int) -> None:
        first = number * len(turns) // threads
        own = [(calls[tenant], query) for tenant, query in (*turns[first:], *turns[:first])]
        note = latencies[number].append
        together.wait()
        begin = clock()
        for call, query in own:
            start = clock()
            call(query)
            note(clock() - start)
        spans.append((begin, clock()))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    with no_collector():
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    passed = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return [one for each in latencies for one in each], 1e9 * threads * len(turns) / passed


def _stage_sums(db: llmspell.Database) -> dict[str, int]:
    stages = db.instruments.stages
    return {"search": stages.search.sum_ns, "fetch": stages.fetch.sum_ns}


def _shares(
    latencies: _Latencies, before: dict[str, int], after: dict[str, int]
) -> dict[str, float]:
    """Where the mean goes: of the sides two search through the tenant, and one fetches."""
    _, tenant, read = map(statistics.fmean, latencies)
    spent = {name: (after[name] - before[name]) / len(latencies[0]) / 1e3 for name in after}
    search = spent["search"] / 2
    return {
        "search": search,
        "around it": tenant / 1e3 - search,
        "fetch": spent["fetch"],
        "read": (read - tenant) / 1e3 - spent["fetch"],
    }


def _spread(nanoseconds: Sequence[int]) -> dict[str, float]:
    p50, p99 = np.percentile(nanoseconds, (50, 99))
    mean = statistics.fmean(nanoseconds)
    return {"p50": float(p50) / 1e3, "p99": float(p99) / 1e3, "mean": mean / 1e3}


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(r[name] for r in rounds), 2) for name in rounds[0]}

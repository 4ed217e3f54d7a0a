"""What ``Tenant.search`` costs beyond ``Index.search``, and where that goes."""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import llmspell
from benchmarks import folders
from benchmarks.host import describe_host, write_result
from llmspell import IndexParams, QuotaLimits, Tenant, TenantConfig
from llmspell.quota import Quota

__all__ = ["add_arguments", "main", "run"]

Query = NDArray[np.float32]
_BATCH = 4_096
_TEXT = (
    "A passage of the length that a search result shows, so that reading it costs what it costs. "
)
_TEXT_CHARS = 400


def run(
    data: Path,
    *,
    k: int = 10,
    ef_search: Sequence[int] = (32, 100),
    m: int = 16,
    ef_construction: int = 200,
    quantization: Literal["none", "pq", "sq4"] = "none",
    rounds: int = 7,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Search one tenant through its handle and its index directly, in turn; JSON values.

    Both sides use the very same index object, so that graph and memory are equal. The two
    calls of a turn take different queries, so that neither finds the other's vectors in the
    cache. Figures are medians over the rounds.
    """
    host = describe_host()
    dataset = folders.load(data, limit=limit, seed=seed)
    queries = list(dataset.queries)
    params = IndexParams(m=m, ef_construction=ef_construction, quantization=quantization, seed=seed)
    with tempfile.TemporaryDirectory() as directory, llmspell.open(directory) as db:
        tenant = db.create_tenant(
            TenantConfig(
                id="bench",
                metric=dataset.metric,
                index=params,
                quotas=QuotaLimits(**_UNREACHED),
            )
        )
        _fill(tenant, dataset.base)
        searches = [
            _compare(db, tenant, queries, k=k, ef_search=ef, rounds=rounds) for ef in ef_search
        ]
        pieces = _pieces(tenant, queries, k=k, ef_search=ef_search[0], rounds=rounds)
    return {
        "benchmark": "tenant",
        "host": host,
        "dataset": dataset.describe(),
        "settings": {
            "k": k,
            "m": m,
            "ef_construction": ef_construction,
            "quantization": quantization,
            "rounds": rounds,
            "seed": seed,
            "text_characters": _TEXT_CHARS,
        },
        "searches": searches,
        "pieces_us": pieces,
    }


# Limits that are checked on every call, and never reached.
_UNREACHED: dict[str, Any] = {
    "max_documents": 1 << 30,
    "max_vectors": 1 << 30,
    "max_storage_mb": 1 << 20,
    "max_api_calls_per_minute": 1 << 30,
    "max_queries_per_second": 1 << 30,
    "max_embeddings_per_day": 1 << 30,
}


def _fill(tenant: Tenant, base: NDArray[np.float32]) -> None:
    text = (_TEXT * (_TEXT_CHARS // len(_TEXT) + 1))[:_TEXT_CHARS]
    for start in range(0, len(base), _BATCH):
        vectors = base[start : start + _BATCH]
        numbers = range(start, start + len(vectors))
        tenant.upsert(
            [f"passage-{n}" for n in numbers],
            vectors,
            metadata=[{"lang": "en", "number": n} for n in numbers],
            texts=[text] * len(vectors),
        )


def _compare(
    db: llmspell.Database,
    tenant: Tenant,
    queries: Sequence[Query],
    *,
    k: int,
    ef_search: int,
    rounds: int,
) -> dict[str, Any]:
    index = _room(tenant).index

    def by_index(query: Query) -> object:
        return index.search(query, k, ef_search=ef_search)

    def by_tenant(query: Query) -> object:
        return tenant.search(query, k, ef_search=ef_search)

    def and_read(query: Query) -> object:
        hits = tenant.search(query, k, ef_search=ef_search)
        return [(hit.id, hit.score) for hit in hits]

    calls = (by_index, by_tenant, and_read)
    spreads: list[list[dict[str, float]]] = [[] for _ in calls]
    shares: list[dict[str, float]] = []
    _in_turn(calls, queries)
    for _ in range(rounds):
        before = _stage_sums(db)
        latencies = _in_turn(calls, queries)
        after = _stage_sums(db)
        for spread, one in zip(spreads, latencies, strict=True):
            spread.append(_spread(one))
        # Two of the calls search through the tenant, one of them fetches.
        spent = {name: (after[name] - before[name]) / len(queries) / 1e3 for name in after}
        search = spent["search"] / 2
        shares.append(
            {
                "search": search,
                "around it": _mean_us(latencies[1]) - search,
                "fetch": spent["fetch"],
                "read": _mean_us(latencies[2]) - _mean_us(latencies[1]) - spent["fetch"],
            }
        )
    index_us, tenant_us, read_us = map(_medians, spreads)
    return {
        "ef_search": ef_search,
        "index_us": index_us,
        "tenant_us": tenant_us,
        "read_us": read_us,
        "overhead_us": {name: round(tenant_us[name] - index_us[name], 2) for name in index_us},
        "overhead_percent": {
            name: round(100 * (tenant_us[name] / index_us[name] - 1), 2) for name in index_us
        },
        "in_place_us": _medians(shares),
    }


def _mean_us(nanoseconds: Sequence[int]) -> float:
    """Mean in µs."""
    return statistics.fmean(nanoseconds) / 1e3


def _in_turn(
    calls: Sequence[Callable[[Query], object]], queries: Sequence[Query]
) -> list[list[int]]:
    """Latencies in ns of some calls, made in turn, each with all queries, those of a turn apart."""
    clock = time.perf_counter_ns
    step = len(queries) // len(calls)
    latencies: list[list[int]] = [[] for _ in calls]
    with _no_collector():
        for turn in range(len(queries)):
            for number, call in enumerate(calls):
                query = queries[(turn + number * step) % len(queries)]
                start = clock()
                call(query)
                latencies[number].append(clock() - start)
    return latencies


def _pieces(
    tenant: Tenant, queries: Sequence[Query], *, k: int, ef_search: int, rounds: int
) -> dict[str, float]:
    """µs a call of each step of ``Tenant.search``, one at a time and warm; then of reading hits.

    They reach into the handle, for there is no other way to call a step alone.
    """
    room = _room(tenant)
    charge_all, make_hit = tenant._slot.charge_all, tenant._hit
    timed = tenant._instruments.search.timed
    due = (int(Quota.API_CALLS), 1), (int(Quota.QUERIES), 1)
    answers = [room.index.search(query, k, ef_search=ef_search) for query in queries]
    rows = [ids.tolist() for ids, _ in answers]
    found = [room.search(query, k, ef_search, None, None, None) for query in queries]
    unread, unread_too = list[Any](), list[Any]()

    def count_and_time(_: object) -> None:
        with timed():
            pass

    steps: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
        "nothing": (lambda _: None, queries),
        "count and time": (count_and_time, queries),
        "charge a call and a query": (lambda _: charge_all(*due), queries),
        "look at the log's head": (lambda _: room.views.current(), queries),
        "keep the query": (lambda query: query.copy(), queries),
        "arrays to lists": (lambda a: (a[0].tolist(), a[1].tolist()), answers),
        "fetch the records": (room.fetch, rows),
        "make the hits": (lambda f: list(map(make_hit, *f)), found),
        "read ids and scores": (lambda h: [(x.id, x.score) for x in h], unread),
        "read ids, scores, texts, metadata": (
            lambda h: [(x.id, x.score, x.text, x.metadata) for x in h],
            unread_too,
        ),
    }
    timings: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        # Hits decode themselves when they are first read, so each reading takes new ones.
        for hits in (unread, unread_too):
            hits[:] = [tenant.search(query, k, ef_search=ef_search) for query in queries]
        for name, (step, inputs) in steps.items():
            timings[name].append(_per_call(step, inputs))
    medians = {name: statistics.median(times) for name, times in timings.items()}
    empty = medians.pop("nothing")
    return {name: round(spent - empty, 3) for name, spent in medians.items()}


def _per_call(step: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    with _no_collector():
        start = time.perf_counter_ns()
        for one in inputs:
            step(one)
        return (time.perf_counter_ns() - start) / len(inputs) / 1e3


@contextmanager
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _room(tenant: Tenant) -> Any:
    return tenant._enter()


def _stage_sums(db: llmspell.Database) -> dict[str, int]:
    stages = db.instruments.stages
    return {"search": stages.search.sum_ns, "fetch": stages.fetch.sum_ns}


def _spread(nanoseconds: Sequence[int]) -> dict[str, float]:
    p50, p99 = np.percentile(nanoseconds, (50, 99))
    return {"p50": float(p50) / 1e3, "p99": float(p99) / 1e3, "mean": _mean_us(nanoseconds)}


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(r[name] for r in rounds), 2) for name in rounds[0]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks tenant``."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--ef-search", default="32,100", help="one or more, with commas")
    parser.add_argument("--quantization", default="none", choices=("none", "pq", "sq4"))
    parser.add_argument("--limit", type=int, help="only that many vectors, drawn with the seed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(
        options.data,
        ef_search=[int(ef) for ef in options.ef_search.split(",")],
        quantization=options.quantization,
        rounds=options.rounds,
        limit=options.limit,
        seed=options.seed,
    )
    for search in result["searches"]:
        print(f"ef_search {search['ef_search']}:")
        for name in ("p50", "p99", "mean"):
            print(
                f"  {name:<5} index {search['index_us'][name]:8.1f} µs, tenant"
                f" {search['tenant_us'][name]:8.1f} µs: +{search['overhead_us'][name]:.1f} µs,"
                f" {search['overhead_percent'][name]:.1f} %"
            )
        spent = search["in_place_us"]
        print(f"  with ids and scores read: p50 {search['read_us']['p50']:.1f} µs")
        print("  means: " + ", ".join(f"{name} {us:.1f} µs" for name, us in spent.items()))
    print("each step alone, warm; reading comes after the search:")
    for name, spent in result["pieces_us"].items():
        print(f"  {spent:7.2f} µs  {name}")
    write_result(result, options.out)

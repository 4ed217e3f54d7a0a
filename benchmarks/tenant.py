"""What ``Tenant.search`` costs beyond ``Index.search``, and where that goes."""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import llmspell
from benchmarks import folders
from benchmarks.host import describe_host, write_result
from benchmarks.overhead import Asked, compare, no_collector, room_of
from benchmarks.process import say
from llmspell import Database, IndexParams, QuotaLimits, Tenant, TenantConfig
from llmspell.storage import ROOM_DESCRIPTORS
from llmspell.tenancy.hit import hit_maker

__all__ = ["add_arguments", "main", "run"]

Query = NDArray[np.float32]
_BATCH = 4_096
_TEXT = (
    "A passage of the length that a search result shows, so that reading it costs what it costs. "
)
_TEXT_CHARS = 400
#: Of address space, for each tenant.
_MAP_BYTES = 8 << 30
#: All tenants of a run are to stay open.
_BUDGET_BYTES = 1 << 40


def run(
    data: Path,
    *,
    tenants: Sequence[int] = (1, 1_000),
    threads: Sequence[int] = (1, 8),
    k: int = 10,
    ef_search: Sequence[int] = (32, 100),
    m: int = 16,
    ef_construction: int = 200,
    quantization: Literal["none", "pq", "sq4"] = "none",
    rounds: int = 7,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Search tenants through their handles and their indexes directly; JSON values.

    Both sides use the very same index objects, so that graphs and memory are equal. One tenant
    holds the whole dataset, and is searched alone. For each greater number in ``tenants`` the
    dataset is divided among as many others, which stay open: the one tenant is searched again,
    among them, and then they themselves, another one at each call.

    Args:
        data: dataset folder.
        tenants: 1 for the tenant alone, and numbers of others beside it.
        threads: how many search at once; see :func:`benchmarks.overhead.compare`.
        k, ef_search, m, ef_construction, quantization: of searches and indexes. An index of fewer
            vectors than ``graph_threshold`` answers by a sweep, whatever ``ef_search`` is.
        rounds: figures are medians over them.
        limit, seed: cut the dataset down to a draw.
    """
    host = describe_host()
    dataset = folders.load(data, limit=limit, seed=seed)
    queries = list(dataset.queries)
    index = IndexParams(m=m, ef_construction=ef_construction, quantization=quantization, seed=seed)

    def config(name: str) -> TenantConfig:
        quotas = QuotaLimits(**_UNREACHED)
        return TenantConfig(id=name, metric=dataset.metric, index=index, quotas=quotas)

    searches: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory, _open(directory, tenants) as db:
        whole = db.create_tenant(config("whole"))
        _fill(whole, dataset.base)
        opened = 1

        def measure(searched: str, asked: Asked, efs: Sequence[int]) -> None:
            for ef in efs:
                for number in threads:
                    say(f"tenant: {searched}, {opened} open, ef_search {ef}, {number} threads")
                    case = compare(db, asked, k=k, ef_search=ef, threads=number, rounds=rounds)
                    about = {"searched": searched, "open": opened}
                    vectors = -(-len(dataset.base) // len(asked.tenants))
                    searches.append({**about, "vectors": vectors, **case})

        alone = Asked(tenants=[whole], turns=[(0, query) for query in queries])
        if 1 in tenants:
            measure("one tenant", alone, ef_search)
        for number in sorted(set(tenants) - {1}):
            made = db.create_tenants([config(f"{number}-{i}") for i in range(number)])
            parts = [db.tenant(info.id) for info in made]
            for i, part in enumerate(parts):
                _fill(part, dataset.base[i::number])
            opened += number
            measure("one tenant", alone, ef_search)
            measure("all others in turn", _each(parts, queries, seed), ef_search[:1])
        pieces = _pieces(whole, queries, k=k, ef_search=ef_search[0], rounds=rounds)
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


def _open(directory: str, tenants: Sequence[int]) -> Database:
    """A database that closes none of its tenants."""
    needed = (ROOM_DESCRIPTORS + 1) * (sum(tenants) + 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    least = needed + 256
    if soft != resource.RLIM_INFINITY and soft < least:
        ceiling = least if hard == resource.RLIM_INFINITY else min(least, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    return llmspell.open(
        directory,
        map_size=_MAP_BYTES,
        max_open_bytes=_BUDGET_BYTES,
        max_open_descriptors=needed,
    )


def _each(tenants: Sequence[Tenant], queries: Sequence[Query], seed: int) -> Asked:
    """Each tenant as often as the others, in an order drawn with the seed; two passes at least."""
    passes = max(2, -(-len(queries) // len(tenants)))
    random = np.random.default_rng(seed)
    order = [int(i) for _ in range(passes) for i in random.permutation(len(tenants))]
    turns = [(tenant, queries[turn % len(queries)]) for turn, tenant in enumerate(order)]
    return Asked(tenants=tenants, turns=turns)


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


def _pieces(
    tenant: Tenant, queries: Sequence[Query], *, k: int, ef_search: int, rounds: int
) -> dict[str, float]:
    """µs a call of each step behind ``Tenant.search`` itself, warm: what reading the hits takes.

    They reach into the handle, for there is no other way to call a step alone.
    """
    room = room_of(tenant)
    make_hits = hit_maker(tenant.config.metric)
    answers = [room.index.search(query, k, ef_search=ef_search) for query in queries]
    rows = [ids.tolist() for ids, _ in answers]
    found = [room.finder.search(query, k, ef_search, None, None, None) for query in queries]
    unread, unread_too = list[Any](), list[Any]()
    steps: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
        "nothing": (lambda _: None, queries),
        "arrays to lists": (lambda a: (a[0].tolist(), a[1].tolist()), answers),
        "fetch the records": (room.store.fetch, rows),
        "make the hits": (lambda f: make_hits(*f), found),
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
    with no_collector():
        start = time.perf_counter_ns()
        for one in inputs:
            step(one)
        return (time.perf_counter_ns() - start) / len(inputs) / 1e3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks tenant``."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument(
        "--tenants", default="1,1000", help="1: a tenant alone; others: among as many; with commas"
    )
    parser.add_argument("--threads", default="1,8", help="one or more, with commas")
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
        tenants=[int(number) for number in options.tenants.split(",")],
        threads=[int(number) for number in options.threads.split(",")],
        ef_search=[int(ef) for ef in options.ef_search.split(",")],
        quantization=options.quantization,
        rounds=options.rounds,
        limit=options.limit,
        seed=options.seed,
    )
    for search in result["searches"]:
        print(
            f"{search['searched']}, {search['open']} open, {search['vectors']:,} vectors each, "
            f"ef_search {search['ef_search']}, {search['threads']} threads:"
        )
        for name in ("p50", "p99", "mean"):
            print(
                f"  {name:<5} index {search['index_us'][name]:8.1f} µs, tenant"
                f" {search['tenant_us'][name]:8.1f} µs: {search['overhead_us'][name]:+.1f} µs,"
                f" {search['overhead_percent'][name]:+.1f} %;"
                f" with ids and scores read {search['read_us'][name]:.1f} µs"
            )
        if search["qps"]:
            each = (f"{side} {qps:,}" for side, qps in search["qps"].items())
            print("  calls/s: " + ", ".join(each))
        if search["in_place_us"]:
            spent = search["in_place_us"].items()
            print("  means: " + ", ".join(f"{name} {us:.1f} µs" for name, us in spent))
    print("reading the hits, each step alone and warm:")
    for name, spent in result["pieces_us"].items():
        print(f"  {spent:7.2f} µs  {name}")
    write_result(result, options.out)

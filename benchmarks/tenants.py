"""Many tenants: making and opening them, what idle ones take, cold searches, eviction."""

from __future__ import annotations

import argparse
import gc
import os
import resource
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import llmspell
from benchmarks import folders
from benchmarks.host import describe_host, write_result
from benchmarks.memory import resident
from llmspell import Database, IndexParams, QuotaLimits, Tenant, TenantConfig
from llmspell.storage import ROOM_DESCRIPTORS, disk_bytes

__all__ = ["add_arguments", "main", "run"]

_BATCH = 10_000
_OPENINGS = 5
_COLD_ROUNDS = 7
#: Tracing is slow, and exact for as few.
_TRACED = 100
_TRACED_RUNS = 10
_EVICTED_DIM = 64
_EVICTED_ROWS = 500
#: Zipf's exponent of the load: of 1,000 tenants the first takes a seventh of it.
_ZIPF = 1.0


def run(
    *,
    tenants: int = 100_000,
    idle: int = 10_000,
    data: Path | None = None,
    cold: Sequence[int] = (10_000, 1_000_000),
    loaded: int = 1_000,
    open_share: float = 0.2,
    searches: int = 20_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure all; JSON values.

    Args:
        tenants: made in one directory.
        idle: of those that were used and closed again, for what they take.
        data: dataset folder of the cold searches, which are left out where it is None.
        cold: sizes of the tenants that are searched when they aren't open.
        loaded: tenants under a load that has a budget.
        open_share: how many of them the budget lets be open.
        searches: of that load.
        seed: of whatever is drawn.
    """
    return {
        "benchmark": "tenants",
        "host": describe_host(),
        "settings": {
            "tenants": tenants,
            "idle": idle,
            "loaded": loaded,
            "open_share": open_share,
            "searches": searches,
            "zipf_exponent": _ZIPF,
            "seed": seed,
        },
        "many": _many(tenants),
        "used": _used(idle, seed=seed),
        "cold": [] if data is None else [_cold(data, size, seed=seed) for size in cold],
        "load": _load(loaded, open_share=open_share, searches=searches, seed=seed),
    }


def _many(count: int) -> dict[str, Any]:
    """Make tenants at once, open their directory, and take a handle to each."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        with llmspell.open(root) as db:
            started = time.perf_counter()
            db.create_tenants([TenantConfig(id=f"tenant-{n}") for n in range(count)])
            made_s = time.perf_counter() - started
            one_by_one = _seconds_each(lambda n: db.create_tenant(TenantConfig(id=f"one-{n}")), 200)
        openings = []
        for _ in range(_OPENINGS):
            started = time.perf_counter()
            db = llmspell.open(root)
            openings.append(time.perf_counter() - started)
            db.close()
        with llmspell.open(root) as db:
            db.tenant("tenant-0").usage()
            before = _held()
            files = _descriptors(root)
            handles = [db.tenant(f"tenant-{n}") for n in range(count)]
            taken = (_held() - before) / count
            opened = _descriptors(root) - files
            del handles
        return {
            "create_s": round(made_s, 2),
            "create_per_s": round(count / made_s),
            "create_one_ms": round(one_by_one * 1e3, 2),
            "open_ms": round(statistics.median(openings) * 1e3, 1),
            "open_worst_ms": round(max(openings) * 1e3, 1),
            "handle_bytes": round(taken),
            "handle_descriptors": opened / count,
            "disk_bytes_each": round(disk_bytes(root) / count),
        }


def _used(count: int, *, seed: int) -> dict[str, Any]:
    """What tenants take that were written to, searched, and closed to make room for others.

    All are used twice, first by handles that are closed: what the process keeps from that isn't
    of tenants that idle. Allocators keep so much besides, and so differently from run to run, that
    resident memory is told apart from the bytes of what is allocated.
    """
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((10, 32), dtype=np.float32)
    limit = 8 * ROOM_DESCRIPTORS
    with (
        tempfile.TemporaryDirectory() as directory,
        llmspell.open(directory, max_open_descriptors=limit) as db,
    ):
        db.create_tenants([_config(f"tenant-{n}") for n in range(count)])

        def use(n: int) -> Tenant:
            tenant = db.tenant(f"tenant-{n}")
            tenant.upsert(range(10), vectors)
            tenant.search(vectors[0])
            return tenant

        for n in range(count):
            use(n).close()
        # As many rooms are open before as behind, for one takes far more than an idle tenant, and
        # the allocator has come to what it keeps.
        handles = [use(n) for n in range(count // 2)]
        before = _held()
        handles += [use(n) for n in range(count // 2, count)]
        taken = (_held() - before) / (count - count // 2)
        table = sys.getsizeof(db._house._residences) / count
        for handle in handles:
            handle.close()
        return {
            "bytes": round(_allocated(use, count) + table),
            "resident_bytes": round(taken),
            "open_descriptors": _room_descriptors(db),
            "budget_descriptors": limit,
            "disk_bytes_each": round(disk_bytes(Path(directory)) / count),
        }


def _allocated(use: Callable[[int], Tenant], count: int) -> float:
    """Bytes that Python allocates for a used tenant's handle when its room is closed again.

    Native objects lie within Python's; what C++ allocates for a room goes with the room. The median
    of several runs of tenants, for in one of them a table of all may grow.
    """
    size = min(count // _TRACED_RUNS, _TRACED)
    tracemalloc.start()
    handles: list[Tenant] = []
    taken = []
    for run in range(_TRACED_RUNS):
        before = tracemalloc.get_traced_memory()[0]
        handles += [use(n) for n in range(run * size, (run + 1) * size)]
        gc.collect()
        taken.append((tracemalloc.get_traced_memory()[0] - before) / size)
    tracemalloc.stop()
    # The first run's includes the rooms that are open at the end of each.
    return statistics.median(taken[1:])


def _cold(data: Path, size: int, *, seed: int) -> dict[str, Any]:
    """The first search of a tenant that isn't open, its hits read, and the one behind it."""
    dataset = folders.load(data, limit=size, seed=seed)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        with llmspell.open(root) as db:
            db.create_tenants([_config("other"), _config("cold", dataset.metric)])
            # So that nothing but the tenant is new to the process.
            other = db.tenant("other")
            other.upsert([0], np.ones(4))
            tenant = db.tenant("cold")
            for start in range(0, len(dataset.base), _BATCH):
                vectors = dataset.base[start : start + _BATCH]
                tenant.upsert(range(start, start + len(vectors)), vectors)
        timings: dict[str, list[float]] = {"cached": [], "dropped": [], "next": []}
        with llmspell.open(root) as db:
            _ = db.tenant("other").search(np.ones(4)).ids
            for turn in range(_COLD_ROUNDS):
                for state in ("cached", "dropped"):
                    if state == "dropped":
                        _drop_from_cache(root)
                    tenant = db.tenant("cold")
                    first, second = dataset.queries[2 * turn : 2 * turn + 2]
                    timings[state].append(_seconds(tenant, first))
                    if state == "cached":
                        timings["next"].append(_seconds(tenant, second))
                    tenant.close()
    spread = {f"{name}_ms": _spread_ms(spent) for name, spent in timings.items()}
    return {"dataset": dataset.describe(), "metric": dataset.metric, **spread}


def _load(count: int, *, open_share: float, searches: int, seed: int) -> dict[str, Any]:
    """Search tenants, some far more often than others, with a budget for a part of them."""
    random = np.random.default_rng(seed)
    rooms = max(int(count * open_share), 1)
    limit = rooms * ROOM_DESCRIPTORS
    _raise_limit(limit + 1_000)
    base = random.standard_normal((_EVICTED_ROWS, _EVICTED_DIM), dtype=np.float32)
    weights = 1.0 / np.arange(1, count + 1) ** _ZIPF
    order = random.permutation(count)
    drawn = order[random.choice(count, size=searches, p=weights / weights.sum())]
    with (
        tempfile.TemporaryDirectory() as directory,
        llmspell.open(directory, max_open_descriptors=limit) as db,
    ):
        db.create_tenants([_config(f"tenant-{n}") for n in range(count)])
        tenants = [db.tenant(f"tenant-{n}") for n in range(count)]
        for tenant in tenants:
            tenant.upsert(range(len(base)), base)
        warm: list[float] = []
        cold: list[float] = []
        most = 0
        started = time.perf_counter()
        for turn, number in enumerate(drawn.tolist()):
            tenant = tenants[number]
            is_open = tenant._room is not None
            spent = _seconds(tenant, base[turn % len(base)])
            (warm if is_open else cold).append(spent)
            if turn % 100 == 0:
                most = max(most, _room_descriptors(db))
        passed = time.perf_counter() - started
        return {
            "budget_rooms": rooms,
            "budget_descriptors": limit,
            "most_descriptors": most,
            "searches_per_s": round(searches / passed),
            "open_percent": round(100 * len(warm) / searches, 1),
            "open_ms": _spread_ms(warm),
            "opened_ms": _spread_ms(cold),
        }


def _config(name: str, metric: Any = "cosine") -> TenantConfig:
    return TenantConfig(id=name, metric=metric, index=IndexParams(), quotas=QuotaLimits.unlimited())


def _seconds(tenant: Tenant, query: NDArray[np.float32]) -> float:
    """Of a search whose hits are read."""
    started = time.perf_counter()
    _ = tenant.search(query).ids
    return time.perf_counter() - started


def _seconds_each(step: Any, times: int) -> float:
    started = time.perf_counter()
    for n in range(times):
        step(n)
    return (time.perf_counter() - started) / times


def _spread_ms(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    p50, p99 = np.percentile(seconds, (50, 99))
    return {name: round(float(s) * 1e3, 3) for name, s in (("p50", p50), ("p99", p99))}


def _held() -> int:
    """Bytes that the process holds of its own; the ledger's slots lie in a file."""
    now = resident()
    assert now is not None, "memory is read from /proc"
    return now.anonymous


def _descriptors(folder: Path) -> int:
    """Descriptors on files in a folder; what else the process opens meanwhile isn't counted."""
    inside = f"{os.path.realpath(folder)}/"
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link).startswith(inside) for link in links)


def _room_descriptors(db: Database) -> int:
    """Descriptors on files of tenants."""
    return _descriptors(Path(db.path) / "tenants")


def _drop_from_cache(root: Path) -> None:
    """Let the system forget what it has of the files in memory, as far as nobody maps them."""
    for path in root.rglob("tenants/*/*/*"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _raise_limit(wanted: int) -> None:
    """Let this process have that many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks tenants``."""
    parser.add_argument("--tenants", type=int, default=100_000, help="made in one directory")
    parser.add_argument("--idle", type=int, default=10_000, help="used, and closed again")
    parser.add_argument("--data", type=Path, help="dataset folder of the cold searches")
    parser.add_argument("--cold", default="10000,1000000", help="vectors, with commas")
    parser.add_argument("--loaded", type=int, default=1_000, help="tenants under a load")
    parser.add_argument("--searches", type=int, default=20_000, help="of that load")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(
        tenants=options.tenants,
        idle=options.idle,
        data=options.data,
        cold=[int(size) for size in options.cold.split(",")],
        loaded=options.loaded,
        searches=options.searches,
        seed=options.seed,
    )
    many, used, load = result["many"], result["used"], result["load"]
    print(f"{options.tenants:,} tenants made in {many['create_s']:.1f} s, one by itself in")
    print(f"{many['create_one_ms']:.2f} ms; their directory opens in {many['open_ms']:.0f} ms")
    print(f"a handle that was never used: {many['handle_bytes']:,} bytes, no descriptor")
    print(
        f"a handle that was, its tenant closed again: {used['bytes']:,} bytes,"
        f" {used['resident_bytes']:,} resident with what allocators keep"
    )
    for cold in result["cold"]:
        print(
            f"first search of {cold['dataset']['vectors']:,} vectors:"
            f" {cold['cached_ms']['p50']:.1f} ms, from disk {cold['dropped_ms']['p50']:.1f} ms"
        )
    print(
        f"{options.loaded:,} tenants, {load['budget_rooms']:,} of them open:"
        f" {load['searches_per_s']:,} searches/s, {load['open_percent']:.0f} % meet an open one"
        f" ({load['open_ms']['p50']:.2f} ms), the others open theirs"
        f" ({load['opened_ms']['p50']:.2f} ms); {load['most_descriptors']:,} descriptors"
        f" of {load['budget_descriptors']:,} at most"
    )
    write_result(result, options.out)

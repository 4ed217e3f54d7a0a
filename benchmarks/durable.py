"""Durable inserts, one by one and in batches, beside other stores and a bare fsync."""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import folders
from benchmarks.host import describe_host, write_result
from benchmarks.peers.base import PeerSpec
from benchmarks.process import PeerProcess, say
from benchmarks.stores.base import StoreSetup, load_store, parse
from benchmarks.syncs import SyncTrace

__all__ = ["STORES", "add_arguments", "main", "run"]

#: All but ours; the first is what the others are set beside.
STORES = ("file", "lmdb", "zvec", "lancedb", "chroma", "qdrant_edge")
DURABILITY = ("sync", "batch", "async")
#: Records an insert, and inserts a round.
BATCHES = ((1, 100), (100, 20), (10_000, 1))
THREADS = (1, 4, 16)
_WARMUP = 3
_SYNC_CALLS = 20
#: Vectors that are inserted, again from the start when they are used up.
_MOST_VECTORS = 20_000
#: With fewer calls the 99th percentile is the slowest call alone.
_LEAST_FOR_P99 = 100


def run(
    data: Path,
    *,
    stores: Sequence[PeerSpec],
    batches: Sequence[tuple[int, int]] = BATCHES,
    threads: Sequence[int] = THREADS,
    calls_a_thread: int = 50,
    rounds: int = 5,
    disk: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Insert into all stores in turn, round by round; JSON values.

    Each store and each size of batch has a process and an empty collection of its own, which
    grows with the rounds. Records are made in the store's own form before the clock starts. At
    the end a store must hold what was inserted. In processes of their own, under strace, the
    requests to sync are counted; and threads write to one tenant of ours at once.

    Args:
        data: dataset folder.
        stores: what to measure.
        batches: records an insert, and inserts a round.
        threads: how many write to one tenant at once.
        calls_a_thread: single inserts a round of each of these threads.
        rounds: p50 and records a second are medians over them, p99 is of all calls.
        disk: folder on the disk to measure; None means that of temporary files.
        limit: of the dataset's vectors.
        seed: of the draw.
    """
    host = describe_host()
    dataset = folders.load(data, limit=limit, seed=seed)
    setup = asdict(StoreSetup(dim=dataset.dim, metric=dataset.metric, scratch=""))
    with tempfile.TemporaryDirectory(dir=disk) as name:
        scratch = Path(name)
        filesystem = _filesystem(scratch)
        np.save(scratch / "vectors.npy", dataset.base[:_MOST_VECTORS])
        job = {"setup": setup, "vectors": str(scratch / "vectors.npy")}
        found = {spec: _describe(spec) for spec in stores}
        is_traced = SyncTrace.is_available()
        for spec in stores:
            found[spec].update(_syncs(spec, job, scratch, is_traced))
        present = [spec for spec in stores if found[spec]["error"] is None]
        for size, calls in batches:
            say(f"durable: {rounds} rounds of {calls} inserts of {size:,}")
            for spec, cell in _cells(present, job, scratch, rounds, size=size, calls=calls).items():
                found[spec]["inserts"].append(cell)
        _set_beside_fsync(found)
        concurrent = []
        for number in threads:
            ours = [spec for spec in present if spec.name == "llmspell"]
            say(f"durable: {number} threads")
            cells = _cells(ours, job, scratch, rounds, size=1, calls=calls_a_thread, threads=number)
            concurrent += [{"variant": spec.variant, **cell} for spec, cell in cells.items()]
    return {
        "benchmark": "durable",
        "host": host,
        "load_1min_after": round(os.getloadavg()[0], 2),
        "dataset": dataset.describe(),
        "settings": {
            "rounds": rounds,
            "inserts_a_round": {str(size): calls for size, calls in batches},
            "calls_a_thread": calls_a_thread,
            "filesystem": filesystem,
            "seed": seed,
        },
        "stores": list(found.values()),
        "concurrent": concurrent,
    }


def _describe(spec: PeerSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "variant": spec.variant,
        "version": None,
        "durable": load_store(spec.name).DURABLE,
        "error": None,
        "syncs_a_call": None,
        "inserts": [],
    }


def _syncs(
    spec: PeerSpec, job: Mapping[str, Any], scratch: Path, is_traced: bool
) -> dict[str, Any]:
    """The store's version, and its requests to sync for one single insert; or its failure."""
    trace = SyncTrace(scratch / f"syncs-{spec.name}-{spec.variant}.txt")
    with _started([spec], job, scratch, trace.command if is_traced else ()) as peers:
        (peer,) = peers.values()
        about = peer.attempt(do="about") or {}
        peer.attempt(do="insert", size=1, calls=_WARMUP)
        before = trace.counts() if is_traced and peer.error is None else None
        peer.attempt(do="insert", size=1, calls=_SYNC_CALLS)
        counts = None
        if before is not None and peer.error is None:
            asked = trace.counts() - before
            counts = {name: round(number / _SYNC_CALLS, 2) for name, number in asked.items()}
        return {**about, "error": peer.error, "syncs_a_call": counts}


def _cells(
    stores: Sequence[PeerSpec],
    job: Mapping[str, Any],
    scratch: Path,
    rounds: int,
    *,
    size: int,
    calls: int,
    threads: int = 1,
) -> dict[PeerSpec, dict[str, Any]]:
    """All rounds of one size of batch; the order of the stores rotates."""
    answers: dict[PeerSpec, list[dict[str, Any]]] = {spec: [] for spec in stores}
    with _started(stores, job, scratch) as peers:
        for peer in peers.values():
            peer.attempt(do="insert", size=1, calls=_WARMUP)
        for number in range(rounds):
            first = number % max(len(stores), 1)
            for spec in (*stores[first:], *stores[:first]):
                answer = peers[spec].attempt(do="insert", size=size, calls=calls, threads=threads)
                if answer is not None:
                    answers[spec].append(answer)
        for peer in peers.values():
            peer.attempt(do="check")
    shape = {"size": size, "threads": threads}
    return {
        spec: {**shape, "error": peers[spec].error, **_figures(answers[spec], size)}
        for spec in stores
    }


def _figures(answers: Sequence[dict[str, Any]], size: int) -> dict[str, Any]:
    if not answers:
        return {"calls": 0, "p50_ms": None, "p99_ms": None, "records_per_s": None}
    every = np.concatenate([answer["ms"] for answer in answers])
    p99 = float(np.percentile(every, 99)) if len(every) >= _LEAST_FOR_P99 else None
    rates = [size * len(answer["ms"]) / answer["seconds"] for answer in answers]
    return {
        "calls": len(every),
        "p50_ms": round(float(np.median([np.median(answer["ms"]) for answer in answers])), 4),
        "p99_ms": None if p99 is None else round(p99, 4),
        "slowest_ms": round(float(every.max()), 4),
        "records_per_s": round(float(np.median(rates)), 1),
    }


def _set_beside_fsync(found: Mapping[PeerSpec, dict[str, Any]]) -> None:
    """State p50 as a multiple of the bare fsync's of the same size, where that was measured."""
    bare = {
        cell["size"]: cell["p50_ms"]
        for store in found.values()
        if store["name"] == "file"
        for cell in store["inserts"]
    }
    for store in found.values():
        for cell in store["inserts"]:
            least, p50 = bare.get(cell["size"]), cell["p50_ms"]
            cell["of_fsync"] = round(p50 / least, 2) if least and p50 is not None else None


@contextmanager
def _started(
    stores: Sequence[PeerSpec],
    job: Mapping[str, Any],
    scratch: Path,
    before: Sequence[str] = (),
) -> Iterator[dict[PeerSpec, PeerProcess]]:
    peers: dict[PeerSpec, PeerProcess] = {}
    try:
        for spec in stores:
            peers[spec] = PeerProcess.start(spec, job, scratch, "durable_worker", before)
        yield peers
    finally:
        for peer in peers.values():
            peer.stop()


def _filesystem(folder: Path) -> str:
    """What the folder lies on, as ``stat`` names it."""
    command = ["stat", "--file-system", "--format=%T", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks durable``."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--stores", default=",".join(STORES), help="name[:variant],...")
    parser.add_argument("--durability", default=",".join(DURABILITY), help="of ours")
    parser.add_argument("--batches", default=",".join(str(size) for size, _ in BATCHES))
    parser.add_argument(
        "--calls",
        default=",".join(str(calls) for _, calls in BATCHES),
        help="inserts a round, one number for each of --batches",
    )
    parser.add_argument(
        "--threads",
        default=",".join(map(str, THREADS)),
        help="how many write to one tenant at once; one or more, with commas",
    )
    parser.add_argument("--calls-a-thread", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--disk", type=Path, help="folder on the disk to measure")
    parser.add_argument("--limit", type=int, help="only that many vectors, drawn with the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    ours = [f"llmspell:{one}" for one in options.durability.split(",") if one]
    others = [one for one in options.stores.split(",") if one]
    result = run(
        options.data,
        stores=[parse(one) for one in (*ours, *others)],
        batches=list(zip(_numbers(options.batches), _numbers(options.calls), strict=True)),
        threads=_numbers(options.threads),
        calls_a_thread=options.calls_a_thread,
        rounds=options.rounds,
        disk=options.disk,
        limit=options.limit,
        seed=options.seed,
    )
    for store in result["stores"]:
        name = f"{store['name']} {store['variant']}"
        if store["error"]:
            print(f"{name:<20} {store['error'].splitlines()[-1]}")
            continue
        print(f"{name:<20} asks to sync, a call: {store['syncs_a_call']}")
        for cell in store["inserts"]:
            print(f"{'':<20} by {cell['size']:>6,}: {_line(cell)}")
    for cell in result["concurrent"]:
        print(f"{cell['threads']} threads, {cell['variant']}: {_line(cell)}")
    write_result(result, options.out)


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",") if one]


def _line(cell: Mapping[str, Any]) -> str:
    if cell["p50_ms"] is None:
        return str(cell["error"])
    p99 = "" if cell["p99_ms"] is None else f", p99 {cell['p99_ms']:.2f}"
    beside = f", {cell['of_fsync']:.1f} fsyncs" if cell.get("of_fsync") else ""
    return f"p50 {cell['p50_ms']:.3f}{p99} ms{beside}, {cell['records_per_s']:,.0f} records/s"

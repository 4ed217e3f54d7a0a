"""Recall and speed of searches held to a set of allowed ids, beside peers that can do that."""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import curve, folders
from benchmarks.host import describe_host, write_result
from benchmarks.peers.base import PeerSpec, Setup
from benchmarks.process import PeerProcess, say
from benchmarks.recall import parse_peers
from benchmarks.selections import KEPT, KINDS, select
from benchmarks.sweep import Sweep, sweep

__all__ = ["TARGETS", "add_arguments", "main", "run"]

OURS = ("llmspell:float16", "llmspell:float16-pq")
PEERS = ("hnswlib", "faiss:flat", "exact")
EF_SEARCH = (10, 16, 24, 32, 48, 64, 96, 128, 200, 320, 512, 800)
TARGETS = (0.95, 0.99, 0.995, 0.999)
ENOUGH_RECALL = 0.9995


def run(
    data: Path,
    *,
    peers: Sequence[PeerSpec],
    kept: Sequence[float] = KEPT,
    kinds: Sequence[str] = KINDS,
    k: int = 10,
    m: int = 16,
    ef_construction: int = 200,
    ef_search: Sequence[int] = EF_SEARCH,
    rounds: int = 3,
    seconds: float = 0.3,
    warmup: int = 100,
    build_threads: int = 1,
    queries: int = 200,
    limit: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Measure ``peers`` unfiltered and under each case; the result as JSON values.

    As in :func:`benchmarks.recall.run`, each in its own process, one at a time. A query's set of
    allowed ids is made outside the timing, in the library's own form. Only the first ``queries``
    are asked under a set: some libraries take milliseconds for each.
    """
    host = describe_host()
    dataset = folders.load(data, limit=limit, seed=seed)
    setup = Setup(
        dim=dataset.dim,
        metric=dataset.metric,
        m=m,
        ef_construction=ef_construction,
        build_threads=build_threads,
        seed=seed,
        scratch="",
    )
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        np.save(scratch / "neighbors.npy", folders.exact_neighbors(dataset, k, cache))
        asked = dataclasses.replace(dataset, queries=dataset.queries[:queries])
        files = {}
        for kind in kinds:
            for share in kept:
                say(f"draw {kind} {100 * share:g} %")
                case = select(asked, kind, share, k, seed=seed, cache=cache)
                files[case.name] = scratch / f"{kind}-{share}.npz"
                case.save(files[case.name])
        description = dataset.describe()
        del dataset, asked
        job = {
            "data": str(data),
            "limit": limit,
            "neighbors": str(scratch / "neighbors.npy"),
            "k": k,
            "seconds": seconds,
            "warmup": warmup,
            "setup": dataclasses.asdict(setup),
        }
        running = [PeerProcess.start(spec, job, scratch, "filter_worker") for spec in peers]
        try:
            for peer in running:
                say(f"build {peer.spec}")
                peer.built = peer.attempt(do="build") or {}
            cases = [_unfiltered(running, ef_search, k, rounds)]
            for case_name, file in files.items():
                cases.append(_case(running, case_name, file, ef_search, k, rounds))
        finally:
            for peer in running:
                peer.stop()
    return {
        "benchmark": "filter",
        "host": host,
        "load_1min_after": round(os.getloadavg()[0], 2),
        "dataset": description,
        "settings": {
            "k": k,
            "m": m,
            "ef_construction": ef_construction,
            "build_threads": build_threads,
            "search_threads": 1,
            "rounds": rounds,
            "seconds_per_cell": seconds,
            "warmup_queries": warmup,
            "filtered_queries": queries,
            "seed": seed,
        },
        "peers": [
            {
                "name": peer.spec.name,
                "variant": peer.spec.variant,
                "error": peer.error,
                **peer.built,
                "cases": {case_name: curves[str(peer.spec)] for case_name, curves in cases},
            }
            for peer in running
        ],
    }


_Curves = tuple[str, dict[str, dict[str, Any]]]


def _unfiltered(
    running: Sequence[PeerProcess], ef_search: Sequence[int], k: int, rounds: int
) -> _Curves:
    sweeps = [Sweep(p, p.spec.settings(ef_search, k), ENOUGH_RECALL) for p in running]
    sweep(sweeps, rounds, lambda at: {"do": "measure", "setting": at}, "unfiltered, round")
    return "unfiltered", {str(one.peer.spec): one.describe(TARGETS) for one in sweeps}


def _case(
    running: Sequence[PeerProcess],
    name: str,
    file: Path,
    ef_search: Sequence[int],
    k: int,
    rounds: int,
) -> _Curves:
    for peer in running:
        peer.attempt(do="use", file=str(file))
    sweeps = [Sweep(p, p.spec.settings(ef_search, k), ENOUGH_RECALL) for p in running]
    sweep(sweeps, rounds, lambda at: {"do": "measure_filtered", "setting": at}, f"{name}, round")
    return name, {
        str(one.peer.spec): {**one.describe(TARGETS), "short": _fewest_short(one)} for one in sweeps
    }


def _fewest_short(one: Sweep) -> int | None:
    """Queries that were answered with too few, at the setting where they were fewest."""
    counts = [measured["short"] for rounds in one.rounds.values() for measured in rounds]
    return min(counts, default=None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks filter``."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--peers", default=",".join(PEERS), help="name[:variant],...")
    parser.add_argument("--ours", default=",".join(OURS), help="llmspell:dtype,...")
    parser.add_argument("--kept", default=",".join(map(str, KEPT)), help="shares allowed")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--queries", type=int, default=200, help="how many are asked filtered")
    parser.add_argument("--limit", type=int, help="only that many vectors, drawn with the seed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="least time per cell")
    parser.add_argument("--build-threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=folders.default_cache())


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print a table, write the JSON."""
    result = run(
        options.data,
        peers=parse_peers(options.ours, options.peers),
        kept=[float(share) for share in options.kept.split(",")],
        kinds=options.kinds.split(","),
        rounds=options.rounds,
        seconds=options.seconds,
        build_threads=options.build_threads,
        queries=options.queries,
        limit=options.limit,
        seed=options.seed,
        cache=options.cache,
    )
    print(_table(result))
    write_result(result, options.out)


def _table(result: dict[str, Any]) -> str:
    targets = [curve.label(target) for target in TARGETS]
    lines = []
    for case in result["peers"][0]["cases"]:
        lines.append(f"{case:<34}" + "".join(f"{'QPS @' + target:>12}" for target in targets))
        for peer in result["peers"]:
            readings = [peer["cases"][case]["at_recall"][target] for target in targets]
            cells = ["-" if reading is None else f"{reading['qps']:,.0f}" for reading in readings]
            name = f"{peer['name']}:{peer['variant']}"
            failed = " (failed)" if peer["error"] is not None else ""
            lines.append(f"  {name + failed:<32}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)

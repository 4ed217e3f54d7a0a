"""Recall and speed of llmspell and its peers on one dataset, in one run."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import curve, folders
from benchmarks.host import describe_host, write_result
from benchmarks.peers.base import PeerSpec, Setup
from benchmarks.process import PeerError, PeerProcess

__all__ = ["REFERENCE", "add_arguments", "main", "run"]

REFERENCE = "hnswlib"
PEERS = "hnswlib,usearch,faiss,rabitqlib"
OURS = (
    "llmspell:float32",
    "llmspell:float16",
    "llmspell:int8",
    "llmspell:float16-pq",
)
EF_SEARCH = (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512)
# A curve ends at the first setting that reaches this: nobody asks for the points beyond.
ENOUGH_RECALL = 0.997


def run(
    data: Path,
    *,
    peers: Sequence[PeerSpec],
    k: int = 10,
    m: int = 16,
    ef_construction: int = 200,
    ef_search: Sequence[int] = EF_SEARCH,
    rounds: int = 5,
    seconds: float = 0.3,
    warmup: int = 100,
    build_threads: int = 1,
    limit: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Measure ``peers`` side by side; the result as JSON values.

    Every peer lives in its own process and builds alone, one after the other. Then the
    settings are swept: for each round and each ``ef_search``, each peer answers all queries
    one at a time, in an order that rotates, while the others wait. Figures are medians over
    the rounds.
    """
    host = describe_host()
    dataset = folders.load(data, limit=limit, seed=seed)
    exact = folders.exact_neighbors(dataset, max(k, 100), cache)
    setup = Setup(
        dim=dataset.dim,
        metric=dataset.metric,
        m=m,
        ef_construction=ef_construction,
        build_threads=build_threads,
        seed=seed,
    )
    description = dataset.describe()
    del dataset
    with tempfile.TemporaryDirectory() as scratch:
        neighbors = Path(scratch) / "neighbors.npy"
        np.save(neighbors, exact)
        job = {
            "data": str(data),
            "limit": limit,
            "neighbors": str(neighbors),
            "k": k,
            "seconds": seconds,
            "warmup": warmup,
            "setup": asdict(setup),
        }
        running = [PeerProcess.start(spec, job, Path(scratch)) for spec in peers]
        try:
            _build_all(running)
            for number in range(rounds):
                _sweep(running, sorted(ef_search), k, number)
        finally:
            for peer in running:
                peer.stop()
    result = {
        "benchmark": "recall",
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
            "seed": seed,
        },
        "reference": REFERENCE,
        "peers": [_summary(peer) for peer in running],
    }
    _add_ratios(result)
    return result


def _build_all(running: Sequence[PeerProcess]) -> None:
    for peer in running:
        _say(f"build {peer.spec}")
        try:
            peer.built = peer.ask(do="build")
        except PeerError as failure:
            peer.error = str(failure)
            _say(f"{peer.spec} failed: {failure}")
        else:
            _say(f"  {peer.built['build']}, {peer.built['rss_growth_mib']} MiB")


def _sweep(running: Sequence[PeerProcess], settings: Sequence[int], k: int, number: int) -> None:
    for step, ef_search in enumerate(settings):
        if ef_search < k:
            continue
        turn = (number + step) % len(running)
        for peer in (*running[turn:], *running[:turn]):
            if not peer.wants(ef_search):
                continue
            try:
                measured = peer.ask(do="measure", ef_search=ef_search)
            except PeerError as failure:
                peer.error = str(failure)
                _say(f"{peer.spec} failed: {failure}")
                continue
            peer.rounds.setdefault(ef_search, []).append(measured)
            if measured["recall"] >= ENOUGH_RECALL and peer.finished_at is None:
                peer.finished_at = ef_search
            _say(
                f"round {number + 1} ef_search {ef_search:>3} {peer.spec!s:>18}"
                f" recall {measured['recall']:.4f} {measured['qps']:>8,.0f} QPS"
            )


def _summary(peer: PeerProcess) -> dict[str, Any]:
    points = [_point(ef_search, rounds) for ef_search, rounds in peer.rounds.items()]
    readings = {f"{target:.2f}": curve.at_recall(points, target) for target in curve.TARGETS}
    return {
        "name": peer.spec.name,
        "variant": peer.spec.variant,
        "error": peer.error,
        **peer.built,
        "points": [_rounded(asdict(point)) for point in points],
        "at_recall": {
            target: None if reading is None else _rounded(asdict(reading))
            for target, reading in readings.items()
        },
    }


def _point(ef_search: int, rounds: Sequence[dict[str, float]]) -> curve.Point:
    def middle(name: str) -> float:
        return statistics.median(measured[name] for measured in rounds)

    return curve.Point(
        ef_search=ef_search,
        recall=middle("recall"),
        qps=middle("qps"),
        qps_min=min(measured["qps"] for measured in rounds),
        qps_max=max(measured["qps"] for measured in rounds),
        p50_us=middle("p50_us"),
        p99_us=middle("p99_us"),
        cpu_share=middle("cpu_share"),
    )


def _add_ratios(result: dict[str, Any]) -> None:
    """QPS at each recall over the reference's, where both have a figure."""
    reference = next((p for p in result["peers"] if p["name"] == REFERENCE), None)
    for peer in result["peers"]:
        ratios = {}
        for target, reading in peer["at_recall"].items():
            base = None if reference is None else reference["at_recall"][target]
            if reading is not None and base is not None:
                ratios[target] = round(reading["qps"] / base["qps"], 3)
        peer[f"ratio_to_{REFERENCE}"] = ratios


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    digits = {"recall": 5, "cpu_share": 3, "ef_search": 1}
    return {
        name: round(value, digits.get(name, 2)) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks recall``."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--peers", default=PEERS, help="name[:variant],...")
    parser.add_argument("--ours", default=",".join(OURS), help="llmspell:dtype,...")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--limit", type=int, help="only that many vectors, drawn with the seed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="least time per cell")
    parser.add_argument("--build-threads", type=int, default=1)
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=folders.default_cache())


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print a table, write the JSON."""
    names = [name for name in f"{options.ours},{options.peers}".split(",") if name.strip()]
    result = run(
        options.data,
        peers=[PeerSpec.parse(name) for name in names],
        m=options.m,
        ef_construction=options.ef_construction,
        rounds=options.rounds,
        seconds=options.seconds,
        build_threads=options.build_threads,
        limit=options.limit,
        seed=options.seed,
        cache=options.cache,
    )
    print(_table(result))
    write_result(result, options.out)


def _table(result: dict[str, Any]) -> str:
    targets = [f"{target:.2f}" for target in curve.TARGETS]
    head = f"{'peer':<24}" + "".join(f"{'QPS @' + t:>12}{'ratio':>7}" for t in targets)
    lines = [head + f"{'p50 µs':>9}{'p99 µs':>9}{'build s':>9}{'CPU s':>8}{'MiB':>7}"]
    for peer in result["peers"]:
        label = f"{peer['name']}:{peer['variant']}"
        if peer["error"] is not None:
            lines.append(f"{label:<24}failed: {peer['error'].splitlines()[-1]}")
            continue
        line = f"{label:<24}"
        for target in targets:
            reading = peer["at_recall"][target]
            ratio = peer[f"ratio_to_{REFERENCE}"].get(target)
            line += f"{'-' if reading is None else format(reading['qps'], ',.0f'):>12}"
            line += f"{'-' if ratio is None else format(ratio, '.2f'):>7}"
        reading = peer["at_recall"]["0.95"]
        for name in ("p50_us", "p99_us"):
            line += f"{'-' if reading is None else format(reading[name], '.0f'):>9}"
        line += f"{peer['build']['wall_s']:>9.1f}{peer['build']['cpu_s']:>8.1f}"
        memory = peer["rss_growth_mib"]
        lines.append(line + f"{'-' if memory is None else format(memory, '.0f'):>7}")
    return "\n".join(lines)

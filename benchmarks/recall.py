"""Recall and speed of llmspell and its peers on one dataset, in one run."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import curve, folders
from benchmarks.host import describe_host, write_result
from benchmarks.peers.base import PeerSpec, Setup
from benchmarks.process import PeerProcess, say
from benchmarks.sweep import Sweep, rounded, sweep

__all__ = ["EF_SEARCH", "OURS", "PEERS", "REFERENCE", "add_arguments", "main", "parse_peers", "run"]

REFERENCE = "hnswlib"
PEERS = (
    *("hnswlib", "usearch:f16", "faiss:flat", "faiss:sq8"),
    *("rabitqlib:symqg32", "rabitqlib:symqg64", "rabitqlib:hnsw8"),
    *("glass", "svs", "vsag", "zvec", "scann", "alayalite", "voyager", "ngt"),
)
OURS = (
    "llmspell:float32",
    "llmspell:float16",
    "llmspell:int8",
    "llmspell:float16-pq",
    "llmspell:float16-pq-mapped",
    "llmspell:float16-sq4",
    "llmspell:float16-sq4-mapped",
)
EF_SEARCH = (
    *(10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512),
    *(640, 800, 1024),
)
ENOUGH_RECALL = 0.997
# Where builds with other numbers of threads are compared for quality.
QUALITY_AT = 64


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
    build_threads: Sequence[int] = (1,),
    batch_threads: int = 2,
    limit: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Measure ``peers`` side by side; the result as JSON values.

    Every peer lives in its own process and builds alone, one after the other. Then the
    settings are swept: for each round and each setting, each peer answers all queries one at
    a time, in an order that rotates, while the others wait; then the same with all queries as
    one batch. Figures are medians over the rounds. At last each index is saved and opened in
    a fresh process, and built again with the other numbers of threads.

    Args:
        data: dataset folder.
        peers: what to measure.
        k: neighbours asked for.
        m: links of a vector.
        ef_construction: width of the search in a build.
        ef_search: values of the search parameter; those below ``k`` are left out.
        rounds: how often everything is timed.
        seconds: least time for one setting of one peer.
        warmup: queries before the clock starts.
        build_threads: the index built with the first is searched.
        batch_threads: 0 leaves batches out.
        limit: see :func:`benchmarks.folders.load`.
        seed: of every draw.
        cache: where exact neighbours are kept.
    """
    host = describe_host()
    dataset = folders.load(data, limit=limit, seed=seed)
    exact = folders.exact_neighbors(dataset, max(k, 100), cache)
    description = dataset.describe()
    del dataset
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        np.save(scratch / "neighbors.npy", exact)
        setup = Setup(
            dim=description["dim"],
            metric=description["metric"],
            m=m,
            ef_construction=ef_construction,
            build_threads=build_threads[0],
            seed=seed,
            scratch="",
        )
        job = {
            "data": str(data),
            "limit": limit,
            "vectors": description["vectors"],
            "neighbors": str(scratch / "neighbors.npy"),
            "k": k,
            "seconds": seconds,
            "warmup": warmup,
            "setup": asdict(setup),
        }
        running = [PeerProcess.start(spec, job, scratch) for spec in peers]
        singles = [Sweep(p, p.spec.settings(ef_search, k), ENOUGH_RECALL) for p in running]
        batches = [Sweep(p, p.spec.settings(ef_search, k), ENOUGH_RECALL) for p in running]
        try:
            _build_all(running)
            sweep(singles, rounds, lambda at: {"do": "measure", "setting": at}, "round")
            if batch_threads:
                sweep(
                    batches,
                    rounds,
                    lambda at: {"do": "measure_batch", "setting": at, "threads": batch_threads},
                    f"batches on {batch_threads} threads, round",
                )
            loads = [_save_and_load(peer, job, scratch) for peer in running]
        finally:
            for peer in running:
                peer.stop()
        builds = [_other_builds(one, job, scratch, build_threads) for one in singles]
    result = {
        "benchmark": "recall",
        "host": host,
        "load_1min_after": round(os.getloadavg()[0], 2),
        "dataset": description,
        "settings": {
            "k": k,
            "m": m,
            "ef_construction": ef_construction,
            "build_threads": build_threads[0],
            "search_threads": 1,
            "batch_threads": batch_threads,
            "rounds": rounds,
            "seconds_per_cell": seconds,
            "warmup_queries": warmup,
            "seed": seed,
        },
        "reference": REFERENCE,
        "peers": [
            {
                "name": single.peer.spec.name,
                "variant": single.peer.spec.variant,
                "error": single.peer.error,
                **single.peer.built,
                **single.describe(curve.TARGETS),
                "batches": batch.describe(curve.TARGETS) if batch_threads else None,
                "load": load,
                "builds": built,
            }
            for single, batch, load, built in zip(singles, batches, loads, builds, strict=True)
        ],
    }
    _add_ratios(result)
    return result


def _build_all(running: Sequence[PeerProcess]) -> None:
    for peer in running:
        say(f"build {peer.spec}")
        answer = peer.attempt(do="build")
        if answer is not None:
            peer.built = answer
            say(f"  {answer['build']}, {answer['memory']}")


def _save_and_load(
    peer: PeerProcess, job: Mapping[str, Any], scratch: Path
) -> dict[str, Any] | None:
    """Save the index, open it in a fresh process; a failure here keeps the peer's curve."""
    if peer.error is not None:
        return None
    say(f"save and open {peer.spec}")
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        saved = peer.attempt(do="save", folder=folder)
        if saved is None:
            return _failed(peer)
        setting = peer.spec.settings((QUALITY_AT,), 1)[0]
        fresh = PeerProcess.start(peer.spec, {**job, "load_setting": setting}, scratch)
        try:
            loaded = fresh.attempt(do="load", folder=folder)
        finally:
            fresh.stop()
        return _failed(fresh) if loaded is None else {**saved, **loaded, "error": None}


def _failed(peer: PeerProcess) -> dict[str, Any]:
    said, peer.error = peer.error, None
    return {"error": said}


def _other_builds(
    one: Sweep, job: Mapping[str, Any], scratch: Path, threads: Sequence[int]
) -> list[dict[str, Any]]:
    """What a build takes with each number of threads, and the recall that it gives.

    The recall is read at one setting near the middle of the curve, the same for all.
    """
    if one.peer.error is not None or not one.rounds:
        return []
    setting = min(one.rounds, key=lambda at: (abs(at - QUALITY_AT), at))
    known = {"setting": setting, "recall": round(one.rounds[setting][0]["recall"], 5)}
    builds = [{**one.peer.built["build"], **known}]
    for number in threads[1:]:
        say(f"build {one.peer.spec} on {number} threads")
        setup = {**job["setup"], "build_threads": number}
        peer = PeerProcess.start(one.peer.spec, {**job, "setup": setup, "seconds": 0}, scratch)
        try:
            built = peer.attempt(do="build")
            measured = peer.attempt(do="measure", setting=setting)
        finally:
            peer.stop()
        if built is None or measured is None:
            builds.append({"threads": number, "error": peer.error})
        else:
            found = rounded({"setting": setting, "recall": measured["recall"]})
            builds.append({**built["build"], **found})
    return builds


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks recall``."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--peers", default=",".join(PEERS), help="name[:variant],...")
    parser.add_argument("--ours", default=",".join(OURS), help="llmspell:dtype,...")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--limit", type=int, help="only that many vectors, drawn with the seed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="least time per cell")
    parser.add_argument(
        "--build-threads", default="1", help="one or several, as 2,1; the first build is searched"
    )
    parser.add_argument("--batch-threads", type=int, default=2, help="0 leaves batches out")
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=folders.default_cache())


def parse_peers(*lists: str) -> list[PeerSpec]:
    """Peers named in comma-separated lists."""
    return [PeerSpec.parse(name) for name in ",".join(lists).split(",") if name.strip()]


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print a table, write the JSON."""
    result = run(
        options.data,
        peers=parse_peers(options.ours, options.peers),
        m=options.m,
        ef_construction=options.ef_construction,
        rounds=options.rounds,
        seconds=options.seconds,
        build_threads=[int(number) for number in options.build_threads.split(",")],
        batch_threads=options.batch_threads,
        limit=options.limit,
        seed=options.seed,
        cache=options.cache,
    )
    print(_table(result))
    write_result(result, options.out)


def _table(result: dict[str, Any]) -> str:
    targets = [curve.label(target) for target in curve.TARGETS]
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
        memory = peer["memory"]
        lines.append(
            line + f"{'-' if memory is None else format(memory['anonymous_mib'], '.0f'):>7}"
        )
    return "\n".join(lines)

"""Content replaced several times over: recall, speed and memory beside a fresh build's."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import folders
from benchmarks.host import describe_host, write_result
from benchmarks.peers.base import PeerSpec, Setup
from benchmarks.process import PeerProcess, say
from benchmarks.recall import parse_peers
from benchmarks.sweep import rounded

__all__ = ["add_arguments", "main", "run"]

OURS = ("llmspell:float16", "llmspell:float16-pq")
PEERS = ("hnswlib", "usearch:f16", "svs:dynamic")
EF_SEARCH = (16, 32, 64, 128, 256)
SELF_SAMPLE = 500


def run(
    data: Path,
    *,
    peers: Sequence[PeerSpec],
    turns: int = 5,
    steps: int = 10,
    threads: Sequence[int] = (1, 2),
    k: int = 10,
    m: int = 16,
    ef_construction: int = 200,
    ef_search: Sequence[int] = EF_SEARCH,
    seconds: float = 0.3,
    limit: int | None = None,
    seed: int = 0,
    mixed: bool = False,
    self_sample: int = SELF_SAMPLE,
) -> dict[str, Any]:
    """Fill each index with half of the dataset, then replace all of it ``turns`` times.

    Steps are equal, deletes before inserts, or ``mixed``: of many sizes, every other one the other
    way round. ``self_sample`` vectors are asked whether each finds itself.
    After each turn recall is compared with the exact neighbours of what is then in the index.
    At the end a fresh process builds an index of the same content. Each number of threads has a
    process of its own, which builds and inserts with as many; peers run one after the other.
    """
    host = describe_host()
    dataset = folders.load(data, limit=limit, seed=seed)
    description = dataset.describe()
    setup = Setup(
        dim=dataset.dim,
        metric=dataset.metric,
        m=m,
        ef_construction=ef_construction,
        build_threads=1,
        seed=seed,
        scratch="",
        changing=True,
    )
    del dataset
    live = description["vectors"] // 2
    job = {
        **{"data": str(data), "limit": limit, "k": k, "seconds": seconds, "setup": asdict(setup)},
        "self_sample": self_sample,
    }
    runs = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        first = np.random.default_rng(seed).permutation(description["vectors"])[:live]
        np.save(scratch / "first.npy", first)
        for spec in peers:
            for number in threads:
                say(f"stream {spec} on {number} threads")
                runs.append(_run(spec, job, number, turns, steps, mixed, ef_search, scratch))
    return {
        "benchmark": "stream",
        "host": host,
        "load_1min_after": round(os.getloadavg()[0], 2),
        "dataset": description,
        "settings": {
            "live_vectors": live,
            "turns": turns,
            "steps_a_turn": "mixed" if mixed else steps,
            "self_sample": self_sample,
            "k": k,
            "m": m,
            "ef_construction": ef_construction,
            "search_threads": 1,
            "seconds_per_cell": seconds,
            "seed": seed,
        },
        "runs": runs,
    }


def _run(
    spec: PeerSpec,
    job: Mapping[str, Any],
    threads: int,
    turns: int,
    steps: int,
    mixed: bool,
    ef_search: Sequence[int],
    scratch: Path,
) -> dict[str, Any]:
    """One peer on one number of threads: the stream, then the fresh build."""
    job = {**job, "setup": {**job["setup"], "build_threads": threads}}
    settings = spec.settings(ef_search, job["k"])
    rows = scratch / f"rows-{spec.name}-{spec.variant}-{threads}.npy"
    done: list[dict[str, Any]] = []
    peer = PeerProcess.start(spec, job, scratch, "stream_worker")
    try:
        peer.built = peer.attempt(do="begin", rows=str(scratch / "first.npy")) or {}
        for number in range(turns):
            changed = peer.attempt(do="turn", steps=steps, threads=threads, mixed=mixed)
            state = peer.attempt(do="state", settings=settings)
            if changed is None or state is None:
                break
            done.append({**changed, **_digits(state)})
            say(f"  turn {number + 1}: {changed}, self-found {state['self_found']:.4f}")
        peer.attempt(do="save_rows", file=str(rows))
    finally:
        peer.stop()
    return {
        "name": spec.name,
        "variant": spec.variant,
        "threads": threads,
        "error": peer.error,
        **peer.built,
        "turns": done,
        "fresh": None if peer.error else _fresh(spec, job, rows, settings, scratch),
    }


def _fresh(
    spec: PeerSpec, job: Mapping[str, Any], rows: Path, settings: Sequence[int], scratch: Path
) -> dict[str, Any]:
    peer = PeerProcess.start(spec, job, scratch, "stream_worker")
    try:
        built = peer.attempt(do="begin", rows=str(rows))
        state = peer.attempt(do="state", settings=list(settings))
    finally:
        peer.stop()
    if built is None or state is None:
        return {"error": peer.error}
    return {"error": None, "build": built["build"], **_digits(state)}


def _digits(state: Mapping[str, Any]) -> dict[str, Any]:
    return {**state, "points": [rounded(point) for point in state["points"]]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks stream``."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--peers", default=",".join(PEERS), help="name[:variant],...")
    parser.add_argument("--ours", default=",".join(OURS), help="llmspell:dtype,...")
    parser.add_argument("--turns", type=int, default=5, help="how often all is replaced")
    parser.add_argument("--steps", type=int, default=10, help="deletes and inserts a turn")
    parser.add_argument(
        "--mixed",
        action="store_true",
        help="steps of many sizes in place of these, every other one inserting first",
    )
    parser.add_argument(
        "--self-sample", type=int, default=SELF_SAMPLE, help="vectors asked for themselves"
    )
    parser.add_argument("--threads", default="1,2", help="of builds and inserts, one run each")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--limit", type=int, help="only that many vectors, drawn with the seed")
    parser.add_argument("--seconds", type=float, default=0.3, help="least time per cell")
    parser.add_argument("--seed", type=int, default=0)


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print a table, write the JSON."""
    result = run(
        options.data,
        peers=parse_peers(options.ours, options.peers),
        turns=options.turns,
        steps=options.steps,
        threads=[int(number) for number in options.threads.split(",")],
        seconds=options.seconds,
        limit=options.limit,
        seed=options.seed,
        mixed=options.mixed,
        self_sample=options.self_sample,
    )
    print(_table(result))
    write_result(result, options.out)


def _table(result: dict[str, Any]) -> str:
    head = f"{'peer':<24}{'threads':>8}{'inserts/s':>11}{'deletes/s':>11}{'recall @64':>12}"
    lines = [head + f"{'fresh':>9}{'self':>8}{'MiB':>8}{'fresh':>8}"]
    for one in result["runs"]:
        line = f"{one['name']}:{one['variant']}"
        line = f"{line:<24}{one['threads']:>8}"
        if one["error"] is not None or one["fresh"]["error"] is not None:
            said = one["error"] or one["fresh"]["error"]
            lines.append(f"{line} failed: {said.splitlines()[-1]}")
            continue
        last, fresh = one["turns"][-1], one["fresh"]
        line += f"{last['inserts_per_s']:>11,.0f}{last['deletes_per_s']:>11,.0f}"
        line += f"{_recall_at(last, 64):>12.4f}{_recall_at(fresh, 64):>9.4f}"
        line += f"{last['self_found']:>8.3f}"
        for state in (last, fresh):
            memory = state["memory"]
            line += f"{'-' if memory is None else format(memory['anonymous_mib'], '.0f'):>8}"
        lines.append(line)
    return "\n".join(lines)


def _recall_at(state: dict[str, Any], setting: int) -> float:
    """Recall at the measured setting nearest to ``setting``."""
    nearest = min(state["points"], key=lambda point: abs(point["ef_search"] - setting))
    return float(nearest["recall"])

"""Recall that is asked for, and recall that is reached on queries the index has not seen."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks import folders
from benchmarks.curve import label
from benchmarks.host import describe_host, write_result
from benchmarks.process import say
from llmspell import Index, IndexParams, RecallCurve
from llmspell.config import Quantization

__all__ = ["TARGETS", "add_arguments", "main", "run"]

TARGETS = (0.90, 0.95, 0.98, 0.99)
# One query in four is recorded, and 256 are needed.
ENOUGH_SHOWN = 2_048


def run(
    data: Path,
    *,
    quantizations: Sequence[Quantization] = ("none", "pq"),
    ks: Sequence[int] = (1, 10, 100),
    targets: Sequence[float] = TARGETS,
    threads: int = 1,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure one dataset; the result as JSON values.

    Curves are measured by an index's own vectors first, and again after half of the queries, drawn
    with ``seed``, came in until enough of them were recorded. Only then the other half is asked, at
    the widths that those curves give for each target.

    Args:
        data: dataset folder.
        quantizations: one index for each.
        ks: neighbours asked for.
        targets: recalls asked for.
        threads: to build and to calibrate with.
        limit: see :func:`benchmarks.folders.load`.
        seed: of every draw.
    """
    host = describe_host()
    dataset = folders.load(data, limit=limit, seed=seed)
    drawn = np.random.default_rng(seed).permutation(len(dataset.queries))
    shown, unseen = np.array_split(dataset.queries[drawn], 2)
    shown = np.resize(shown, (ENOUGH_SHOWN, dataset.dim))
    cases = []
    for quantization in quantizations:
        say(f"build {quantization}")
        index = Index(
            dim=dataset.dim,
            metric=dataset.metric,
            dtype="float16",
            params=IndexParams(quantization=quantization),
        )
        index.add(np.arange(len(dataset.base)), dataset.base, threads=threads)
        curves = []
        for by_queries in (False, True):
            if by_queries:
                index.search(shown, 1, ef_search=1)
            for k in ks:
                say(f"calibrate {quantization} k={k}")
                curves.append(_calibrate(index, k, max(targets), threads))
        for seconds, curve in curves:
            say(f"ask {quantization} k={curve.k}")
            case = _case(index, curve, targets, unseen)
            cases.append({**case, "calibration_s": round(seconds, 2)})
    return {
        "benchmark": "calibration",
        "host": host,
        "load_1min_after": round(os.getloadavg()[0], 2),
        "dataset": dataset.describe(),
        "settings": {"threads": threads, "unseen_queries": len(unseen), "seed": seed},
        "cases": cases,
    }


def _calibrate(index: Index, k: int, recall: float, threads: int) -> tuple[float, RecallCurve]:
    begin = time.monotonic()
    index.calibrate(k, recall=recall, threads=threads)
    seconds = time.monotonic() - begin
    return seconds, next(curve for curve in index.calibration() if curve.k == k)


def _case(
    index: Index, curve: RecallCurve, targets: Sequence[float], unseen: NDArray[np.float32]
) -> dict[str, Any]:
    exact = index.search(unseen, curve.k, recall=1.0).ids
    reached: dict[str, Any] = {}
    for target in targets:
        width = curve.width_for(target)
        begin = time.monotonic()
        found = (
            index.search(unseen, curve.k, recall=1.0)
            if width is None
            else index.search(unseen, curve.k, ef_search=width)
        )
        seconds = time.monotonic() - begin
        reached[label(target)] = {
            "ef_search": width,
            "recall": round(folders.recall(found.ids, exact), 4),
            "us_per_query": round(1e6 * seconds / len(unseen), 1),
        }
    return {
        "quantization": index.params.quantization,
        "k": curve.k,
        "sample": "queries" if curve.asked_queries else "stored vectors",
        "sample_size": curve.asked_queries + curve.stored_queries,
        "reached": reached,
        "points": [
            [point.ef_search, round(point.recall, 4), round(point.error, 4)]
            for point in curve.points
        ],
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks calibration``."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--quantizations", default="none,pq")
    parser.add_argument("--ks", default="1,10,100", help="neighbours asked for")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--limit", type=int, help="only that many vectors, drawn with the seed")
    parser.add_argument("--threads", type=int, default=1, help="to build and calibrate with")
    parser.add_argument("--seed", type=int, default=0)


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print a table, write the JSON."""
    result = run(
        options.data,
        quantizations=[cast(Quantization, name) for name in options.quantizations.split(",")],
        ks=[int(k) for k in options.ks.split(",")],
        threads=options.threads,
        limit=options.limit,
        seed=options.seed,
    )
    print(_table(result))
    write_result(result, options.out)


def _table(result: dict[str, Any]) -> str:
    targets = [label(target) for target in TARGETS]
    lines = [f"{'':<28}" + "".join(f"{target:>16}" for target in targets) + f"{'measured in':>14}"]
    for case in result["cases"]:
        line = f"{case['quantization']:<5}k={case['k']:<5}{case['sample']:<16}"
        for target in targets:
            one = case["reached"][target]
            width = "exact" if one["ef_search"] is None else one["ef_search"]
            line += f"{one['recall']:>9.4f} {width:>6}"
        lines.append(f"{line}{case['calibration_s']:>12.1f} s")
    return "\n".join(lines)

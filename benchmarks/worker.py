"""One peer in a process of its own: builds on request, measures on request.

Started by :mod:`benchmarks.recall` as ``python -m benchmarks.worker JOB``, where JOB is JSON.
Requests come one JSON object a line on standard input, answers go back the same way. What a
library prints goes to standard error, so that it can't garble the answers.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import folders
from benchmarks.host import versions_of
from benchmarks.peers.base import Peer, Search, Setup, load_peer

MIB = 1 << 20


class Worker:
    """Holds a peer, the queries and their exact neighbours between requests."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._module = load_peer(job["name"])
        self._peer: Peer | None = None
        self._queries: Sequence[Any] = ()
        self._exact = np.load(job["neighbors"])[:, : job["k"]]

    def build(self) -> dict[str, Any]:
        """Index the dataset; wall and CPU seconds, and how much the process has grown.

        The base vectors are loaded after the first look at the memory and dropped before the
        second, so a library that only refers to them is charged for them like one that copies.
        """
        job = self._job
        setup = Setup(**job["setup"])
        self._peer = peer = self._module.make(setup, job["variant"])
        before = _resident_bytes()
        dataset = folders.load(Path(job["data"]), limit=job["limit"], seed=setup.seed)
        wall, cpu = time.perf_counter(), time.process_time()
        peer.build(dataset.base)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        queries = dataset.queries
        del dataset
        after = _resident_bytes()
        grown = None
        if before is not None and after is not None:
            grown = round((after - before - queries.nbytes) / MIB, 1)
        self._queries = peer.prepare(queries)
        return {
            "version": versions_of([self._module.DISTRIBUTION])[self._module.DISTRIBUTION],
            "parameters": dict(peer.parameters()),
            "build": {
                "wall_s": round(wall, 3),
                "cpu_s": round(cpu, 3),
                "threads": setup.build_threads,
            },
            "rss_growth_mib": grown,
        }

    def measure(self, ef_search: int) -> dict[str, Any]:
        """Time every query, alone, for whole passes over them until the time asked is over."""
        assert self._peer is not None, "build comes first"
        search = self._peer.searcher(self._job["k"], ef_search)
        for query in self._queries[: self._job["warmup"]]:
            search(query)
        gc.collect()
        gc.disable()
        cpu, wall = time.process_time(), time.perf_counter()
        latencies, answers = _timed_pass(search, self._queries)
        while time.perf_counter() - wall < self._job["seconds"]:
            latencies += _timed_pass(search, self._queries)[0]
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        gc.enable()
        found = np.full_like(self._exact, -1)
        for row, answer in zip(found, answers, strict=True):
            ids = np.asarray(answer, dtype=np.int64).reshape(-1)
            row[: len(ids)] = ids
        times = np.array(latencies)
        p50, p99 = np.percentile(times, (50, 99))
        return {
            "recall": folders.recall(found, self._exact),
            "qps": 1e9 / float(times.mean()),
            "p50_us": float(p50) / 1e3,
            "p99_us": float(p99) / 1e3,
            "cpu_share": cpu / wall,
        }


def _timed_pass(search: Search, queries: Sequence[Any]) -> tuple[list[int], list[Any]]:
    clock = time.perf_counter_ns
    latencies = []
    answers = []
    for query in queries:
        start = clock()
        answer = search(query)
        latencies.append(clock() - start)
        answers.append(answer)
    return latencies, answers


def _resident_bytes() -> int | None:
    """Resident set of this process; None where the system doesn't show it in /proc."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    # Freed blocks that the allocator keeps would count as the index's.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker(json.loads(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "build":
            answer = worker.build()
        else:
            answer = worker.measure(request["ef_search"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""One peer in a process of its own: builds or opens on request, measures on request.

Started by :mod:`benchmarks.process` as ``python -m benchmarks.worker JOB``, where JOB is JSON.
Requests come one JSON object a line on standard input, answers go back the same way. What a
library prints goes to standard error, so that it can't garble the answers.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import folders
from benchmarks.memory import Resident, resident
from benchmarks.peers.base import Peer, Setup, load_peer
from benchmarks.versions import versions_of

__all__ = ["Timer", "Worker", "as_ids", "serve"]


class Worker:
    """Holds a peer, the queries and their exact neighbours between requests."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.job = job
        self.setup = Setup(**job["setup"])
        begin = time.perf_counter()
        module = load_peer(job["name"])
        importing = time.perf_counter() - begin
        self.queries: Sequence[Any] = ()
        self._exact = np.load(job["neighbors"])[:, : job["k"]] if "neighbors" in job else None
        distribution = module.DISTRIBUTION
        self._version = versions_of([distribution])[distribution]
        if self._version is None:
            raise SystemExit(f"{distribution} is not installed; pip install 'llmspell[bench]'")
        begin = time.perf_counter()
        self.peer: Peer = module.make(self.setup, job["variant"])
        self._import_ms = 1e3 * (importing + time.perf_counter() - begin)

    def dataset(self) -> folders.Dataset:
        """The vectors and queries that the job names."""
        return folders.load(Path(self.job["data"]), limit=self.job["limit"], seed=self.setup.seed)

    def build(self) -> dict[str, Any]:
        """Index the dataset; wall and CPU seconds, and how much the process has grown.

        The base vectors are loaded after the first look at the memory and dropped before the
        second, so a library that only refers to them is charged for them like one that copies.
        """
        before = resident()
        dataset = self.dataset()
        count = len(dataset.base)
        wall, cpu = time.perf_counter(), time.process_time()
        self.peer.build(dataset.base)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        queries = dataset.queries
        del dataset
        grown = growth(before, queries.nbytes)
        self.queries = self.peer.prepare(queries)
        return {
            "version": self._version,
            "parameters": dict(self.peer.parameters()),
            "build": {
                "wall_s": round(wall, 6),
                "cpu_s": round(cpu, 6),
                "threads": self.setup.build_threads,
            },
            "memory": None if grown is None else grown.describe(count),
        }

    def save(self, folder: str) -> dict[str, Any]:
        """Write the index; how long that took, and how large it is."""
        base = self.dataset().base
        begin = time.perf_counter()
        self.peer.save(Path(folder), base)
        spent = time.perf_counter() - begin
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        return {"save_s": round(spent, 3), "file_mib": round(size / 2**20, 1)}

    def load(self, folder: str) -> dict[str, Any]:
        """Open what another process saved, answer two queries, and say what is resident then.

        ``ready_ms`` is the import of the library, the opening and the first answer together.
        """
        queries = folders.load_queries(Path(self.job["data"]))
        count = int(self.job["vectors"])
        before = resident()
        begin = time.perf_counter()
        self.peer.load(Path(folder))
        opened = time.perf_counter()
        prepared = self.peer.prepare(queries[:2])
        search = self.peer.searcher(self.job["k"], self.job["load_setting"])
        asked = time.perf_counter()
        search(prepared[0])
        first = time.perf_counter()
        search(prepared[1])
        second = time.perf_counter()
        grown = growth(before, 0)
        load_ms, first_ms = 1e3 * (opened - begin), 1e3 * (first - asked)
        return {
            "import_ms": round(self._import_ms, 2),
            "load_ms": round(load_ms, 2),
            "first_query_ms": round(first_ms, 3),
            "second_query_ms": round(1e3 * (second - first), 3),
            "ready_ms": round(self._import_ms + load_ms + first_ms, 2),
            "memory": None if grown is None else grown.describe(count),
        }

    def measure(self, setting: int) -> dict[str, Any]:
        """Time every query, alone, for whole passes over them until the time asked is over."""
        search = self.peer.searcher(self.job["k"], setting)
        for query in self.queries[: self.job["warmup"]]:
            search(query)
        timer = Timer(self.job["seconds"])
        answers = timer.run(search, [(query,) for query in self.queries])
        return {"recall": self._recall(answers), **timer.describe()}

    def measure_batch(self, setting: int, threads: int) -> dict[str, Any]:
        """Time all queries as one batch, again and again until the time asked is over."""
        queries = folders.load_queries(Path(self.job["data"]))
        search = self.peer.batch_searcher(self.job["k"], setting, threads)
        search(queries)
        cpu, wall, passes = time.process_time(), time.perf_counter(), 0
        while not passes or time.perf_counter() - wall < self.job["seconds"]:
            answers = search(queries)
            passes += 1
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {
            "recall": self._recall(answers),
            "qps": passes * len(queries) / wall,
            "cpu_share": cpu / wall,
        }

    def _recall(self, answers: Sequence[Any]) -> float:
        assert self._exact is not None, "the job names no neighbours"
        return folders.recall(as_ids(answers, self.job["k"]), self._exact)


class Timer:
    """Times single calls, Python's garbage collector off, for at least ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._latencies: list[int] = []
        self._cpu_share = 0.0

    def run(self, call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Whole passes over ``arguments``; the answers of the first."""
        gc.collect()
        gc.disable()
        cpu, wall = time.process_time(), time.perf_counter()
        answers = self._pass(call, arguments)
        while time.perf_counter() - wall < self._seconds:
            self._pass(call, arguments)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        gc.enable()
        self._cpu_share = cpu / wall
        return answers

    def _pass(self, call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        clock = time.perf_counter_ns
        note = self._latencies.append
        answers = []
        for given in arguments:
            start = clock()
            answer = call(*given)
            note(clock() - start)
            answers.append(answer)
        return answers

    def describe(self) -> dict[str, float]:
        """Queries a second (one over the mean latency), p50 and p99, CPU over wall time."""
        times = np.array(self._latencies)
        p50, p99 = np.percentile(times, (50, 99))
        return {
            "qps": 1e9 / float(times.mean()),
            "p50_us": float(p50) / 1e3,
            "p99_us": float(p99) / 1e3,
            "cpu_share": self._cpu_share,
        }


def as_ids(answers: Sequence[Any], k: int) -> NDArray[np.int64]:
    """Answers as (q, k) ids, -1 where a library gave fewer."""
    found = np.full((len(answers), k), -1, dtype=np.int64)
    for row, answer in zip(found, answers, strict=True):
        ids = np.asarray(answer).reshape(-1).astype(np.int64)
        row[: len(ids)] = ids
    return found


def growth(before: Resident | None, known: int) -> Resident | None:
    """How much has become resident since, ``known`` bytes of the process's own left out."""
    after = resident()
    if before is None or after is None:
        return None
    return after - before - Resident(known, 0)


def serve(make: Callable[[dict[str, Any]], Any]) -> None:
    """Make a worker of the job and call its methods as asked, until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = make(json.loads(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(worker, request.pop("do"))(**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(Worker)

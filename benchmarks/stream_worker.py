"""One peer in a process of its own, whose content is replaced again and again.

A row of the dataset is in the index at most once at a time; each time it comes in, it gets a new
id, one higher than the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import folders
from benchmarks.memory import resident
from benchmarks.peers.base import FloatMatrix, Streams
from benchmarks.worker import Timer, Worker, as_ids, growth, serve

__all__ = ["StreamWorker"]


class StreamWorker(Worker):
    """Knows which rows are in the index, and under which ids."""

    def begin(self, rows: str) -> dict[str, Any]:
        """Build with the rows of a file; the others wait outside."""
        if not isinstance(self.peer, Streams):
            raise SystemExit(f"{self.job['name']}:{self.job['variant']} takes no deletes")
        dataset = self.dataset()
        self._metric = dataset.metric
        self._base: FloatMatrix = dataset.base
        self._queries: FloatMatrix = dataset.queries
        self._random = np.random.default_rng(self.setup.seed)
        self._rows: NDArray[np.int64] = np.load(rows)
        self._ids = np.arange(len(self._rows))
        self._next = len(self._rows)
        self._before = resident()
        first = self._base[self._rows]
        wall, cpu = time.perf_counter(), time.process_time()
        self.peer.build(first)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {
            "version": self._version,
            "parameters": dict(self.peer.parameters()),
            "build": {
                "wall_s": round(wall, 6),
                "cpu_s": round(cpu, 6),
                "threads": self.setup.build_threads,
            },
        }

    def turn(self, steps: int, threads: int, mixed: bool = False) -> dict[str, Any]:
        """Replace as many vectors as the index holds, in ``steps``: deletes, then inserts.

        Which vectors leave and which come is drawn with the seed, the same for every peer. Mixed,
        the steps are of many sizes, and every other one inserts before it deletes.
        """
        assert isinstance(self.peer, Streams)
        deleting = inserting = 0.0
        shares = self._mixed_shares() if mixed else [len(self._rows) // steps] * steps
        for number, share in enumerate(shares):
            leaving = self._random.choice(len(self._rows), size=share, replace=False)
            outside = np.setdiff1d(np.arange(len(self._base)), self._rows, assume_unique=True)
            coming = self._random.choice(outside, size=share, replace=False)
            ids = np.arange(self._next, self._next + share)
            vectors = self._base[coming]
            insert_first = mixed and number % 2 == 1
            if insert_first:
                inserting += _seconds(self.peer.insert, ids, vectors, threads)
            deleting += _seconds(self.peer.delete, self._ids[leaving])
            if not insert_first:
                inserting += _seconds(self.peer.insert, ids, vectors, threads)
            self._rows[leaving], self._ids[leaving] = coming, ids
            self._next += share
        return {
            "replaced": sum(shares),
            "inserts_per_s": round(sum(shares) / inserting, 1),
            "deletes_per_s": round(sum(shares) / deleting, 1),
        }

    def _mixed_shares(self) -> list[int]:
        """Sizes of steps from one to a fifth of the index, as many small ones as large ones."""
        shares: list[int] = []
        left = len(self._rows)
        while left > 0:
            drawn = int(np.exp(self._random.uniform(0, np.log(max(2, len(self._rows) / 5)))))
            shares.append(min(drawn, left))
            left -= shares[-1]
        return shares

    def state(self, settings: list[int]) -> dict[str, Any]:
        """Recall and speed at each setting, vectors that find themselves, and memory, now."""
        neighbors = self._exact_now()
        prepared = self.peer.prepare(self._queries)
        points = []
        for setting in settings:
            timer = Timer(self.job["seconds"])
            search = self.peer.searcher(self.job["k"], setting)
            answers = timer.run(search, [(query,) for query in prepared])
            found = folders.recall(as_ids(answers, self.job["k"]), neighbors)
            points.append({"ef_search": setting, "recall": found, **timer.describe()})
        grown = growth(self._before, 0)
        return {
            "points": points,
            "self_found": self._self_found(max(settings)),
            "memory": None if grown is None else grown.describe(len(self._rows)),
        }

    def save_rows(self, file: str) -> dict[str, Any]:
        """Write which rows are in the index, for a fresh build of the same content."""
        np.save(Path(file), self._rows)
        return {}

    def _exact_now(self) -> NDArray[np.int64]:
        live = folders.Dataset(
            name="", metric=self._metric, base=self._base[self._rows], queries=self._queries
        )
        return self._ids[folders.exact_neighbors(live, self.job["k"])]

    def _self_found(self, setting: int) -> float:
        sample = np.random.default_rng(0).permutation(len(self._rows))[: self.job["self_sample"]]
        vectors = self._base[self._rows[sample]]
        search = self.peer.searcher(self.job["k"], setting)
        answers = as_ids([search(query) for query in self.peer.prepare(vectors)], self.job["k"])
        # Equal vectors may stand before it.
        return float((answers == self._ids[sample, None]).any(axis=1).mean())


def _seconds(call: Callable[..., Any], *arguments: Any) -> float:
    begin = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - begin


if __name__ == "__main__":
    serve(StreamWorker)

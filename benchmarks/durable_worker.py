"""One store in a process of its own: inserts on request, and times each call.

Started by :mod:`benchmarks.process` as ``python -m benchmarks.durable_worker JOB``.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.stores.base import FloatMatrix, StoreSetup, load_store
from benchmarks.versions import versions_of
from benchmarks.worker import serve

__all__ = ["DurableWorker"]


class DurableWorker:
    """Holds a store and the vectors to insert, taken again from the start when they are used up.

    The job has ``name``, ``variant``, ``setup`` of :class:`StoreSetup`, and ``vectors``, a file of
    (n, dim) float32.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        module = load_store(job["name"])
        distribution = module.DISTRIBUTION
        self._version = None
        if distribution is not None:
            self._version = versions_of([distribution])[distribution]
            if self._version is None:
                raise SystemExit(
                    f"{distribution} is not installed; pip install 'llmspell[bench-durable]'"
                )
        self._vectors: FloatMatrix = np.load(job["vectors"], mmap_mode="r")
        self._store = module.make(StoreSetup(**job["setup"]), job["variant"])
        self._next = 0

    def about(self) -> dict[str, Any]:
        """The store's version."""
        return {"version": self._version}

    def insert(self, size: int, calls: int, threads: int = 1) -> dict[str, Any]:
        """Make ``calls`` inserts of ``size`` records on each of some threads; ms of each call.

        ``seconds`` is from the first call of the first thread to the end of the last, and of what
        brings to disk what waits.
        """
        shares = [[self._prepared(size) for _ in range(calls)] for _ in range(threads)]
        took: list[list[int]] = [[] for _ in shares]
        begins: list[int] = []
        failures: list[BaseException] = []
        together = threading.Barrier(threads)

        def work(number: int) -> None:
            clock, insert, note = time.perf_counter_ns, self._store.insert, took[number].append
            together.wait()
            begins.append(clock())
            try:
                for records in shares[number]:
                    start = clock()
                    insert(records)
                    note(clock() - start)
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        gc.collect()
        gc.disable()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if failures:
            raise failures[0]
        self._store.finish()
        seconds = (time.perf_counter_ns() - min(begins)) / 1e9
        gc.enable()
        return {"ms": [one / 1e6 for each in took for one in each], "seconds": seconds}

    def check(self) -> dict[str, Any]:
        """How many records the store holds; an error where it isn't what was inserted."""
        held = self._store.count()
        if held != self._next:
            raise SystemExit(f"{self._next} records were inserted, the store holds {held}")
        return {"records": held}

    def _prepared(self, size: int) -> Any:
        ids = range(self._next, self._next + size)
        self._next += size
        return self._store.prepare(
            ids, self._vectors[np.arange(ids.start, ids.stop) % len(self._vectors)]
        )


if __name__ == "__main__":
    serve(DurableWorker)

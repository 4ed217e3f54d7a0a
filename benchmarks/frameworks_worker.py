"""One framework in a process of its own: does each case on request, and times it.

Started by :mod:`benchmarks.process` as ``python -m benchmarks.frameworks_worker JOB``.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.toolkits.base import EXPECTED, QUIET, Setup, load_toolkit
from benchmarks.versions import versions_of
from benchmarks.worker import serve

__all__ = ["FrameworksWorker"]

#: Hits of a retrieval that must be the exact ones: an index that is a graph may miss some.
_LEAST_FOUND = 8


class FrameworksWorker:
    """Holds a framework that has been set up. The job has ``name`` and ``setup``."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        os.environ |= QUIET
        given = job["setup"]
        self._setup = Setup(
            scratch=Path(given["scratch"]),
            memory=Path(given["memory"]) if given["memory"] else None,
            documents=given["documents"],
            dim=given["dim"],
            seed=given["seed"],
        )
        module = load_toolkit(job["name"])
        self._versions = versions_of(module.DISTRIBUTIONS)
        self._cases = module.cases(self._setup)

    def about(self) -> dict[str, Any]:
        """Versions, and the cases that the framework has; each is done once, and checked."""
        for name, do in self._cases.items():
            self._check(name, do())
        return {"versions": self._versions, "cases": list(self._cases)}

    def measure(self, case: str, seconds: float, most: int) -> dict[str, Any]:
        """Do a case for so many seconds or times, and once before; microseconds of a call."""
        do, clock = self._cases[case], time.perf_counter_ns
        do()
        spent: list[int] = []
        gc.collect()
        gc.disable()
        try:
            end = clock() + int(seconds * 1e9)
            while len(spent) < most and (not spent or clock() < end):
                start = clock()
                do()
                spent.append(clock() - start)
        finally:
            gc.enable()
        return {"us": float(np.median(spent)) / 1_000, "calls": len(spent)}

    def _check(self, case: str, given: object) -> None:
        if case in EXPECTED and given != EXPECTED[case]:
            raise SystemExit(f"{case}: gave {given!r}, not {EXPECTED[case]!r}")
        if case == "cache" and not self._setup.same(given):
            raise SystemExit(f"{case}: gave {given!r}, which is another vector")
        if case == "cache, passages" and not self._setup.same_passages(given):
            raise SystemExit(f"{case}: gave other vectors")
        if case.startswith("retrieval"):
            asked = self._setup.questions[self._setup.asked]
            exact, found = self._setup.nearest(asked), set(given)  # type: ignore[call-overload]
            if len(found) != len(exact) or len(found & set(exact)) < _LEAST_FOUND:
                raise SystemExit(f"{case}: gave {given!r}, not {exact!r}")


if __name__ == "__main__":
    serve(FrameworksWorker)

"""One peer in a process of its own, searched under sets of allowed ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.base import Filters
from benchmarks.worker import Timer, Worker, as_ids, serve

__all__ = ["FilterWorker"]


class FilterWorker(Worker):
    """Holds, besides, one case: each query's set, ready-made, and its exact neighbours."""

    def use(self, file: str) -> dict[str, Any]:
        """Make the sets of a case, which is not timed; refuse where the library can't filter."""
        if not isinstance(self.peer, Filters):
            raise SystemExit(f"{self.job['name']}:{self.job['variant']} has no filtered search")
        case = np.load(file)
        count = int(case["count"])
        self._allowed = np.unpackbits(case["allowed"], axis=1, count=count).astype(np.bool_)
        self._group = case["group"]
        self._exact_allowed = case["exact"]
        self._sets = [self.peer.allow(mask) for mask in self._allowed]
        return {}

    def measure_filtered(self, setting: int) -> dict[str, Any]:
        """As :meth:`Worker.measure`; ``short`` are answers of fewer than there should be.

        Raises:
            SystemExit: an id was returned that isn't allowed, so no figure means anything.
        """
        assert isinstance(self.peer, Filters)
        search = self.peer.filtered_searcher(self.job["k"], setting)
        arguments = [
            (query, self._sets[group])
            for query, group in zip(self.queries, self._group, strict=False)
        ]
        for given in arguments[: self.job["warmup"]]:
            search(*given)
        timer = Timer(self.job["seconds"])
        found = as_ids(timer.run(search, arguments), self.job["k"])
        there = found >= 0
        rows = np.broadcast_to(self._group[:, None], found.shape)
        if not self._allowed[rows[there], found[there]].all():
            raise SystemExit("it returned ids that are not allowed")
        wanted = self._exact_allowed >= 0
        hits = sum(
            len(np.intersect1d(f[t], e[w]))
            for f, t, e, w in zip(found, there, self._exact_allowed, wanted, strict=True)
        )
        return {
            "recall": hits / int(wanted.sum()),
            "short": int((there.sum(axis=1) < wanted.sum(axis=1)).sum()),
            **timer.describe(),
        }


if __name__ == "__main__":
    serve(FilterWorker)

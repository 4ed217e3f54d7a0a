"""How a search is stopped, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from llmspell import _core
from llmspell.errors import InputError

__all__ = ["CancelToken", "SearchCounters", "Strategy", "watching"]

Strategy = Literal[
    "none",
    "exact",
    "graph",
    "filtered-graph",
    "quantized",
    "filtered-quantized",
    "quantized-sweep",
    "mixed",
]


class CancelToken:
    """Stops the calls that it was given to, from any thread and for good.

    They raise :class:`llmspell.errors.SearchCancelled` within some hundred distance computations,
    a walk by codes (``quantization="pq"``) at its end, and so do those that begin later. A token
    may be shared by any number of calls. A scrub that is stopped by one raises nothing, and its
    report says that it isn't complete.
    """

    __slots__ = ("_core",)

    def __init__(self) -> None:
        self._core = _core.CancelToken()

    def cancel(self) -> None:
        """Stop them. Again and again is as once."""
        self._core.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._core.cancelled

    def __repr__(self) -> str:
        return f"CancelToken(cancelled={self.cancelled})"


@dataclass(slots=True)
class SearchCounters:
    """What the last call that it was given to has done, all queries of a batch together.

    It is filled in when the call ends, by an error too. A call that isn't given one counts nothing.

    Attributes:
        visited: nodes of the graph whose links were followed.
        estimated: distances estimated from codes, those of a node's neighbours or of four bits a
            dimension.
        distances: distances computed from stored vectors.
        reranked: nodes that a search by codes put in order by their vectors.
        ef_search: width of the walk, the widest of a batch, also one that ``recall`` chose; 0 where
            no results come from walks.
        strategy: where the results come from: a sweep (``"exact"``), a walk of the graph
            (``"graph"``), one under a filter (``"filtered-graph"``), one by codes
            (``"quantized"``, ``"filtered-quantized"``) or a sweep over the codes of what a filter
            allows (``"quantized-sweep"``); ``"mixed"`` where queries of a batch differ,
            ``"none"`` where there was nothing to search. A walk that found too little and ended
            in a sweep is ``"exact"``, with the cost of both.
    """

    visited: int = 0
    estimated: int = 0
    distances: int = 0
    reranked: int = 0
    ef_search: int = 0
    strategy: Strategy = "none"


@contextmanager
def watching(
    timeout: float | None, cancel: CancelToken | None, counters: SearchCounters | None
) -> Iterator[_core.Watch | None]:
    """Give what the core watches a call by, None where nothing is asked for; fill in counters.

    Raises:
        InputError: an argument is something else.
    """
    if timeout is None and cancel is None and counters is None:
        yield None
        return
    if timeout is not None:
        number = isinstance(timeout, (int, float, np.integer, np.floating))
        if not number or isinstance(timeout, bool) or not timeout >= 0:
            raise InputError(f"timeout must be a number of seconds from 0 on, got {timeout!r}")
        timeout = float(timeout)
    if cancel is not None and not isinstance(cancel, CancelToken):
        raise InputError(f"cancel must be a CancelToken, got {type(cancel).__name__}")
    if counters is not None and not isinstance(counters, SearchCounters):
        raise InputError(f"counters must be a SearchCounters, got {type(counters).__name__}")
    watch = _core.Watch(timeout, None if cancel is None else cancel._core)
    try:
        yield watch
    finally:
        if counters is not None:
            *numbers, counters.ef_search, strategy = watch.counters()
            counters.visited, counters.estimated, counters.distances, counters.reranked = numbers
            counters.strategy = cast(Strategy, strategy)

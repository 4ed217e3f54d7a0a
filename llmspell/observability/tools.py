"""Calls of tools, counted and timed, and their export as Prometheus text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmspell._hot import Counter, Histogram
from llmspell.errors import MissingDependency

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["ToolMetrics"]

#: Value of the label ``tool`` for names that no tool has: callers make these up.
UNKNOWN = "_unknown"


class ToolMetrics:
    """Calls by tool and outcome, and their durations; register it in a ``CollectorRegistry``.

    The outcome is ``ok``, a kind of fault, ``refused`` by a quota of the tenant, ``cancelled``
    or ``error``. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[tuple[str, str], Counter] = {}
        self._seconds: dict[str, Histogram] = {}

    def count(self, tool: str | None, outcome: str, ran_ns: int) -> None:
        """Count a call; None stands for a name that no tool has."""
        name = UNKNOWN if tool is None else tool
        calls = self._calls.get((name, outcome))
        if calls is None:
            with self._lock:
                calls = self._calls.setdefault((name, outcome), Counter())
        calls.inc()
        if ran_ns:
            seconds = self._seconds.get(name)
            if seconds is None:
                with self._lock:
                    seconds = self._seconds.setdefault(name, Histogram())
            seconds.record(ran_ns)

    def calls(self) -> dict[tuple[str, str], int]:
        """Calls so far by tool and outcome."""
        with self._lock:
            return {key: counter.value for key, counter in self._calls.items()}

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families.

        Raises:
            MissingDependency: the extra ``metrics`` is not installed.
        """
        try:
            from prometheus_client import core
        except ImportError as error:
            raise MissingDependency("metrics", "prometheus_client") from error
        calls: Any = core.CounterMetricFamily(
            "llmspell_tool_calls", "Calls of tools by outcome", labels=["tool", "outcome"]
        )
        for (tool, outcome), count in sorted(self.calls().items()):
            calls.add_metric([tool, outcome], count)
        yield calls
        seconds: Any = core.HistogramMetricFamily(
            "llmspell_tool_duration_seconds", "Duration of tools that ran", labels=["tool"]
        )
        with self._lock:
            histograms = sorted(self._seconds.items())
        for tool, histogram in histograms:
            buckets = [
                ("+Inf" if bound is None else repr(bound / 1e9), count)
                for bound, count in histogram.buckets()
            ]
            seconds.add_metric([tool], buckets=buckets, sum_value=histogram.sum_ns / 1e9)
        yield seconds

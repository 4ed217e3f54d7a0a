"""Calls of tools and runs of agents, counted and timed by name, and their export."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from llmspell._hot import Counter, Histogram

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["MAX_NAMES", "AgentMetrics", "CallMetrics", "ToolMetrics"]

#: Value of the label for names that nothing has: callers make these up.
UNKNOWN: Final = "_unknown"
#: Value of the label for all names beyond the first so many, which bounds the number of series.
OTHER: Final = "_other"
MAX_NAMES: Final = 500


class CallMetrics:
    """Calls by name and outcome, and their durations. Thread-safe.

    Args:
        label: of the names, such as ``tool``.
        calls: name and meaning of the counter.
        seconds: name and meaning of the histogram.
    """

    def __init__(self, label: str, calls: tuple[str, str], seconds: tuple[str, str]) -> None:
        self._label = label
        self._exported = calls, seconds
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._names: set[str] = set()
        self._calls: dict[tuple[str, str], Counter] = {}
        self._seconds: dict[str, Histogram] = {}

    def count(self, name: str | None, outcome: str, ran_ns: int) -> None:
        """Count a call; None stands for a name that nothing has, and 0 ns for what didn't run."""
        shown = self._shown(name)
        calls = self._calls.get((shown, outcome))
        if calls is None:
            with self._lock:
                calls = self._calls.setdefault((shown, outcome), Counter())
        calls.inc()
        if ran_ns:
            seconds = self._seconds.get(shown)
            if seconds is None:
                with self._lock:
                    seconds = self._seconds.setdefault(shown, Histogram())
            seconds.record(ran_ns)

    def calls(self) -> dict[tuple[str, str], int]:
        """Calls so far by name and outcome."""
        with self._lock:
            return {key: counter.value for key, counter in self._calls.items()}

    def collect(self, core: Any) -> Iterator[Metric]:
        """Yield the metric families, made by ``prometheus_client.core``."""
        (name, meaning), (seconds_name, seconds_meaning) = self._exported
        calls: Any = core.CounterMetricFamily(name, meaning, labels=[self._label, "outcome"])
        for key, count in sorted(self.calls().items()):
            calls.add_metric(list(key), count)
        yield calls
        seconds: Any = core.HistogramMetricFamily(
            seconds_name, seconds_meaning, labels=[self._label]
        )
        with self._lock:
            histograms = sorted(self._seconds.items())
        for shown, histogram in histograms:
            buckets = [
                ("+Inf" if bound is None else repr(bound / 1e9), count)
                for bound, count in histogram.buckets()
            ]
            seconds.add_metric([shown], buckets=buckets, sum_value=histogram.sum_ns / 1e9)
        yield seconds

    def _shown(self, name: str | None) -> str:
        if name is None:
            return UNKNOWN
        if name not in self._names:
            with self._lock:
                if len(self._names) >= MAX_NAMES and name not in self._names:
                    return OTHER
                self._names.add(name)
        return name


class ToolMetrics(CallMetrics):
    """Calls of tools by name and outcome, and how long they ran.

    The outcome is ``ok``, a kind of fault, ``refused`` by a quota of the tenant, ``waiting`` for
    approval, ``cancelled`` or ``error``.
    """

    def __init__(self) -> None:
        super().__init__(
            "tool",
            ("llmspell_tool_calls", "Calls of tools by outcome"),
            ("llmspell_tool_duration_seconds", "Duration of tools that ran"),
        )


class AgentMetrics(CallMetrics):
    """Runs of agents by name and outcome, how long they took, and tokens of their models.

    The outcome is the state that a run ended in, or ``refused`` by a quota of the tenant.
    """

    def __init__(self) -> None:
        super().__init__(
            "agent",
            ("llmspell_agent_runs", "Runs of agents by outcome"),
            ("llmspell_agent_run_duration_seconds", "Duration of runs of agents"),
        )
        self._tokens: dict[tuple[str, str], Counter] = {}

    def answered(self, name: str, input_tokens: int, output_tokens: int) -> None:
        """Count an answer of an agent's model."""
        shown = self._shown(name)
        for kind, tokens in (("input", input_tokens), ("output", output_tokens)):
            with self._lock:
                counter = self._tokens.setdefault((shown, kind), Counter())
            counter.inc(tokens)

    def collect(self, core: Any) -> Iterator[Metric]:
        """As :meth:`CallMetrics.collect`."""
        yield from super().collect(core)
        tokens: Any = core.CounterMetricFamily(
            "llmspell_agent_tokens", "Tokens of the models of agents", labels=["agent", "kind"]
        )
        with self._lock:
            counters = sorted(self._tokens.items())
        for key, counter in counters:
            tokens.add_metric(list(key), counter.value)
        yield tokens

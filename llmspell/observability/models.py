"""Calls of models that services run, counted and timed, and their export as Prometheus text."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from llmspell._hot import Histogram
from llmspell.errors import MissingDependency

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["MODELS", "CircuitView", "Model", "ModelMetrics"]

#: Value of labels that stands for all models beyond the cap.
OTHER: Final = "_other"
_MAX_MODELS: Final = 100
_STATES: Final = ("closed", "open", "half-open")


class Model(NamedTuple):
    """What is counted apart: an operation of a model.

    Attributes:
        operation: ``chat`` or ``embeddings``, as OpenTelemetry's ``gen_ai.operation.name``.
        provider: who serves it, as ``gen_ai.provider.name``.
        model: as the provider names it, as ``gen_ai.request.model``.
    """

    operation: str
    provider: str
    model: str


class CircuitView(Protocol):
    """What is exported of a circuit breaker."""

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""


class ModelMetrics:
    """Calls of models in this process; register it in a ``CollectorRegistry``. Thread-safe.

    Args:
        max_models: so many models have labels of their own; the rest are summed up as ``_other``.
    """

    def __init__(self, *, max_models: int = _MAX_MODELS) -> None:
        self._max_models = max_models
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._seconds: dict[Model, Histogram] = {}
        self._calls: Counter[tuple[Model, str]] = Counter()
        self._tokens: Counter[tuple[Model, str]] = Counter()
        self._again: Counter[tuple[Model, str]] = Counter()
        self._cost: dict[Model, float] = {}
        self._circuits: dict[Model, weakref.WeakSet[CircuitView]] = {}

    def called(self, model: Model, outcome: str, ran_ns: int) -> None:
        """Count a request that was sent, or failed to be.

        Args:
            model: that it was for.
            outcome: ``ok``, ``cancelled``, or the name of the error.
            ran_ns: nanoseconds to its end; of a stream, to the end of that.
        """
        with self._lock:
            model = self._known(model)
            self._calls[model, outcome] += 1
        self._seconds[model].record(ran_ns)

    def used(
        self, model: Model, *, input: int = 0, output: int = 0, cached: int = 0, cost: float = 0.0
    ) -> None:
        """Count tokens and money; ``cached`` are those of ``input`` from the provider's cache."""
        with self._lock:
            model = self._known(model)
            for kind, count in {"input": input, "output": output, "cached": cached}.items():
                if count:
                    self._tokens[model, kind] += count
            if cost:
                self._cost[model] = self._cost.get(model, 0.0) + cost

    def retried(self, model: Model) -> None:
        """Count a call that is made again."""
        with self._lock:
            self._again[self._known(model), "retry"] += 1

    def hedged(self, model: Model) -> None:
        """Count a call that is made beside one without an answer yet."""
        with self._lock:
            self._again[self._known(model), "hedge"] += 1

    def watch(self, model: Model, circuit: CircuitView) -> None:
        """Export the state of a circuit for as long as it lives."""
        with self._lock:
            self._circuits.setdefault(self._known(model), weakref.WeakSet()).add(circuit)

    def calls(self) -> dict[tuple[Model, str], int]:
        """Calls so far by model and outcome."""
        with self._lock:
            return dict(self._calls)

    def _known(self, model: Model) -> Model:
        if model not in self._seconds:
            if len(self._seconds) >= self._max_models:
                model = Model(model.operation, OTHER, OTHER)
            self._seconds.setdefault(model, Histogram())
        return model

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families; none before the first call.

        Raises:
            MissingDependency: the extra ``metrics`` is not installed.
        """
        try:
            from prometheus_client import core
        except ImportError as error:
            raise MissingDependency("metrics", "prometheus_client") from error
        with self._lock:
            if not self._seconds:
                return
            seconds = sorted(self._seconds.items())
            counted = {
                ("calls", "Requests to models by outcome", "outcome"): sorted(self._calls.items()),
                ("tokens", "Tokens that models took", "type"): sorted(self._tokens.items()),
                ("repeats", "Requests made again, or twice", "reason"): sorted(self._again.items()),
            }
            costs = sorted(self._cost.items())
            circuits = [(model, list(views)) for model, views in sorted(self._circuits.items())]
        for (name, meaning, label), counts in counted.items():
            family: Any = core.CounterMetricFamily(
                f"llmspell_model_{name}", meaning, labels=[*Model._fields, label]
            )
            for (model, value), count in counts:
                family.add_metric([*model, value], count)
            yield family
        cost: Any = core.CounterMetricFamily(
            "llmspell_model_cost", "Money, in the unit of the prices", labels=Model._fields
        )
        for model, money in costs:
            cost.add_metric(model, money)
        yield cost
        durations: Any = core.HistogramMetricFamily(
            "llmspell_model_duration_seconds", "Duration of requests", labels=Model._fields
        )
        for model, histogram in seconds:
            buckets = [
                ("+Inf" if bound is None else repr(bound / 1e9), count)
                for bound, count in histogram.buckets()
            ]
            durations.add_metric(model, buckets=buckets, sum_value=histogram.sum_ns / 1e9)
        yield durations
        states: Any = core.GaugeMetricFamily(
            "llmspell_model_circuits",
            "Circuit breakers by state",
            labels=[*Model._fields, "state"],
        )
        for model, views in circuits:
            found = Counter(view.state for view in views)
            for state in _STATES:
                states.add_metric([*model, state], found[state])
        yield states


#: Of this process; :meth:`llmspell.Database.metrics` exports it.
MODELS: Final = ModelMetrics()

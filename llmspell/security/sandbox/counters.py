"""What a sandbox counts."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llmspell._hot import Counter

__all__ = ["SandboxCounters"]


@dataclass(frozen=True, slots=True, init=False)
class SandboxCounters:
    """Counts of one sandbox since it was made; thread-safe.

    Args:
        calls: of functions, whatever became of them.
        failed: calls whose function raised, or whose process ended.
        timed_out: calls that were killed for their time.
        over_limit: calls that took more memory or processor time than they may.
        forked: workers, ahead of need or on demand.
        waited: calls that found no worker ready and waited for one to be forked.
        reloaded: loaders that had ended and were started again.
        refused: tools that weren't loaded, for this host lacks what they need.
        unsandboxed: calls of tools that nothing confines.
    """

    calls: Counter
    failed: Counter
    timed_out: Counter
    over_limit: Counter
    forked: Counter
    waited: Counter
    reloaded: Counter
    refused: Counter
    unsandboxed: Counter

    def __init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, Counter())

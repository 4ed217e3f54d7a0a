"""When an acknowledged write is committed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from llmspell.errors import ConfigError

__all__ = ["Durability", "WritePolicy"]

Durability: TypeAlias = Literal["sync", "batch", "async"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePolicy:
    """What :class:`llmspell.Database` is told of writes.

    Args:
        durability: "sync" commits before a call returns; "batch" and "async" let upserts wait.
        flush_interval: seconds that the first of those that wait does so.
        write_batch_size: records that are committed together, without waiting longer.

    Raises:
        ConfigError: a setting that can't be.
    """

    durability: Durability = "sync"
    flush_interval: float = 0.1
    write_batch_size: int = 100

    def __post_init__(self) -> None:
        given: object = self.durability
        if not isinstance(given, str) or given not in get_args(Durability):
            raise ConfigError(
                f"durability must be 'sync', 'batch' or 'async', got {self.durability!r}"
            )
        interval = self.flush_interval
        is_number = isinstance(interval, (int, float)) and not isinstance(interval, bool)
        if not is_number or not 0 < interval < math.inf:
            raise ConfigError(
                f"flush_interval must be above 0 seconds and finite, got {interval!r}"
            )
        size = self.write_batch_size
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ConfigError(f"write_batch_size must be an int of 1 or more records, got {size!r}")

"""How much an embedding cache keeps, where, and for how long."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from llmspell.errors import ConfigError

__all__ = ["DiskDtype", "EmbeddingCacheSettings"]

DiskDtype = Literal["float32", "float16"]

_LEAST: Final = {
    "memory_bytes": 1 << 16,
    "memory_entries": 1,
    "disk_bytes": 0,
    "compress_over": 0,
    "max_pending": 1,
    "max_open": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCacheSettings:
    """Settings of the cache of ``llmspell.open(embedding_cache=...)``.

    Args:
        memory_bytes: of vectors, keys and what holds them, in this process, of all tenants
            together; 64 KiB or more.
        memory_entries: as many vectors at most.
        disk_bytes: keys and values of each tenant on disk; 0 keeps none there.
        disk_dtype: ``"float16"`` takes half the disk; what comes back is rounded to it.
        compress_over: bytes of a vector above which it is compressed on disk, where that is
            shorter.
        ttl: seconds that a vector is used after it was made; None for ever.
        max_pending: vectors that wait to be written to disk; what comes beyond is left out.
        max_open: tenants whose cache on disk is open at a time, beside those in use at that moment;
            each takes two file descriptors.
        shared_by: ids of tenants that have one cache together, for public texts: each of them
            could tell by the time it takes whether another has embedded a text. All others have
            one of their own.
        redis_url: of a server, as redis-py takes it, that hosts share: asked for what neither
            memory nor disk has, and told of what is embedded. Tenants of one id are one tenant on
            all of them. It isn't shown: it may hold a password.
        redis_timeout: seconds that an answer waits for the server at most.
        redis_ttl: seconds after which the server lets go of a vector, unless ``ttl`` is shorter.
        redis_namespace: what names there begin with; hosts of another one share nothing.

    Raises:
        ConfigError: one is out of range.
    """

    memory_bytes: int = 64 << 20
    memory_entries: int = 100_000
    disk_bytes: int = 256 << 20
    disk_dtype: DiskDtype = "float32"
    compress_over: int = 8_192
    ttl: float | None = None
    max_pending: int = 4_096
    max_open: int = 64
    shared_by: frozenset[str] = field(default_factory=frozenset)
    redis_url: str | None = field(default=None, repr=False)
    redis_timeout: float = 0.05
    redis_ttl: float = 604_800.0
    redis_namespace: str = "llmspell"

    def __post_init__(self) -> None:
        """Check all of them."""
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{name} must be an int of {least:,} or more, got {value!r}")
        if self.disk_dtype not in get_args(DiskDtype):
            raise ConfigError(f"disk_dtype must be float32 or float16, got {self.disk_dtype!r}")
        for name in ("ttl", "redis_timeout", "redis_ttl"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (is_number and 0 < value < math.inf) and (name, value) != ("ttl", None):
                none = ", or None" if name == "ttl" else ""
                raise ConfigError(f"{name} must be seconds above 0{none}, got {value!r}")
        if not isinstance(self.redis_url, (str, type(None))):
            raise ConfigError(f"redis_url must be a str, or None, got {type(self.redis_url)}")
        # It goes into a pattern, so nothing of that kind may be in it.
        name = self.redis_namespace
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.:{}-]{1,64}", name):
            raise ConfigError(
                f"redis_namespace must be 1 to 64 of A-Z a-z 0-9 _ . : {{ }} -, got {name!r}"
            )
        if not isinstance(self.shared_by, frozenset) or not all(
            isinstance(one, str) for one in self.shared_by
        ):
            raise ConfigError(f"shared_by must be a frozenset of ids, got {self.shared_by!r}")

"""No text is embedded twice: the cache in front of an embedding model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ClosedError, ShapeError
from llmspell.rag.cache.asked import Asked
from llmspell.rag.cache.compartments import Compartments
from llmspell.rag.cache.disks import Disks
from llmspell.rag.cache.entry import Made
from llmspell.rag.cache.flights import (
    Flights,
    Missed,
    embedding,
    is_embedding,
    landed,
    landed_async,
)
from llmspell.rag.cache.keys import text_keys
from llmspell.rag.cache.memory import MemoryTier
from llmspell.rag.cache.packages import required
from llmspell.rag.cache.remote import RemoteTier
from llmspell.rag.cache.settings import EmbeddingCacheSettings
from llmspell.rag.cache.stats import Counters, EmbeddingCacheStats
from llmspell.tenancy.ports import AsyncEmbed, CacheOwner, Embed, EmbeddingModel

__all__ = ["EmbeddingCache"]

# No entry is older than this, where none is too old.
_EVER: Final = -1


class EmbeddingCache:
    """Vectors of texts in memory, on disk and in Redis, by tenant. Thread-safe.

    ``llmspell.open(embedding_cache=...)`` makes one; all of a database's texts go through it. A
    vector comes back as it was made, to the last bit, unless ``disk_dtype`` says otherwise.

    Args:
        settings: how much is kept.
        shared: directory in which tenants that share entries keep them; None keeps those in memory
            alone.

    Raises:
        ConfigError: ``redis_url`` isn't one that redis-py takes.
        MissingDependency: without the extra ``cache``; or ``redis``, where there is a URL.
    """

    def __init__(
        self, settings: EmbeddingCacheSettings | None = None, *, shared: Path | None = None
    ) -> None:
        self.settings = settings or EmbeddingCacheSettings()
        for name in ("blake3", "zstandard"):
            required(name)
        self._counters = Counters()
        self._memory = MemoryTier(
            self.settings.memory_bytes, self.settings.memory_entries, self._counters
        )
        self._disks = Disks(self.settings, self._counters)
        has_remote = self.settings.redis_url is not None
        self._remote = RemoteTier(self.settings, self._counters) if has_remote else None
        self._flights = Flights()
        self._compartments = Compartments(self.settings, shared)
        self._is_closed = False

    def embed(
        self,
        owner: CacheOwner,
        model: EmbeddingModel,
        task: str,
        texts: Sequence[str],
        compute: Embed,
    ) -> NDArray[np.float32]:
        """Vectors of texts: from the cache, or from ``compute``.

        A text that several calls want at a time is computed once, and so is one that stands in
        ``texts`` twice. Where the call that computes it fails, each of the others does it itself.
        What ``compute`` raises is raised, and nothing of it is kept.

        Args:
            owner: the tenant whose texts they are.
            model: that ``compute`` asks.
            task: what the texts are for, as ``"passage"`` or ``"query"``: tells apart what the
                model does.
            texts: n of them.
            compute: called with the texts that aren't there, each once; not at all without any.

        Returns:
            (n, model.dim) float32.

        Raises:
            ClosedError: the cache is closed.
            ShapeError: ``compute`` gave other than (texts, model.dim).
        """
        asked = self._asked(owner, model, task, texts)
        if not isinstance(asked, Asked):
            return asked
        if asked.missing:
            self._look(asked)
        while wanted := asked.wanted():
            if not is_embedding():
                with self._flights.board(wanted, asked.made) as (mine, theirs):
                    if mine and self._flights.landings != asked.since:
                        mine = self._since(asked, mine)
                    self._compute(asked, mine, compute)
                wanted = self._met(asked, landed(theirs))
            self._compute(asked, wanted, compute)
        return asked.answer()

    async def aembed(
        self,
        owner: CacheOwner,
        model: EmbeddingModel,
        task: str,
        texts: Sequence[str],
        compute: AsyncEmbed,
    ) -> NDArray[np.float32]:
        """As :meth:`embed`, without holding up the event loop.

        Calls of both forms share what they embed. Where one that embeds is cancelled, one of those
        who wait for it takes its place.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        asked = self._asked(owner, model, task, texts)
        if not isinstance(asked, Asked):
            return asked
        if asked.missing:
            await asyncio.to_thread(self._look, asked)
        while wanted := asked.wanted():
            if not is_embedding():
                with self._flights.board(wanted, asked.made, loop) as (mine, theirs):
                    if mine and self._flights.landings != asked.since:
                        mine = await asyncio.to_thread(self._since, asked, mine)
                    await self._acompute(asked, mine, compute)
                wanted = self._met(asked, await landed_async(theirs))
            await self._acompute(asked, wanted, compute)
        return asked.answer()

    def stats(self) -> EmbeddingCacheStats:
        """What was done, and what is held."""
        entries, size = self._disks.state()
        return EmbeddingCacheStats(
            **self._counters.values(),
            memory_entries=len(self._memory),
            memory_bytes=self._memory.size,
            disk_entries=entries,
            disk_bytes=size,
        )

    def flush(self) -> None:
        """Wait until what waits to be written to disk, and to Redis, is there."""
        self._disks.flush()
        if self._remote is not None:
            self._remote.flush()

    def rest(self, scope: bytes) -> None:
        """Close the files of a tenant that nobody uses; its next text opens them again."""
        self._compartments.rest(scope)
        self._disks.rest(scope)

    def forget(self, owner: CacheOwner) -> None:
        """Let all of a tenant's entries in memory go, for good, and its files be removed.

        A server of several hosts is told beside, and again while it is away.
        """
        compartment = self._compartments.forget(owner)
        self._memory.forget(compartment)
        self.rest(owner.key)
        if self._remote is not None:
            self._remote.forget(compartment)

    def close(self) -> None:
        """Write what waits, and close all files. Does nothing the second time."""
        self._is_closed = True
        self._disks.close()
        if self._remote is not None:
            self._remote.close()

    def _asked(
        self, owner: CacheOwner, model: EmbeddingModel, task: str, texts: Sequence[str]
    ) -> Asked | NDArray[np.float32]:
        """What memory has: the answer, where that is all that is asked of one text."""
        if self._is_closed:
            raise ClosedError("the embedding cache is closed")
        compartment = self._compartments.of(owner)
        keys = text_keys(compartment.prefix(model, task), texts)
        oldest_us = self._oldest()
        # Read first: what lands behind memory's answer is looked for again.
        since = self._flights.landings
        if len(keys) == 1:  # a query, which can't wait
            made = self._memory.get(keys[0], oldest_us)
            if made is not None:
                self._counters.memory_hits.inc()
                return made.vector.reshape(1, -1).copy()
        asked = Asked(compartment, model, task, texts, oldest_us, since)
        hits = 0
        for place, key in enumerate(keys):
            made = self._memory.get(key, oldest_us)
            if made is None:
                asked.missing.setdefault(key, []).append(place)
            else:
                asked.out[place] = made.vector
                hits += 1
        self._counters.memory_hits.inc(hits)
        twice = sum(len(places) - 1 for places in asked.missing.values())
        self._counters.shared.inc(twice)
        return asked

    def _look(self, asked: Asked) -> None:
        """What the disk has, and then what other hosts have."""
        compartment, dim = asked.compartment, asked.model.dim
        found = self._disks.get(compartment, list(asked.missing), dim, asked.oldest_us)
        for key, made in found.items():
            self._memory.put(key, made, compartment)
        self._counters.disk_hits.inc(len(found))
        asked.made |= found
        if self._remote is not None and len(found) < len(asked.missing):
            self._look_afar(asked, self._remote)

    def _look_afar(self, asked: Asked, remote: RemoteTier) -> None:
        """What other hosts embedded, of what the disk hasn't."""
        compartment, dim = asked.compartment, asked.model.dim
        wanted = asked.wanted()
        names = compartment.remote_names(asked.model, asked.task, asked.texts_of(wanted))
        asked.names = dict(zip(wanted, names, strict=True))
        found = remote.get(compartment, names, dim, asked.oldest_us)
        for key, name in asked.names.items():
            made = found.get(name)
            if made is not None:
                asked.made[key] = made
                self._memory.put(key, made, compartment)
                self._disks.put(compartment, key, made)
        self._counters.redis_hits.inc(len(found))

    def _since(self, asked: Asked, keys: Sequence[bytes]) -> list[bytes]:
        """Those keys that are still missing: what was under way may have come in.

        Memory may have let go of that again: where it is full, it does of what is asked for once.
        """
        found: dict[bytes, Made] = {}
        for key in keys:
            made = self._memory.get(key, asked.oldest_us)
            if made is not None:
                found[key] = made
        missing = [key for key in keys if key not in found]
        if missing:
            dim, oldest_us = asked.model.dim, asked.oldest_us
            found |= self._disks.get(asked.compartment, missing, dim, oldest_us)
        self._counters.shared.inc(len(found))
        asked.made |= found
        return [key for key in keys if key not in found]

    def _met(self, asked: Asked, ends: Mapping[bytes, Made | Missed]) -> list[bytes]:
        """Take what others made; gives the keys that the caller is to embed itself."""
        made = {key: end for key, end in ends.items() if isinstance(end, Made)}
        self._counters.shared.inc(len(made))
        asked.made |= made
        return [key for key, end in ends.items() if end is Missed.FAILED]

    def _compute(self, asked: Asked, keys: Sequence[bytes], compute: Embed) -> None:
        if keys:
            self._counters.misses.inc(len(keys))
            with embedding():
                rows = compute(asked.texts_of(keys))
            self._keep(asked, keys, rows)

    async def _acompute(self, asked: Asked, keys: Sequence[bytes], compute: AsyncEmbed) -> None:
        if keys:
            self._counters.misses.inc(len(keys))
            with embedding():
                rows = await compute(asked.texts_of(keys))
            self._keep(asked, keys, rows)

    def _keep(self, asked: Asked, keys: Sequence[bytes], rows: NDArray[np.float32]) -> None:
        model = asked.model
        if rows.shape != (len(keys), model.dim):
            raise ShapeError(
                f"{model.provider}/{model.model_id} gave vectors of shape {rows.shape} for "
                f"{len(keys)} texts; ({len(keys)}, {model.dim}) expected"
            )
        at_us = time.time_ns() // 1_000
        for key, row in zip(keys, rows, strict=True):
            vector = np.array(row, dtype=np.float32)
            vector.flags.writeable = False
            made = asked.made[key] = Made(vector, at_us)
            if np.isfinite(vector).all():
                self._memory.put(key, made, asked.compartment)
                self._disks.put(asked.compartment, key, made)
                if self._remote is not None:
                    self._remote.put(asked.compartment, asked.names[key], made)

    def _oldest(self) -> int:
        ttl = self.settings.ttl
        return _EVER if ttl is None else time.time_ns() // 1_000 - int(ttl * 1e6)

"""No text is embedded twice: the cache in front of an embedding model."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ClosedError, ShapeError
from llmspell.rag.cache.compartment import SHARED_SCOPE, Compartment
from llmspell.rag.cache.disks import Disks
from llmspell.rag.cache.entry import Made
from llmspell.rag.cache.flights import Flights, embedding, is_embedding, landed
from llmspell.rag.cache.keys import text_keys
from llmspell.rag.cache.memory import MemoryTier
from llmspell.rag.cache.packages import required
from llmspell.rag.cache.settings import EmbeddingCacheSettings
from llmspell.rag.cache.stats import Counters, EmbeddingCacheStats
from llmspell.tenancy.ports import CacheOwner, Embed, EmbeddingModel, Task

__all__ = ["EmbeddingCache"]

_DIRECTORY: Final = "embeddings"
# No entry is older than this, where none is too old.
_EVER: Final = -1


class EmbeddingCache:
    """Vectors of texts in memory and on disk, by tenant. Thread-safe.

    ``llmspell.open(embedding_cache=...)`` makes one; all of a database's texts go through it. A
    vector comes back as it was made, to the last bit, unless ``disk_dtype`` says otherwise.

    Args:
        settings: how much is kept.
        shared: directory in which tenants that share entries keep them; None keeps those in memory
            alone.

    Raises:
        MissingDependency: without the extra ``cache``.
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
        self._flights = Flights()
        self._lock = threading.Lock()
        self._compartments: dict[bytes, Compartment] = {}
        self._shared = Compartment(SHARED_SCOPE, self._directory(shared))
        self._is_closed = False

    def embed(
        self,
        owner: CacheOwner,
        model: EmbeddingModel,
        task: Task,
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
            task: what the texts are for: ``"passage"`` or ``"query"``.
            texts: n of them.
            compute: called with the texts that aren't there, each once; not at all without any.

        Returns:
            (n, model.dim) float32.

        Raises:
            ClosedError: the cache is closed.
            ShapeError: ``compute`` gave other than (texts, model.dim).
        """
        if self._is_closed:
            raise ClosedError("the embedding cache is closed")
        compartment = self._compartment(owner)
        keys = text_keys(compartment.prefix(model, task), texts)
        oldest = self._oldest()
        if len(keys) == 1:  # a query, which can't wait
            made = self._memory.get(keys[0], oldest)
            if made is not None:
                self._counters.memory_hits.inc()
                return made.vector.reshape(1, -1).copy()
        out = np.empty((len(texts), model.dim), dtype=np.float32)
        missing: dict[bytes, list[int]] = {}
        hits = 0
        for position, key in enumerate(keys):
            made = self._memory.get(key, oldest)
            if made is None:
                missing.setdefault(key, []).append(position)
            else:
                out[position] = made.vector
                hits += 1
        self._counters.memory_hits.inc(hits)
        if not missing:
            return out
        found = self._find(compartment, list(missing), model.dim, oldest)
        wanted = [key for key in missing if key not in found]
        twice = sum(len(places) - 1 for places in missing.values())
        self._counters.shared.inc(twice)
        if wanted:
            text_of = {key: texts[missing[key][0]] for key in wanted}
            found |= self._make(compartment, model, text_of, compute, oldest)
        for key, places in missing.items():
            out[places] = found[key].vector
        return out

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
        """Wait until what waits to be written to disk is there."""
        self._disks.flush()

    def rest(self, scope: bytes) -> None:
        """Close the files of a tenant that nobody uses; its next text opens them again."""
        with self._lock:
            compartment = self._compartments.get(scope)
            if compartment is not None and not compartment.is_gone:
                del self._compartments[scope]
        self._disks.rest(scope)

    def forget(self, owner: CacheOwner) -> None:
        """Let all of a tenant's entries in memory go, for good, and its files be removed."""
        with self._lock:
            compartment = self._compartments.setdefault(owner.key, Compartment(owner.key, None))
        self._memory.forget(compartment)
        self._disks.rest(owner.key)

    def close(self) -> None:
        """Write what waits, and close all files. Does nothing the second time."""
        self._is_closed = True
        self._disks.close()

    def _find(
        self, compartment: Compartment, keys: Sequence[bytes], dim: int, oldest: int
    ) -> dict[bytes, Made]:
        found = self._disks.get(compartment, keys, dim, oldest)
        for key, made in found.items():
            self._memory.put(key, made, compartment)
        self._counters.disk_hits.inc(len(found))
        return found

    def _make(
        self,
        compartment: Compartment,
        model: EmbeddingModel,
        text_of: dict[bytes, str],
        compute: Embed,
        oldest: int,
    ) -> dict[bytes, Made]:
        if is_embedding():  # others may wait for the call that asks, and so mustn't be waited for
            return self._compute(compartment, model, text_of, compute)
        mine, theirs = self._flights.join(list(text_of))
        made: dict[bytes, Made] = {}
        try:
            # One that was under way when it was looked for may have come in since.
            for key in mine:
                known = self._memory.get(key, oldest)
                if known is not None:
                    made[key] = known
            self._counters.shared.inc(len(made))
            left = {key: text_of[key] for key in mine if key not in made}
            if left:
                made |= self._compute(compartment, model, left, compute)
        finally:
            self._flights.land(mine, made)
        failed = {}
        for key, flight in theirs.items():
            one = landed(flight)
            if one is None:
                failed[key] = text_of[key]
            else:
                made[key] = one
        self._counters.shared.inc(len(theirs) - len(failed))
        if failed:
            made |= self._compute(compartment, model, failed, compute)
        return made

    def _compute(
        self,
        compartment: Compartment,
        model: EmbeddingModel,
        text_of: dict[bytes, str],
        compute: Embed,
    ) -> dict[bytes, Made]:
        self._counters.misses.inc(len(text_of))
        with embedding():
            rows = compute(list(text_of.values()))
        if rows.shape != (len(text_of), model.dim):
            raise ShapeError(
                f"{model.provider}/{model.model_id} gave vectors of shape {rows.shape} for "
                f"{len(text_of)} texts; ({len(text_of)}, {model.dim}) expected"
            )
        at_us = time.time_ns() // 1_000
        made = {}
        for key, row in zip(text_of, rows, strict=True):
            vector = np.array(row, dtype=np.float32)
            vector.flags.writeable = False
            one = made[key] = Made(vector, at_us)
            if np.isfinite(vector).all():
                self._memory.put(key, one, compartment)
                self._disks.put(compartment, key, one)
        return made

    def _compartment(self, owner: CacheOwner) -> Compartment:
        if owner.id in self.settings.shared_by:
            return self._shared
        compartment = self._compartments.get(owner.key)
        if compartment is None:
            with self._lock:
                compartment = self._compartments.setdefault(
                    owner.key, Compartment(owner.key, self._directory(owner.directory))
                )
        return compartment

    def _directory(self, parent: Path | None) -> Path | None:
        if parent is None or not self.settings.disk_bytes:
            return None
        return parent / _DIRECTORY

    def _oldest(self) -> int:
        ttl = self.settings.ttl
        return _EVER if ttl is None else time.time_ns() // 1_000 - int(ttl * 1e6)

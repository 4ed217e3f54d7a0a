"""Which compartment a tenant's entries lie in, and which tenants are gone for good."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from llmspell.rag.cache.compartment import SHARED_SCOPE, Compartment
from llmspell.rag.cache.keys import remote_prefix
from llmspell.rag.cache.settings import EmbeddingCacheSettings
from llmspell.tenancy.ports import CacheOwner

__all__ = ["Compartments"]

_DIRECTORY: Final = "embeddings"
# Tenants that were dropped last, which a call may just be on its way to.
_KNOWN_GONE: Final = 1_024


class Compartments:
    """One for each tenant that uses the cache, and one for those that share. Thread-safe.

    Attributes:
        shared: that of the tenants that share entries.
    """

    def __init__(self, settings: EmbeddingCacheSettings, shared: Path | None) -> None:
        """Begin without any tenant; ``shared`` as of :class:`EmbeddingCache`."""
        self._settings = settings
        self._lock = threading.Lock()
        self._used: dict[bytes, Compartment] = {}
        # A call may still be under way in one, and must see it go.
        self._resting: WeakValueDictionary[bytes, Compartment] = WeakValueDictionary()
        self._gone: dict[bytes, None] = {}  # scopes, the oldest first
        self.shared = Compartment(SHARED_SCOPE, self._directory(shared), self._afar(None))

    def of(self, owner: CacheOwner) -> Compartment:
        """The one that a tenant's entries lie in, which may be the shared one."""
        if owner.id in self._settings.shared_by:
            return self.shared
        compartment = self._used.get(owner.key)
        return self._own(owner) if compartment is None else compartment

    def rest(self, scope: bytes) -> None:
        """Hold none of a tenant that nobody uses, but while a call is under way in it."""
        with self._lock:
            compartment = self._used.pop(scope, None)
            if compartment is not None:
                self._resting[scope] = compartment

    def forget(self, owner: CacheOwner) -> Compartment:
        """Its own one, of a tenant that was dropped: what is made from now on is gone, too."""
        with self._lock:
            self._gone[owner.key] = None
            while len(self._gone) > _KNOWN_GONE:
                del self._gone[next(iter(self._gone))]
        return self._own(owner)

    def _own(self, owner: CacheOwner) -> Compartment:
        with self._lock:
            found = self._used.get(owner.key) or self._resting.get(owner.key)
            if found is None:
                directory = self._directory(owner.directory)
                found = Compartment(owner.key, directory, self._afar(owner.id))
                if owner.key in self._gone:
                    found.is_gone = True
                    return found
            return self._used.setdefault(owner.key, found)

    def _directory(self, parent: Path | None) -> Path | None:
        if parent is None or not self._settings.disk_bytes:
            return None
        return parent / _DIRECTORY

    def _afar(self, tenant_id: str | None) -> bytes:
        if self._settings.redis_url is None:
            return b""
        return remote_prefix(self._settings.redis_namespace, tenant_id)

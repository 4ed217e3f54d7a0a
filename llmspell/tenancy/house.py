"""What all tenants of one open database have in common."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

from llmspell.errors import (
    ClosedError,
    FlushFailed,
    LlmspellError,
    StorageError,
    TenantNotFound,
)
from llmspell.observability import Instruments
from llmspell.quota import JoinedSlot, Slot, Usage
from llmspell.storage import CatalogEntry, Flusher
from llmspell.tenancy.budget import Budget
from llmspell.tenancy.handles import HandleRef
from llmspell.tenancy.ports import TextServices, VectorCache
from llmspell.tenancy.registry import Registry
from llmspell.tenancy.residence import Residence
from llmspell.tenancy.residents import Residents
from llmspell.tenancy.tenant import Tenant

__all__ = ["House"]

_LOG = logging.getLogger("llmspell")


class House:
    """The tenants of a database that this process has handles to, or rooms open of. Thread-safe.

    Of all others it holds nothing.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        instruments: Instruments,
        texts: Callable[[], TextServices],
        budget: Budget,
        flusher: Flusher,
        map_size: int,
        lock_timeout: float,
        embedding_cache: VectorCache | None = None,
    ) -> None:
        """Describe a database; nothing is opened.

        Args:
            registry: of the data directory.
            instruments: of the database.
            texts: gives the text services when they are first needed.
            budget: of the rooms that are open.
            flusher: commits what waits.
            map_size: bytes of address space of a room's LMDB environment.
            lock_timeout: seconds to wait for another process that writes to a room.
            embedding_cache: of the vectors of texts; whoever made it closes it.
        """
        self.registry = registry
        self.root = registry.root
        self.instruments = instruments
        self.texts = texts
        self.flusher = flusher
        self.map_size = map_size
        self.lock_timeout = lock_timeout
        self.embedding_cache = embedding_cache
        self.residents = Residents(budget)
        self.lock = threading.RLock()
        self._residences: dict[bytes, Residence] = {}
        self._forgotten: deque[HandleRef] = deque()
        # Takes no lock: the collector may run while any is held.
        self.forget = self._forgotten.append
        self._is_closed = False
        _ALL.add(self)

    def require_open(self) -> None:
        """Raise ClosedError where the database is closed."""
        if self._is_closed:
            raise ClosedError(f"{self.root}: the database is closed")

    def handle(self, entry: CatalogEntry) -> Tenant:
        """A new handle to a tenant; raises ClosedError where the database is closed."""
        handle = self._handle(entry)
        # Now that it has a handle again, the tenant asked for stays open.
        self.close_forgotten()
        return handle

    def _handle(self, entry: CatalogEntry) -> Tenant:
        with self.lock:
            return Tenant(self.residence(entry))

    def residence(self, entry: CatalogEntry) -> Residence:
        """The one residence of a tenant, while the lock is held; raises ClosedError as above."""
        self.require_open()
        residence = self._residences.get(entry.key)
        if residence is None:
            residence = Residence(self, *self.listed(entry))
            # Its own key, so that one is held and not two of equal bytes.
            self._residences[residence.entry.key] = residence
        return residence

    @contextmanager
    def kept(self, entry: CatalogEntry) -> Iterator[Residence]:
        """The one residence of a tenant, while nobody can come to another one of it.

        No lock is held: what is done with it may wait for one that reads slowly, and other tenants
        don't. Raises ClosedError, TenantNotFound.
        """
        with closing(self._handle(entry)) as handle:
            yield handle._residence

    def retire(self, residence: Residence) -> None:
        """Let a residence go that has neither handles nor an open room."""
        with self.lock:
            # Handles are given out under the lock, so none can come meanwhile. Where another thread
            # came first, there may be a new residence of that tenant.
            key = residence.entry.key
            if not residence.is_empty or self._residences.get(key) is not residence:
                return
            del self._residences[key]
        if self.embedding_cache is not None:
            self.embedding_cache.rest(key)

    def purge_expired(self) -> int:
        """See :meth:`llmspell.Database.purge_expired`."""
        purged = 0
        with self.registry.auditor.step("tenant.purge", None, "expired records") as done:
            for entry in self.registry.catalog.entries():
                if entry.suspension == "none":
                    try:
                        # The handle keeps others from a second residence of the tenant meanwhile.
                        with closing(self._handle(entry)) as handle:
                            purged += handle._residence.purge()
                    except (StorageError, TenantNotFound) as error:
                        _LOG.warning("tenant %s: not purged: %s", entry.config.id, error)
            done["records"] = purged
        return purged

    def flush(self) -> None:
        """See :meth:`llmspell.Database.flush`."""
        self.require_open()
        failures: list[FlushFailed] = []
        for residence in self.residences():
            try:
                residence.flush()
            except FlushFailed as error:
                failures.append(error)
            except TenantNotFound:
                # What waited ended with it.
                continue
        if failures:
            for other in failures[1:]:
                failures[0].add_note(str(other))
            raise failures[0]

    def listed(self, entry: CatalogEntry) -> tuple[CatalogEntry, Slot]:
        """As :meth:`Registry.listed`, while the lock is held; raises TenantNotFound."""
        residence = self.known(entry.key)
        return self.registry.listed(entry, None if residence is None else residence.slot)

    def known(self, key: bytes) -> Residence | None:
        """The residence of a tenant that has handles or an open room."""
        return self._residences.get(key)

    def residences(self) -> list[Residence]:
        """All residences that there are at present."""
        with self.lock:
            return list(self._residences.values())

    def usages(self) -> Iterator[tuple[str, Usage]]:
        """What each tenant of the directory uses, as far as the ledger knows; nothing is opened."""
        for entry in self.registry.catalog.entries():
            with self.lock:
                try:
                    slot = self.listed(entry)[1]
                    # After a restart not before the tenant's first use: nothing is opened here.
                    if not slot.levels_known:
                        continue
                    # Of shared quotas this host's part: metrics ask no other server.
                    usage = slot.own_usage() if isinstance(slot, JoinedSlot) else slot.usage()
                except (ClosedError, StorageError, TenantNotFound):
                    continue
            yield entry.config.id, usage

    def recalls(self) -> Iterator[tuple[str, dict[int, float]]]:
        """The recall by k that searches of open tenants reach, of those that have measured it."""
        for residence in self.residences():
            yield residence.entry.config.id, residence.estimated_recall()

    def close_forgotten(self) -> None:
        """Close the rooms of tenants whose last handle was collected instead of closed.

        One that another thread is at, which may wait for a slow reader, is left to the next call.
        """
        for _ in range(len(self._forgotten)):
            try:
                gone = self._forgotten.popleft()
            except IndexError:  # another thread does the same
                return
            residence = self._residences.get(gone.key)
            if residence is None:
                continue
            try:
                if not residence.close_forgotten():
                    self._forgotten.append(gone)
            except (LlmspellError, OSError) as error:
                # Not to be told to whoever uses another tenant; what waits is kept.
                _LOG.warning("tenant %s: closing its room: %s", residence.entry.config.id, error)

    def close(self) -> None:
        """Close all of them; the second time what the first left undone."""
        with self.lock, ExitStack() as closing:
            self._is_closed = True
            for residence in self._residences.values():
                closing.callback(residence.close)
            # Kept where that fails, for a second call.
            closing.pop_all().close()
            self._residences.clear()


_ALL: weakref.WeakSet[House] = weakref.WeakSet()


def _abandon_all() -> None:
    for house in list(_ALL):
        for residence in list(house._residences.values()):
            residence.abandon()


os.register_at_fork(after_in_child=_abandon_all)

"""Tenants made from what another tenant held: restored from a snapshot, or cloned."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from llmspell.config import QuotaLimits, TenantConfig
from llmspell.errors import CorruptFile, TenantExists, TenantNotFound
from llmspell.quota import Quota
from llmspell.storage import CatalogEntry, Room
from llmspell.storage.archive import archive_members, unpack_archive
from llmspell.storage.log import Counters
from llmspell.storage.room_copy import write_room
from llmspell.storage.staging import StagedRoom
from llmspell.storage.store import TenantStore
from llmspell.storage.verify import verify
from llmspell.tenancy.registry import Registry

__all__ = ["Install", "Origin", "TenantMaker"]

#: Counted by the day or the month: a tenant that is replaced doesn't begin anew.
_WINDOWS: Final = (Quota.EMBEDDINGS, Quota.TOKENS, Quota.COST)

#: Lists a tenant in place of an old one; given what does so and returns the new entry.
Install = Callable[[CatalogEntry | None, Callable[[], CatalogEntry]], CatalogEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a tenant is made with.

    Args:
        tenant_id: of the new tenant; None for that of the one that it is made from.
        replace: whether there may be one of that id, which goes then.
        name, quotas: None for those of the tenant that is replaced, if any, or of the one that it
            is made from.
    """

    tenant_id: str | None
    replace: bool = False
    name: str | None = None
    quotas: QuotaLimits | None = None


class TenantMaker:
    """Makes tenants in a data directory. Thread-safe."""

    def __init__(
        self,
        registry: Registry,
        *,
        install: Install,
        map_size: int,
    ) -> None:
        """Describe where.

        Args:
            registry: of the data directory.
            install: see :data:`Install`.
            map_size: bytes of address space that a tenant has.
        """
        self._registry = registry
        self._install = install
        self._map_size = map_size

    def restore(self, source: str | os.PathLike[str] | BinaryIO, origin: Origin) -> CatalogEntry:
        """See :meth:`llmspell.Database.restore_tenant`."""
        if origin.tenant_id is not None:
            self._require_free(origin.tenant_id, origin)
        with self._staged() as staged:
            with archive_members(source) as (name, members):
                manifest = unpack_archive(name, members, staged.room.path, map_size=self._map_size)
            counters = self._verify(staged, manifest.config)
            has_dim = counters.dim in (0, manifest.config.dim or counters.dim)
            if counters != manifest.counters or not has_dim:
                raise CorruptFile(f"{name}: its manifest says other than {counters}")
            return self._finish(staged, manifest.config, counters, origin)

    def clone(self, room: Room, source: CatalogEntry, origin: Origin) -> CatalogEntry:
        """See :meth:`llmspell.Database.clone_tenant`."""
        self._require_free("" if origin.tenant_id is None else origin.tenant_id, origin)
        with self._staged() as staged:
            with room.copying() as copy:
                counters = copy.moment.counters
                write_room(copy, staged.room.path)
            return self._finish(staged, source.config, counters, origin)

    def _verify(self, staged: _Staged, config: TenantConfig) -> Counters:
        store = TenantStore(
            staged.room.path, self._registry.ledger.slot(staged.room.key), map_size=self._map_size
        )
        with closing(store), store.moment() as moment:
            return verify(moment, config.metric)

    def _finish(
        self, staged: _Staged, config: TenantConfig, counters: Counters, origin: Origin
    ) -> CatalogEntry:
        """Put a room that is verified and durable in its place, and list it."""
        tenant_id = config.id if origin.tenant_id is None else origin.tenant_id
        config = replace(config, id=tenant_id)
        expected = self._require_free(tenant_id, origin)

        def make(old: CatalogEntry | None) -> CatalogEntry:
            if (old and old.key) != (expected and expected.key):
                raise (TenantNotFound if old is None else TenantExists)(
                    f"tenant {tenant_id!r} was made or dropped meanwhile; try again"
                )
            kept = config if old is None else old.config
            entry = CatalogEntry(
                replace(
                    config,
                    name=kept.name if origin.name is None else origin.name,
                    quotas=kept.quotas if origin.quotas is None else origin.quotas,
                ),
                staged.generation,
                staged.room.key,
                time.time_ns() // 1_000,
                "none" if old is None else old.suspension,
            )
            staged.entry = entry
            # Its own quotas it may be beyond, as it was: limits can be lowered.
            is_held = old is not None or origin.quotas is not None
            self._charge(entry, counters, old, is_held=is_held)
            staged.room.move(self._registry.root / entry.directory)
            return entry

        return self._install(expected, lambda: self._registry.catalog.install(tenant_id, make))

    def _charge(
        self, entry: CatalogEntry, counters: Counters, old: CatalogEntry | None, *, is_held: bool
    ) -> None:
        """Let the ledger know what the tenant holds; raises QuotaExceeded."""
        # Without the hook, which is for charges of operations.
        slot = self._registry.ledger.slot(entry.key)
        if old is not None:
            before = self._registry.ledger.slot(old.key)
            for quota in _WINDOWS:
                slot.charge(quota, before.usage().of(quota).used)
        slot.set_limits(entry.config.quotas)
        if is_held:
            slot.set_levels(documents=0, vectors=0, storage=0, dimensions=0)
            slot.reserve(
                documents=counters.documents,
                vectors=counters.vectors,
                storage=counters.storage,
                dimensions=counters.dim,
            ).cancel()
        slot.set_levels(counters.documents, counters.vectors, counters.storage, counters.dim)
        slot.set_log_head(counters.sequence)
        self._registry.slot(entry)

    def _require_free(self, tenant_id: str, origin: Origin) -> CatalogEntry | None:
        """The tenant of an id, if any; raises TenantExists where it mayn't be replaced."""
        TenantConfig(id=tenant_id)  # raises ConfigError
        try:
            old = self._registry.catalog.get(tenant_id)
        except TenantNotFound:
            return None
        if not origin.replace:
            raise TenantExists(
                f"tenant {tenant_id!r} exists; give another tenant_id, or restore with replace=True"
            )
        return old

    @contextmanager
    def _staged(self) -> Iterator[_Staged]:
        generation, key = self._registry.catalog.allot()
        with StagedRoom(self._registry.root, key) as room:
            staged = _Staged(generation, room)
            try:
                yield staged
            except BaseException:
                # An exception from elsewhere may come behind the commit: then the tenant is there.
                if staged.entry is None or not self._registry.is_listed(staged.entry):
                    self._registry.remove(key)
                room.remove()
                raise
            room.remove()


@dataclass(slots=True)
class _Staged:
    """A room in the making; ``entry`` once it has one."""

    generation: int
    room: StagedRoom
    entry: CatalogEntry | None = None

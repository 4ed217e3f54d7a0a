"""Steps in the life of tenants: made, changed, suspended, dropped, restored and cloned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from llmspell.config import QuotaLimits, TenantConfig
from llmspell.quota import JoinedSlot
from llmspell.storage import CatalogEntry
from llmspell.tenancy.house import House
from llmspell.tenancy.model import DropReceipt, EventKind, Suspension, TenantInfo

if TYPE_CHECKING:
    from llmspell.tenancy.tenant_maker import Origin, TenantMaker

__all__ = ["Lifecycle", "info_of"]

_AUDITED_AS: Final = {
    "updated": "tenant.update",
    "suspended": "tenant.suspend",
    "resumed": "tenant.resume",
}


def info_of(entry: CatalogEntry) -> TenantInfo:
    """What the list of tenants says of one."""
    return TenantInfo(
        config=entry.config,
        generation=entry.generation,
        created_at=datetime.fromtimestamp(entry.created_us / 1e6, UTC),
        suspension=entry.suspension,
    )


class Lifecycle:
    """Does what :class:`llmspell.Database` is asked to do with whole tenants. Thread-safe.

    The audit log is told of a step before it begins and when it ends, ``on_event`` behind it.
    """

    def __init__(self, house: House) -> None:
        """Take the tenants of a database."""
        self._house = house
        self._registry = house.registry
        self._catalog = house.registry.catalog
        self._step = house.registry.auditor.step
        self._tell = house.registry.tell

    def create(self, configs: Iterable[TenantConfig]) -> list[CatalogEntry]:
        """See :meth:`llmspell.Database.create_tenants`."""
        entries = self._registry.create(configs)
        for entry in entries:
            self._tell("created", entry)
        return entries

    def update(
        self, tenant_id: str, *, name: str | None, quotas: QuotaLimits | None
    ) -> CatalogEntry:
        """See :meth:`llmspell.Database.update_tenant`."""
        given: dict[str, Any] = {"name": name, "quotas": quotas}
        changes = {field: value for field, value in given.items() if value is not None}
        return self._change(
            "updated",
            tenant_id,
            lambda entry: entry._replace(config=replace(entry.config, **changes)),
            **changes,
        )

    def suspend(self, tenant_id: str, suspension: Suspension) -> CatalogEntry:
        """See :meth:`llmspell.Database.suspend_tenant`."""
        return self._change(
            "suspended",
            tenant_id,
            lambda entry: entry._replace(suspension=suspension),
            suspension=suspension,
        )

    def resume(self, tenant_id: str) -> CatalogEntry:
        """See :meth:`llmspell.Database.resume_tenant`."""
        return self._change("resumed", tenant_id, lambda entry: entry._replace(suspension="none"))

    def drop(self, tenant_id: str) -> DropReceipt:
        """See :meth:`llmspell.Database.drop_tenant`."""
        entry = self._catalog.get(tenant_id)
        with (
            self._step("tenant.drop", tenant_id, generation=entry.generation),
            self._house.kept(entry) as residence,
        ):
            receipt = residence.drop(lambda: self._catalog.drop(entry), self._registry.erase)
        self._tell("dropped", entry)
        return receipt

    def restore(self, source: str | os.PathLike[str] | BinaryIO, origin: Origin) -> CatalogEntry:
        """See :meth:`llmspell.Database.restore_tenant`."""
        with self._step("tenant.restore", origin.tenant_id, replace=origin.replace) as done:
            entry = self._maker().restore(source, origin)
            done |= {"tenant": entry.config.id, "generation": entry.generation}
        self._tell("restored", entry)
        return entry

    def clone(self, source_id: str, origin: Origin) -> CatalogEntry:
        """See :meth:`llmspell.Database.clone_tenant`."""
        copied = self._catalog.get(source_id)
        with (
            self._step("tenant.clone", origin.tenant_id, source=source_id),
            closing(self._house.handle(copied)) as source,
            source._residence.uses,
        ):
            entry = self._maker().clone(source._enter(), copied, origin)
        self._tell("created", entry)
        return entry

    def _change(
        self,
        kind: EventKind,
        tenant_id: str,
        change: Callable[[CatalogEntry], CatalogEntry],
        **details: Any,
    ) -> CatalogEntry:
        """Change what the catalog says of a tenant, and let this process and others know."""
        with self._step(_AUDITED_AS[kind], tenant_id, **details):
            entry = self._catalog.update(tenant_id, change)
        with self._house.lock:
            # Others may have changed it since, and come here first.
            entry, slot = self._house.listed(entry)
            residence = self._house.known(entry.key)
            if residence is not None:
                residence.entry = entry
        self._tell(kind, entry)
        if isinstance(slot, JoinedSlot) and kind == "updated":
            slot.tell()
        return entry

    def _maker(self) -> TenantMaker:
        # Archives and copies of rooms are loaded by those who make tenants of them.
        from llmspell.tenancy.tenant_maker import TenantMaker

        self._house.require_open()
        return TenantMaker(self._registry, install=self._install, map_size=self._house.map_size)

    def _install(
        self, old: CatalogEntry | None, commit: Callable[[], CatalogEntry]
    ) -> CatalogEntry:
        """List a tenant by ``commit``, which drops the old one, if any."""
        if old is None:
            return commit()
        made: list[CatalogEntry] = []

        def replace_old() -> CatalogEntry:
            made.append(commit())
            return old

        with self._house.kept(old) as residence:
            residence.drop(replace_old, self._registry.erase)
        self._tell("dropped", old)
        return made[0]

"""Which tenants a data directory has: its catalog and its ledger, and who is told of changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from llmspell.config import TenantConfig
from llmspell.errors import ClosedError, ConfigError, InputError, TenantNotFound
from llmspell.quota import JoinedSlot, Ledger, OnCrossing, SharedLedger, Slot, outside_of_locks
from llmspell.storage import (
    Catalog,
    CatalogEntry,
    Room,
    StagedKeys,
    erase_directory,
    is_any_abandoned,
)
from llmspell.storage.catalog_entry import directory_of
from llmspell.storage.staging import remove_abandoned
from llmspell.tenancy.auditing import Auditor, open_sink
from llmspell.tenancy.model import EventKind, TenantEvent

if TYPE_CHECKING:
    from llmspell.security.audit import AuditSink

__all__ = ["OnEvent", "Registry"]

_LOG = logging.getLogger("llmspell")

MIN_LEDGER_SLOTS: Final = 4_096

OnEvent: TypeAlias = Callable[[TenantEvent], object]


class Registry:
    """The tenants of a data directory, whether this process uses them or not. Thread-safe.

    Attributes:
        root: the data directory.
        catalog: of it.
        auditor: tells the audit log, if there is one.
    """

    def __init__(
        self,
        root: Path,
        *,
        on_event: OnEvent | None,
        shared_quotas: SharedLedger | str | None,
        audit: AuditSink | str | os.PathLike[str] | None,
    ) -> None:
        """Open the catalog and the ledger, and remove what a crash left; see :class:`Database`."""
        self.root = root
        self._on_event = on_event
        self.catalog = Catalog(root)
        self._closing = ExitStack()
        self._closing.callback(self.catalog.close)
        try:
            sink, opened = open_sink(audit)
            if opened is not None:
                self._closing.callback(opened.close)
            self.auditor = Auditor(sink)
            if isinstance(shared_quotas, str):
                shared_quotas = self._closing.enter_context(SharedLedger(shared_quotas))
            self._shared_quotas = shared_quotas
            slots = max(MIN_LEDGER_SLOTS, 2 * self.catalog.count())
            self._ledger: Ledger | None = Ledger(root / "ledger", slots)
            self._closing.callback(self._leave_ledger)
            for entry in self.catalog.dropped():
                self.erase(entry)
            if is_any_abandoned(root):
                self.catalog.alone(self._remove_abandoned)
        except BaseException:
            self._closing.close()
            raise

    def close(self) -> None:
        """Close both; does nothing the second time."""
        self._closing.close()

    @property
    def ledger(self) -> Ledger:
        """The ledger of the directory; raises ClosedError."""
        if self._ledger is None:
            raise ClosedError(f"{self.root}: the database is closed")
        return self._ledger

    def _leave_ledger(self) -> None:
        # Its file closes with the last slot, which a handle or an open operation may still have.
        self._ledger = None

    def create(self, configs: Iterable[TenantConfig]) -> list[CatalogEntry]:
        """List new tenants, all or none, with a slot each; see ``Database.create_tenants``."""
        made: list[CatalogEntry] = []
        if not isinstance(configs, Iterable):
            raise InputError(f"configs must be TenantConfigs, got {type(configs).__name__}")
        configs = list(configs)
        for config in configs:
            if not isinstance(config, TenantConfig):
                raise ConfigError(f"a tenant is made of a TenantConfig, got {config!r}")

        staging = ExitStack()

        def make(entries: list[CatalogEntry]) -> None:
            self._remove_abandoned()
            staging.enter_context(StagedKeys(self.root, [new.key for new in entries]))
            for new in entries:
                made.append(new)
                self.slot(new).set_levels(documents=0, vectors=0, storage=0, dimensions=0)

        with self.auditor.creation([config.id for config in configs]), staging:
            try:
                return self.catalog.create(configs, make, has_room=False)
            except BaseException:
                # One from elsewhere may come behind the commit: then the tenants are there.
                for new in made:
                    if not self.is_listed(new):
                        self.remove(new.key)
                raise

    def make_room(self, entry: CatalogEntry) -> CatalogEntry:
        """Make the directory of a tenant that has none; gives its entry."""
        return self.catalog.make_room(entry, lambda path: Room.create(self.root / path))

    def find(self, entry: CatalogEntry) -> CatalogEntry | None:
        """The entry as the catalog has it now; None where it was dropped."""
        try:
            found = self.catalog.get(entry.config.id)
        except TenantNotFound:
            return None
        return found if found.key == entry.key else None

    def is_listed(self, entry: CatalogEntry) -> bool:
        """Whether the catalog still has it."""
        return self.find(entry) is not None

    def slot(self, entry: CatalogEntry) -> Slot:
        """The slot of a tenant, listed or not, with its limits and its suspension."""
        return self._agreed(entry, self._open_slot(entry))[1]

    def listed(self, entry: CatalogEntry, held: Slot | None) -> tuple[CatalogEntry, Slot]:
        """The entry of a tenant as the catalog has it now, and its slot that agrees with it.

        Args:
            entry: as it was found before.
            held: the slot that this process has of it, if any: it knows whether the hosts that
                share quotas have been told of its limits.

        Raises:
            TenantNotFound: it was dropped.
        """
        if held is None or self._shared_quotas is None:
            held = self._open_slot(entry)
        try:
            found, slot = self._agreed(entry, held)
        except ClosedError:
            if self.is_listed(entry):
                raise
            found = None  # and its slot was freed before its limits were set
        if found is None:
            # Whoever dropped it meanwhile has freed its slot; nobody would free this one.
            self.ledger.release(entry.key)
            raise TenantNotFound(f"tenant {entry.config.id!r} was dropped")
        return found, slot

    def _agreed(self, entry: CatalogEntry, slot: Slot) -> tuple[CatalogEntry | None, Slot]:
        while True:
            slot.set_limits(entry.config.quotas)
            slot.suspension = entry.suspension
            # Another process may have changed them between the reading and this.
            found = self.find(entry)
            if found in (None, entry):
                return found, slot
            entry = found

    def _open_slot(self, entry: CatalogEntry) -> Slot:
        told = self._crossings(entry)
        if self._shared_quotas is None:
            return self.ledger.slot(entry.key, told)
        tenant_id = entry.config.id
        return JoinedSlot.of(self.ledger, entry.key, told, self._shared_quotas, tenant_id)

    def _crossings(self, entry: CatalogEntry) -> OnCrossing | None:
        if self._on_event is None:
            return None

        def tell(quota: str, percent: int, used: int, limit: int) -> None:
            self.tell("quota", entry, quota=quota, percent=percent, used=used, limit=limit)

        return outside_of_locks(tell)

    def tell(self, kind: EventKind, entry: CatalogEntry, **more: Any) -> None:
        """Tell ``on_event``, if there is one; what it raises is logged."""
        if self._on_event is None:
            return
        event = TenantEvent(
            kind=kind, tenant_id=entry.config.id, generation=entry.generation, **more
        )
        try:
            self._on_event(event)
        except Exception:
            _LOG.exception("on_event of %s", event)

    def erase(self, entry: CatalogEntry) -> None:
        """Remove what is left of a dropped tenant; may be done again after a crash."""
        self.remove(entry.key)
        self.catalog.forget(entry)

    def remove(self, key: bytes) -> None:
        """Remove the directory and the slot of a tenant that isn't listed."""
        erase_directory(self.root / directory_of(key))
        self.ledger.release(key)

    def _remove_abandoned(self) -> None:
        """Remove tenants that a process was making when it died; alone with the catalog."""
        if not is_any_abandoned(self.root):
            return
        listed = {entry.key for entry in self.catalog.entries()}

        def erase(key: bytes) -> None:
            if key not in listed:
                self.remove(key)

        def free(keys: Iterable[bytes]) -> None:
            for key in keys:
                if key not in listed:
                    self.ledger.release(key)

        remove_abandoned(self.root, erase, free)

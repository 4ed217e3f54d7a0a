"""The catalog of a data directory: which tenants there are and where their data lies."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from llmspell.config import TenantConfig
from llmspell.errors import (
    CorruptFile,
    StorageError,
    TenantExists,
    TenantNotFound,
    UnsupportedFormat,
)
from llmspell.storage.catalog_entry import (
    CatalogEntry,
    decode_entry,
    encode_entry,
    list_key,
    new_key,
)
from llmspell.storage.chain import Chain
from llmspell.storage.codec import FORMAT, UNDECODABLE, pack_checked, unpack_checked
from llmspell.storage.environment import Environment
from llmspell.storage.errors import storage_errors
from llmspell.storage.files import FileLock, make_directory, sync_directory
from llmspell.storage.transaction import Transaction

__all__ = ["Catalog"]

MAP_SIZE: Final = 4 << 30
CREATE_TIMEOUT: Final = 30.0
PAGE: Final = 1_000

_NAME: Final = "catalog"
_LOCK: Final = "catalog.lock"
_TENANTS: Final = b"tenants"
_DROPPED: Final = b"dropped"
_META: Final = b"meta"
_DATABASES: Final = (_TENANTS, _DROPPED, _META)
_STATE: Final = b"state"

_T = TypeVar("_T")


class Catalog:
    """Tenants of a data directory, shared by all processes that have it open. Thread-safe."""

    def __init__(self, root: Path) -> None:
        """Open the catalog, or make it where there is none.

        Raises:
            CorruptFile: it is damaged.
            DatabaseLocked: this process has the directory open already.
            UnsupportedFormat: a later release made it.
        """
        path = root / _NAME
        make_directory(root)
        if not path.exists():
            with FileLock(root / _LOCK, timeout=CREATE_TIMEOUT, holder=str(root)):
                if not path.exists():
                    Environment.create(path, _DATABASES, _fill)
        # Who made it may have been killed before it came to this, or met a disk that failed.
        with storage_errors(path, "opening"), suppress(PermissionError):
            sync_directory(root)
        self._lock_path = root / _LOCK
        self._turn = threading.Lock()
        self._pid = os.getpid()
        self._env = Environment(path, _DATABASES, map_size=MAP_SIZE, reads_first=True)
        with self._env.read() as txn:
            found = self._state(txn)["format"]
        if found != FORMAT:
            self._env.close()
            raise UnsupportedFormat(f"{path}: version {found}, expected {FORMAT}")

    @staticmethod
    def is_at(root: Path) -> bool:
        """Whether a data directory is there; makes nothing."""
        return (root / _NAME).is_dir()

    def create(
        self,
        configs: Iterable[TenantConfig],
        make: Callable[[list[CatalogEntry]], None],
        *,
        has_room: bool,
    ) -> list[CatalogEntry]:
        """Add tenants, all of them in one durable transaction or none.

        Args:
            configs: of the new tenants.
            make: prepares them; they are listed only when this has returned.
            has_room: whether ``make`` makes their directories; :meth:`make_room` does it else.

        Raises:
            TenantExists: there is one of an id, or an id is given twice.
        """

        def write(txn: Transaction) -> list[CatalogEntry]:
            tenants = self._tenants(txn)
            state = self._state(txn)
            entries: dict[bytes, CatalogEntry] = {}
            for config in configs:
                slot = list_key(config.id)
                if slot in entries or tenants.get(slot) is not None:
                    raise TenantExists(f"tenant {config.id!r} exists; drop it first, or open it")
                generation = state["next_generation"]
                entries[slot] = CatalogEntry(
                    config,
                    generation,
                    new_key(config.id, generation),
                    time.time_ns() // 1_000,
                    has_room=has_room,
                )
                state["next_generation"] = generation + 1
            made = list(entries.values())
            make(made)
            for slot, entry in entries.items():
                tenants.put(slot, encode_entry(entry))
            txn.put(_STATE, pack_checked(state), db=self._env.databases[_META])
            return made

        return self._write(write)

    def alone(self, act: Callable[[], object]) -> None:
        """Do something while nobody, in any process, changes the catalog; it doesn't either."""
        self._write(lambda _: act())

    def allot(self) -> tuple[int, bytes]:
        """A generation that no other tenant has or gets, and a key for it."""

        def write(txn: Transaction) -> int:
            state = self._state(txn)
            generation: int = state["next_generation"]
            state["next_generation"] = generation + 1
            txn.put(_STATE, pack_checked(state), db=self._env.databases[_META])
            return generation

        generation = self._write(write)
        return generation, new_key("", generation)

    def install(
        self, tenant_id: str, make: Callable[[CatalogEntry | None], CatalogEntry]
    ) -> CatalogEntry:
        """List a tenant in place of the one that has its id, if any; that one is dropped.

        Args:
            tenant_id: of both.
            make: is given the one that is listed; puts the new one's directory in its place, and
                returns its entry. Where it raises, nothing changes.
        """
        slot = list_key(tenant_id)

        def write(txn: Transaction) -> CatalogEntry:
            tenants = self._tenants(txn)
            raw = tenants.get(slot)
            old = None if raw is None else decode_entry(raw)
            entry = make(old)
            if raw is not None and old is not None:
                txn.put(old.key, raw, db=self._env.databases[_DROPPED])
            tenants.put(slot, encode_entry(entry))
            return entry

        return self._write(write)

    def make_room(self, entry: CatalogEntry, make: Callable[[Path], None]) -> CatalogEntry:
        """See to it that a tenant has its directory, once for all processes.

        Args:
            entry: of the tenant.
            make: makes the directory, durably; what a crash left there is of no use to anyone, for
                nobody opens it before the catalog says that it is there.

        Raises:
            TenantNotFound: it was dropped.
        """

        def change(found: CatalogEntry) -> CatalogEntry:
            if found.key != entry.key:
                raise TenantNotFound(f"tenant {entry.config.id!r} was dropped")
            if not found.has_room:
                make(found.directory)
            return found._replace(has_room=True)

        return self.update(entry.config.id, change)

    def update(
        self, tenant_id: str, change: Callable[[CatalogEntry], CatalogEntry]
    ) -> CatalogEntry:
        """Change an entry, whose config keeps its id; raises TenantNotFound."""
        slot = list_key(tenant_id)

        def write(txn: Transaction) -> CatalogEntry:
            tenants = self._tenants(txn)
            raw = tenants.get(slot)
            if raw is None:
                raise TenantNotFound(f"no tenant {tenant_id!r}")
            entry = change(decode_entry(raw))
            tenants.put(slot, encode_entry(entry))
            return entry

        return self._write(write)

    def get(self, tenant_id: str) -> CatalogEntry:
        """Look a tenant up; raises TenantNotFound."""
        key = list_key(tenant_id)
        with self._env.read() as txn:
            raw = self._tenants(txn).get(key)
        if raw is None:
            raise TenantNotFound(
                f"no tenant {tenant_id!r}; create_tenant makes one, or `llmspell tenant create`"
            )
        return decode_entry(raw)

    def page(self, after: str | None, limit: int | None) -> list[CatalogEntry]:
        """Tenants behind an id, which needn't be there, or the first ones; by their ids in UTF-8.

        Ids of more than 500 bytes come in any order among those that begin with the same 480.
        """
        with self._env.read() as txn:
            tenants = self._tenants(txn)
            found = tenants.items() if after is None else tenants.items(list_key(after))
            return [decode_entry(raw) for _, raw in islice(found, limit)]

    def entries(self) -> Iterator[CatalogEntry]:
        """All tenants in that order; what changes meanwhile may be among them or not."""
        after = None
        while page := self.page(after, PAGE):
            yield from page
            after = page[-1].config.id

    def survey(
        self, after: bytes, damaged: Callable[[StorageError], object]
    ) -> tuple[list[CatalogEntry], bytes | None, int]:
        """Look at all of a page of the list, going on behind what doesn't hold.

        Args:
            after: a key of the list; :data:`FIRST` at first.
            damaged: is told of each damage.

        Returns:
            Tenants that hold, the key behind which to go on (None at the end), and the bytes read.
        """
        found: list[CatalogEntry] = []
        read = 0
        with self._env.read() as txn:
            for n, (key, raw) in enumerate(self._tenants(txn).survey(after, damaged), 1):
                read += len(key) + len(raw or b"")
                try:
                    if raw is not None:
                        entry = decode_entry(raw)
                        if list_key(entry.config.id) != key:
                            raise CorruptFile(f"catalog entry: {key!r} leads to another tenant")
                        found.append(entry)
                except (StorageError, *UNDECODABLE) as error:
                    damaged(CorruptFile(f"catalog: entry of {key!r}: {error}"))
                if n >= PAGE:
                    return found, key, read
        return found, None, read

    def check(self, damaged: Callable[[StorageError], object]) -> None:
        """Look at what it holds beside the list: its state, and what was dropped."""
        try:
            with self._env.read() as txn:
                self._state(txn)["next_generation"]
            self.dropped()
        except (StorageError, *UNDECODABLE) as error:
            damaged(CorruptFile(f"catalog: {error}"))

    def count(self) -> int:
        """How many tenants there are, without looking at any."""
        with self._env.read() as txn:
            return self._tenants(txn).count()

    def drop(self, found: CatalogEntry) -> CatalogEntry:
        """Take a tenant off the list; its data stays until :meth:`forget`.

        Raises:
            TenantNotFound: it was dropped meanwhile, also where one of its id was made since.
        """
        tenant_id = found.config.id
        slot = list_key(tenant_id)

        def write(txn: Transaction) -> CatalogEntry:
            raw = self._tenants(txn).pop(slot)
            if raw is None:
                raise TenantNotFound(f"no tenant {tenant_id!r}")
            entry = decode_entry(raw)
            if entry.key != found.key:
                raise TenantNotFound(f"tenant {tenant_id!r} was dropped and made again meanwhile")
            txn.put(entry.key, raw, db=self._env.databases[_DROPPED])
            return entry

        return self._write(write)

    def dropped(self) -> list[CatalogEntry]:
        """Tenants that were dropped and whose data may be there still."""
        with self._env.read() as txn, txn.cursor(self._env.databases[_DROPPED]) as cursor:
            return [decode_entry(raw) for _, raw in cursor.iternext()]

    def forget(self, entry: CatalogEntry) -> None:
        """Note that the data of a dropped tenant is gone."""
        self._write(lambda txn: txn.delete(entry.key, db=self._env.databases[_DROPPED]))

    def close(self) -> None:
        """Close it; does nothing the second time."""
        self._env.close()

    def _write(self, body: Callable[[Transaction], _T]) -> _T:
        """Write when the writers of other threads and processes have ended; readers go on."""
        if os.getpid() != self._pid:
            return self._env.write(body)  # raises UseAfterFork; the lock may be held for ever
        with (
            self._turn,
            FileLock(self._lock_path, timeout=math.inf, holder="the catalog"),
        ):
            return self._env.write(body)

    def _tenants(self, txn: Transaction) -> Chain:
        return Chain(txn, self._env.databases[_TENANTS], "catalog")

    def _state(self, txn: Transaction) -> dict[str, Any]:
        return unpack_checked("catalog", txn.get(_STATE, db=self._env.databases[_META]))


def _fill(txn: Transaction, databases: Mapping[bytes, Any]) -> None:
    state = pack_checked({"format": FORMAT, "next_generation": 1})
    txn.put(_STATE, state, db=databases[_META])
    Chain.create(txn, databases[_TENANTS])

"""The catalog of a data directory: which tenants there are and where their data lies."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from llmspell.config import IndexParams, IsolationLevel, QuotaLimits, Schema, TenantConfig
from llmspell.errors import (
    CorruptFile,
    StorageError,
    TenantExists,
    TenantNotFound,
    UnsupportedFormat,
)
from llmspell.storage.chain import Chain
from llmspell.storage.codec import FORMAT, UNDECODABLE, pack_checked, unpack_checked
from llmspell.storage.environment import Environment, Transaction
from llmspell.storage.files import FileLock, make_directory

__all__ = ["Catalog", "CatalogEntry", "config_fields", "config_of", "directory_of"]

MAP_SIZE: Final = 4 << 30
CREATE_TIMEOUT: Final = 30.0
PAGE: Final = 1_000
MAX_KEY_BYTES: Final = 500
PREFIX_BYTES: Final = 480

_NAME: Final = "catalog"
_LOCK: Final = "catalog.lock"
_TENANTS: Final = b"tenants"
_DROPPED: Final = b"dropped"
_META: Final = b"meta"
_DATABASES: Final = (_TENANTS, _DROPPED, _META)
_STATE: Final = b"state"

Suspension: TypeAlias = Literal["none", "writes", "all"]
# One object for each, whatever a file's decoder makes.
_SUSPENSIONS: Final[dict[str, Suspension]] = {name: name for name in get_args(Suspension)}

_T = TypeVar("_T")
_S = TypeVar("_S", QuotaLimits, IndexParams, Schema)


class CatalogEntry(NamedTuple):
    """A tenant in the catalog.

    Args:
        config: what it was created with.
        generation: never used twice in a data directory.
        key: 16 bytes that name its directory and its ledger slot.
        created_us: microseconds since 1970, UTC.
        suspension: "none", "writes" or "all".
        has_room: whether its directory was made, so that it must be there; its first use does.
    """

    config: TenantConfig
    generation: int
    key: bytes
    created_us: int
    suspension: Suspension = "none"
    has_room: bool = True

    @property
    def directory(self) -> Path:
        """Where its data lies, relative to the data directory."""
        return directory_of(self.key)


def directory_of(key: bytes) -> Path:
    """Where the data of a tenant of this key lies, relative to the data directory."""
    digest = key.hex()
    return Path("tenants", digest[:2], digest)


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
            lock = FileLock(root / _LOCK, timeout=CREATE_TIMEOUT, holder=str(root))
            try:
                if not path.exists():
                    Environment.create(path, _DATABASES, _fill)
            finally:
                lock.release()
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
                slot = _key(config.id)
                if slot in entries or tenants.get(slot) is not None:
                    raise TenantExists(f"tenant {config.id!r} exists; drop it first, or open it")
                generation = state["next_generation"]
                entries[slot] = CatalogEntry(
                    config,
                    generation,
                    _digest(config.id, generation),
                    time.time_ns() // 1_000,
                    has_room=has_room,
                )
                state["next_generation"] = generation + 1
            made = list(entries.values())
            make(made)
            for slot, entry in entries.items():
                tenants.put(slot, _encode(entry))
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
        return generation, _digest("", generation)

    def install(
        self, tenant_id: str, make: Callable[[CatalogEntry | None], CatalogEntry]
    ) -> CatalogEntry:
        """List a tenant in place of the one that has its id, if any; that one is dropped.

        Args:
            tenant_id: of both.
            make: is given the one that is listed; puts the new one's directory in its place, and
                returns its entry. Where it raises, nothing changes.
        """
        slot = _key(tenant_id)

        def write(txn: Transaction) -> CatalogEntry:
            tenants = self._tenants(txn)
            raw = tenants.get(slot)
            old = None if raw is None else _decode(raw)
            entry = make(old)
            if raw is not None and old is not None:
                txn.put(old.key, raw, db=self._env.databases[_DROPPED])
            tenants.put(slot, _encode(entry))
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
        slot = _key(tenant_id)

        def write(txn: Transaction) -> CatalogEntry:
            tenants = self._tenants(txn)
            raw = tenants.get(slot)
            if raw is None:
                raise TenantNotFound(f"no tenant {tenant_id!r}")
            entry = change(_decode(raw))
            tenants.put(slot, _encode(entry))
            return entry

        return self._write(write)

    def get(self, tenant_id: str) -> CatalogEntry:
        """Look a tenant up; raises TenantNotFound."""
        key = _key(tenant_id)
        with self._env.read() as txn:
            raw = self._tenants(txn).get(key)
        if raw is None:
            raise TenantNotFound(f"no tenant {tenant_id!r}; create_tenant makes one")
        return _decode(raw)

    def page(self, after: str | None, limit: int | None) -> list[CatalogEntry]:
        """Tenants behind an id, which needn't be there, or the first ones; by their ids in UTF-8.

        Ids of more than 500 bytes come in any order among those that begin with the same 480.
        """
        with self._env.read() as txn:
            tenants = self._tenants(txn)
            found = tenants.items() if after is None else tenants.items(_key(after))
            return [_decode(raw) for _, raw in islice(found, limit)]

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
                        entry = _decode(raw)
                        if _key(entry.config.id) != key:
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

    def drop(self, tenant_id: str) -> CatalogEntry:
        """Take a tenant off the list; its data stays until :meth:`forget`.

        Raises:
            TenantNotFound: there is none of that id.
        """
        slot = _key(tenant_id)

        def write(txn: Transaction) -> CatalogEntry:
            raw = self._tenants(txn).pop(slot)
            if raw is None:
                raise TenantNotFound(f"no tenant {tenant_id!r}")
            entry = _decode(raw)
            txn.put(entry.key, raw, db=self._env.databases[_DROPPED])
            return entry

        return self._write(write)

    def dropped(self) -> list[CatalogEntry]:
        """Tenants that were dropped and whose data may be there still."""
        with self._env.read() as txn, txn.cursor(self._env.databases[_DROPPED]) as cursor:
            return [_decode(raw) for _, raw in cursor.iternext()]

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


def _key(tenant_id: str) -> bytes:
    if not isinstance(tenant_id, str):
        raise TenantNotFound(f"a tenant's id is a str, got {type(tenant_id).__name__}")
    key = tenant_id.encode("utf-8", "surrogatepass")
    if not key or b"\0" in key:
        raise TenantNotFound(f"no tenant {tenant_id!r}; there can't be one of that id")
    # 128 characters can have more bytes than a key of LMDB.
    if len(key) > MAX_KEY_BYTES:
        return key[:PREFIX_BYTES] + hashlib.blake2b(key, digest_size=16).digest()
    return key


def _digest(tenant_id: str, generation: int) -> bytes:
    return hashlib.blake2b(
        tenant_id.encode(), digest_size=16, salt=generation.to_bytes(16, "little")
    ).digest()


def config_fields(config: TenantConfig) -> dict[str, Any]:
    """A config as values that msgpack and JSON know."""
    fields = asdict(config)
    fields["quotas"]["soft"] = sorted(config.quotas.soft)
    fields["isolation_level"] = config.isolation_level.value
    return fields


def config_of(fields: Mapping[str, Any]) -> TenantConfig:
    """The config that :func:`config_fields` was given."""
    given = dict(fields)
    given["quotas"] = _shared(QuotaLimits(**given["quotas"]))
    given["index"] = _shared(IndexParams(**given["index"]))
    given["isolation_level"] = IsolationLevel(given["isolation_level"])
    given["metric"] = sys.intern(given["metric"])
    given["schema"] = _shared(Schema(given["schema"]))
    return TenantConfig(**given)


@functools.lru_cache(maxsize=1_024)
def _shared(settings: _S) -> _S:
    """The same object for equal settings: most tenants have those of others."""
    return settings


def _encode(entry: CatalogEntry) -> bytes:
    return pack_checked(
        {
            "format": FORMAT,
            "config": config_fields(entry.config),
            "generation": entry.generation,
            "key": entry.key,
            "created_us": entry.created_us,
            "suspension": entry.suspension,
            "has_room": entry.has_room,
        }
    )


def _decode(raw: bytes) -> CatalogEntry:
    fields = unpack_checked("catalog entry", raw)
    if fields["format"] != FORMAT:
        raise UnsupportedFormat(f"catalog entry: version {fields['format']}, expected {FORMAT}")
    return CatalogEntry(
        config_of(fields["config"]),
        fields["generation"],
        fields["key"],
        fields["created_us"],
        _SUSPENSIONS[fields["suspension"]],
        # Earlier releases made it with the tenant.
        fields.get("has_room", True),
    )

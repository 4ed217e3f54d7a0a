"""What all handles to one tenant share: whether it is there, and its room while it is open."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from llmspell._hot import SearchDoor
from llmspell.errors import (
    ClosedError,
    FlushFailed,
    LlmspellError,
    QuotaExceeded,
    StorageError,
    TenantNotFound,
    TenantSuspended,
    UseAfterFork,
)
from llmspell.quota import Slot, Usage
from llmspell.storage import (
    CatalogEntry,
    FileLock,
    Moment,
    Room,
    TenantStore,
    Uses,
    disk_bytes,
)
from llmspell.tenancy.embedding import owner_of
from llmspell.tenancy.handles import NO_HANDLES, Handles
from llmspell.tenancy.model import DropReceipt
from llmspell.tenancy.searching import search_door

if TYPE_CHECKING:
    from llmspell.tenancy.house import House
    from llmspell.tenancy.tenant_handle import TenantHandle

__all__ = ["Residence"]

_LOG = logging.getLogger("llmspell")


class Residence:
    """One tenant in one database of this process. Thread-safe.

    The room opens when a handle first needs data, and closes with the last handle, or before where
    other tenants need the place: then the next use opens it again. Where the last handle was never
    closed but collected, the room waits for :meth:`close_forgotten`: the collector may run while
    any lock is held.

    Attributes:
        entry: of the catalog.
        slot: of the ledger.
        house: of all tenants of the database.
        uses: entered by what needs the room to stay open.
        is_recent: set by each operation; see :meth:`take_mark`.
    """

    # Many tenants may have handles that nobody uses: what is held here is held for each of them.
    __slots__ = (
        "_door",
        "_end",
        "_handles",
        "_lock",
        "_room",
        "entry",
        "house",
        "is_recent",
        "slot",
        "uses",
    )

    def __init__(self, house: House, entry: CatalogEntry, slot: Slot) -> None:
        """Describe a tenant; nothing of it is opened."""
        self.house = house
        self.entry = entry
        self.slot = slot
        self.uses = Uses()
        self.is_recent = False
        self._lock = threading.RLock()
        self._room: Room | None = None
        self._door: SearchDoor | None = None
        self._end: Exception | None = None
        self._handles: Handles = NO_HANDLES

    def admit(self, handle: TenantHandle) -> None:
        """Take a new handle; raises what ended the tenant, if anything did."""
        self._check()
        with self.house.lock:
            self._handles = self._handles.and_also(handle, self.entry.key, self.house.forget)

    def open(self, handle: TenantHandle) -> Room:
        """Open the room, or give the open one, and let the handle keep it.

        Raises:
            ClosedError, TenantNotFound, UseAfterFork: it is there no more.
            CorruptFile: see :class:`Room`.
        """
        self._check()
        with self._lock:
            if self._room is not None and not self._room.is_closed:
                return self._give(self._room, handle)
        residents = self.house.residents
        with residents.place(), self._lock:
            self._check()
            if self._room is not None and self._room.is_closed:
                self._close_room(snapshot=False)  # an exception from elsewhere met its closing
            if self._room is None:
                self._admits(handle)
                self._room = self._open()
                self._door = search_door(self, self._room)
                # The mark is for a use beyond the one that opened it.
                self.is_recent = False
                self._weigh(self._room)
            room = self._give(self._room, handle)
        residents.make_room(keep=self)
        return room

    def _give(self, room: Room, handle: TenantHandle) -> Room:
        self._check()
        self._admits(handle)
        handle._take(room, self._door)
        return room

    def _admits(self, handle: TenantHandle) -> None:
        if not self._handles.has(handle):
            raise ClosedError(f"this handle to tenant {self.entry.config.id!r} is closed")

    def take_mark(self) -> bool:
        """Whether it was used since this was asked last, for :class:`Residents`."""
        door = self._door
        is_marked = self.is_recent or (door is not None and door.is_used)
        self.is_recent = False
        if door is not None:
            door.is_used = False
        return is_marked

    def evict(self) -> None:
        """Close the room, unless something uses it; the next use of a handle opens it again."""
        # Whoever has it opens, closes or drops the tenant: it is in use, or will be gone soon.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._room is None or self._end is not None:
                return
            # First: what enters its use from here on asks for the room, and waits for the lock. A
            # search by a vector enters none; where it finds the room closed, it begins again.
            self._handles.let_go()
            if not self.uses.count:
                self._close_room(snapshot=True)
        except (LlmspellError, OSError) as error:
            # Not to be told to whoever uses another tenant; the next use of this one opens it anew.
            _LOG.warning("tenant %s: closing its room: %s", self.entry.config.id, error)
        finally:
            self._lock.release()

    def keep_within_budget(self) -> None:
        """Weigh the room again where much was written to it, and close others if need be."""
        room = self._room
        if room is None or self._end is not None:
            return
        if room.has_other_weight:
            with self._lock:
                if self._room is room:
                    self._weigh(room)
            self.house.residents.make_room(keep=self)

    def refused(self, operation: str, refusal: QuotaExceeded | TenantSuspended) -> None:
        """Tell the audit log, if there is one, of an operation that was refused."""
        auditor = self.house.registry.auditor
        auditor.refused(self.entry.config.id, operation, refusal)

    def step(self, kind: str) -> AbstractContextManager[object]:
        """Around what the audit log is told the beginning and the end of."""
        return self.house.registry.auditor.step(kind, self.entry.config.id)

    def flush(self) -> None:
        """Commit what waits, if anything does; raises what ended the tenant, and FlushFailed."""
        self._check()
        room = self._room
        if room is None:
            return
        try:
            room.flush()
        finally:
            # Where there was nothing to commit, it may be gone nevertheless.
            self.check()

    def require(self, handle: TenantHandle) -> None:
        """Raise ClosedError, TenantNotFound or UseAfterFork where a handle is of use no more."""
        self._check()
        self._admits(handle)

    @contextmanager
    def moment(self) -> Iterator[Moment]:
        """All that its store holds, as one moment shows it; the room stays closed if it is."""
        with self.uses:
            with self._lock:
                self._check()
                room = self._room
                if room is None:
                    store = TenantStore(self.path, self.slot, map_size=self.house.map_size)
                    with closing(store), store.moment() as moment:
                        yield moment
                    return
            with room.store.moment() as moment:
                yield moment

    def usage(self) -> Usage:
        """Use and limit of every quota, as the ledger has them.

        What waits to be committed and can't be counts as it was reserved, all of it as new.
        """
        try:
            self._check()
            if self._room is not None:
                with suppress(FlushFailed):
                    self._room.flush()
            if not self.slot.levels_known:
                self._learn_levels()
            return self.slot.usage()
        except ClosedError:
            self.check()
            raise

    def _learn_levels(self) -> None:
        """After a restart of the machine, or where the ledger was lost, the room knows them."""
        with self._lock:
            if self._room is None and self.path.is_dir():
                Room.tell_levels(self.path, self.slot, map_size=self.house.map_size)

    def purge(self) -> int:
        """Remove records that have expired; returns how many. The room stays closed if it is."""
        with self._lock:
            self._check()
            if self._room is not None:
                return self._room.purge()
            if not self.path.is_dir():
                return 0
            return Room.purge_closed(self.path, self.slot, map_size=self.house.map_size)

    def estimated_recall(self) -> dict[int, float]:
        """As :meth:`Room.estimated_recall`; empty while the room isn't open."""
        room = self._room
        return {} if room is None or self._end is not None else room.estimated_recall()

    def leave(self, handle: TenantHandle) -> None:
        """Let a handle go; the last one closes the room."""
        if isinstance(self._end, UseAfterFork):
            return
        with self.house.lock:
            self._handles = self._handles.without(handle)
        with self._lock:
            handle._let_go()
        self.close_unused()

    def close_unused(self) -> None:
        """Close the room if no handle is left, and leave nothing of the tenant in memory."""
        if isinstance(self._end, UseAfterFork):
            return
        with self._lock:
            self._close_if_unused()
        self.house.retire(self)

    def close_forgotten(self) -> bool:
        """As :meth:`close_unused`; False where another thread opens, closes or drops it now."""
        if isinstance(self._end, UseAfterFork):
            return True
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._close_if_unused()
        finally:
            self._lock.release()
        self.house.retire(self)
        return True

    def _close_if_unused(self) -> None:
        if not self._handles.any_live:
            self._close_room(snapshot=True)

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a handle nor an open room."""
        return self._room is None and not self._handles.any_live

    def close(self) -> None:
        """Close the room and all handles, with the database."""
        self._finish(ClosedError(f"the database of tenant {self.entry.config.id!r} is closed"))

    def drop(
        self, commit: Callable[[], CatalogEntry], erase: Callable[[CatalogEntry], None]
    ) -> DropReceipt:
        """Drop the tenant, and end all handles to it.

        Args:
            commit: takes it off the catalog; where it raises, nothing has ended.
            erase: removes its data and its slot, while no other process may open it.

        Raises:
            DatabaseLocked: another process writes to it; nothing has ended.
        """
        with self._lock, self._alone():
            dropped = commit()
            receipt = DropReceipt(
                tenant_id=dropped.config.id,
                generation=dropped.generation,
                bytes_on_disk=disk_bytes(self.path),
                bytes_in_memory=0 if self._room is None else self._room.memory,
            )
            self._finish(self._dropped(), snapshot=False)
            # What is left of them raises what ended the tenant.
            self._handles = NO_HANDLES
            if self.house.embedding_cache is not None:
                self.house.embedding_cache.forget(owner_of(self))
            erase(dropped)
            return receipt

    def check(self) -> None:
        """Raise what ended the tenant, if anything did, here or in another process."""
        self._check()
        if not self.house.registry.is_listed(self.entry):
            raise self._dropped()

    @property
    def has_room(self) -> bool:
        """Whether there is anything of it on disk: its first use makes that."""
        return self.entry.has_room or self.path.is_dir()

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.house.root / self.entry.directory

    def _weigh(self, room: Room) -> None:
        self.house.residents.weigh(self, room.weigh())

    def _alone(self) -> AbstractContextManager[object]:
        if self._room is not None:
            return self._room.alone()
        # Where there is no directory, there is nothing to write to.
        if not self.path.is_dir():
            return nullcontext()
        return FileLock(
            self.path / "writer.lock",
            timeout=self.house.lock_timeout,
            holder=f"tenant {self.entry.config.id!r}",
        )

    def _dropped(self) -> TenantNotFound:
        return TenantNotFound(f"tenant {self.entry.config.id!r} was dropped")

    def _open(self) -> Room:
        if not self.entry.has_room:
            self.entry = self.house.registry.make_room(self.entry)
        try:
            room = Room(
                self.path,
                self.entry.config,
                self.slot,
                stages=self.house.instruments.stages,
                flusher=self.house.flusher,
                map_size=self.house.map_size,
                lock_timeout=self.house.lock_timeout,
            )
        except (ClosedError, StorageError):
            self.check()
            raise
        if not self.house.registry.is_listed(self.entry):
            room.close(snapshot=False)
            raise self._dropped()
        return room

    def _check(self) -> None:
        if self._end is not None:
            raise type(self._end)(*self._end.args)

    def _finish(self, end: Exception, *, snapshot: bool = True) -> None:
        if isinstance(self._end, UseAfterFork):
            return
        with self._lock:
            if self._end is None:
                self._end = end
                self._handles.let_go()
            self._close_room(snapshot=snapshot)

    def _close_room(self, *, snapshot: bool) -> None:
        if self._room is not None:
            self._room.close(snapshot=snapshot)
            self._room = self._door = None
            self.house.residents.leave(self)

    def abandon(self) -> None:
        """Leave the room to the parent process, of which this is a child."""
        if self._end is None:
            self._end = UseAfterFork(
                f"tenant {self.entry.config.id!r} was open when this process was forked; "
                "start it by spawn, or open the database after the fork"
            )
        _INHERITED.append(self._room)
        self._handles.let_go()


# Freeing the parent's index in a child could touch locks that its threads held.
_INHERITED: list[Room | None] = []

"""What all handles to one tenant share: whether it is there, and its room while it is open."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from llmspell._hot import SearchDoor
from llmspell.errors import ClosedError, StorageError, TenantNotFound, UseAfterFork
from llmspell.observability import Instruments
from llmspell.quota import Slot, Usage
from llmspell.storage import CatalogEntry, FileLock, Moment, Room, TenantStore, disk_bytes
from llmspell.tenancy.model import DropReceipt
from llmspell.tenancy.ports import TextServices
from llmspell.tenancy.searching import search_door

if TYPE_CHECKING:
    from llmspell.tenancy.tenant import Tenant

__all__ = ["Residence"]


class Residence:
    """One tenant in one database of this process. Thread-safe.

    The room opens when a handle first needs data, and closes with the last handle. Where that was
    never closed but collected, it waits for :meth:`close_unused`: the collector may run while any
    lock is held.
    """

    def __init__(
        self,
        root: Path,
        entry: CatalogEntry,
        slot: Slot,
        *,
        instruments: Instruments,
        texts: Callable[[], TextServices],
        is_listed: Callable[[CatalogEntry], bool],
        forgotten: Callable[[Residence], object],
        map_size: int,
        lock_timeout: float,
    ) -> None:
        """Describe a tenant; nothing of it is opened.

        Args:
            root: the data directory.
            entry: of the catalog.
            slot: of the ledger.
            instruments: of the database.
            texts: gives the text services when they are first needed.
            is_listed: whether the catalog still has the entry.
            forgotten: is told when a handle was collected; takes no lock.
            map_size: bytes of address space of its LMDB environment.
            lock_timeout: seconds to wait for another process that has the room open.
        """
        self.entry = entry
        self.slot = slot
        self.instruments = instruments
        self.texts = texts
        self.path = root / entry.directory
        self._is_listed = is_listed
        self._forgotten = forgotten
        self._map_size = map_size
        self._lock_timeout = lock_timeout
        self._lock = threading.RLock()
        self._room: Room | None = None
        self._door: SearchDoor | None = None
        self._end: Exception | None = None
        self._handles: weakref.WeakSet[Tenant] = weakref.WeakSet()
        _ALL.add(self)

    def admit(self, handle: Tenant) -> None:
        """Take a new handle; raises what ended the tenant, if anything did."""
        with self._lock:
            self._check()
            self._handles.add(handle)
            weakref.finalize(handle, self._forgotten, self).atexit = False

    def open(self, handle: Tenant) -> Room:
        """Open the room, or give the open one, and let the handle keep it.

        Raises:
            ClosedError, TenantNotFound, UseAfterFork: it is there no more.
            CorruptFile: see :class:`Room`.
        """
        self._check()
        with self._lock:
            self.require(handle)
            if self._room is not None and self._room.is_closed:
                self._close_room(snapshot=False)  # an exception from elsewhere met its closing
            if self._room is None or self._door is None:
                self._room = self._open()
                self._door = search_door(self, self._room)
            handle._take(self._room, self._door)
            return self._room

    def require(self, handle: Tenant) -> None:
        """Raise ClosedError, TenantNotFound or UseAfterFork where a handle is of use no more."""
        self._check()
        if handle not in self._handles:
            raise ClosedError(f"this handle to tenant {self.entry.config.id!r} is closed")

    @contextmanager
    def moment(self) -> Iterator[Moment]:
        """All that its store holds, as one moment shows it; the room stays closed if it is."""
        with self._lock:
            self._check()
            room = self._room
            if room is None:
                store = TenantStore(self.path, self.slot, map_size=self._map_size)
                with closing(store), store.moment() as moment:
                    yield moment
                return
        with room.store.moment() as moment:
            yield moment

    def usage(self) -> Usage:
        """Use and limit of every quota, as the ledger has them."""
        try:
            self._check()
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
                Room.tell_levels(self.path, self.slot, map_size=self._map_size)

    def purge(self) -> int:
        """Remove records that have expired; returns how many. The room stays closed if it is."""
        with self._lock:
            self._check()
            if self._room is not None:
                return self._room.purge()
            if not self.path.is_dir():
                return 0
            return Room.purge_closed(self.path, self.slot, map_size=self._map_size)

    def estimated_recall(self) -> dict[int, float]:
        """As :meth:`Room.estimated_recall`; empty while the room isn't open."""
        room = self._room
        return {} if room is None or self._end is not None else room.estimated_recall()

    def leave(self, handle: Tenant) -> None:
        """Let a handle go; the last one closes the room."""
        if isinstance(self._end, UseAfterFork):
            return
        with self._lock:
            handle._let_go()
            self._handles.discard(handle)
        self.close_unused()

    def close_unused(self) -> None:
        """Close the room if no handle is left."""
        if isinstance(self._end, UseAfterFork):
            return
        with self._lock:
            if not self._handles:
                self._close_room(snapshot=True)

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
            erase(dropped)
            return receipt

    def check(self) -> None:
        """Raise what ended the tenant, if anything did, here or in another process."""
        self._check()
        if not self._is_listed(self.entry):
            raise self._dropped()

    def _alone(self) -> AbstractContextManager[object]:
        if self._room is not None:
            return self._room.alone()
        # Where there is no directory, there is nothing to write to.
        if not self.path.is_dir():
            return nullcontext()
        return FileLock(
            self.path / "writer.lock",
            timeout=self._lock_timeout,
            holder=f"tenant {self.entry.config.id!r}",
        )

    def _dropped(self) -> TenantNotFound:
        return TenantNotFound(f"tenant {self.entry.config.id!r} was dropped")

    def _open(self) -> Room:
        try:
            room = Room(
                self.path,
                self.entry.config,
                self.slot,
                stages=self.instruments.stages,
                map_size=self._map_size,
                lock_timeout=self._lock_timeout,
            )
        except (ClosedError, StorageError):
            self.check()
            raise
        if not self._is_listed(self.entry):
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
                for handle in list(self._handles):
                    handle._let_go()
            self._close_room(snapshot=snapshot)

    def _close_room(self, *, snapshot: bool) -> None:
        if self._room is not None:
            self._room.close(snapshot=snapshot)
            self._room = self._door = None

    def _abandon(self) -> None:
        """Leave the room to the parent process, of which this is a child."""
        if self._end is None:
            self._end = UseAfterFork(
                f"tenant {self.entry.config.id!r} was open when this process was forked; "
                "start it by spawn, or open the database after the fork"
            )
        _INHERITED.append(self._room)
        for handle in list(self._handles):
            handle._let_go()


_ALL: weakref.WeakSet[Residence] = weakref.WeakSet()
# Freeing the parent's index in a child could touch locks that its threads held.
_INHERITED: list[Room | None] = []


def _abandon_all() -> None:
    for residence in list(_ALL):
        residence._abandon()


os.register_at_fork(after_in_child=_abandon_all)

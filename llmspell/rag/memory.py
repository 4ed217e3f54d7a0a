"""What ingests hold in memory: counted, and bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from llmspell.errors import ConfigError, IngestError, InputError

__all__ = ["MAX_MEMORY", "Hold", "MemoryGuard", "ResourceTracker"]

#: 500 MB, of all ingests of a process together.
MAX_MEMORY: Final = 500_000_000


class ResourceTracker:
    """Counts bytes that are held. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = 0
        self._peak = 0
        self._holds = 0

    def __repr__(self) -> str:
        return f"ResourceTracker(held={self.held:,}, peak={self.peak:,})"

    @property
    def held(self) -> int:
        """Bytes held now."""
        return self._held

    @property
    def peak(self) -> int:
        """The most that were held at one time."""
        return self._peak

    @property
    def holds(self) -> int:
        """How many things they are held for."""
        return self._holds

    def add(self, size: int, holds: int = 1) -> None:
        """Count ``size`` bytes more, or fewer where it is below zero, of ``holds`` more things."""
        with self._lock:
            self._held += size
            self._holds += holds
            self._peak = max(self._peak, self._held)


class _Account:
    """What a thread holds of a guard. A thread has one of each."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0


class _Reliefs(threading.local):
    """How a thread can come to hold less, whatever guard it holds it of."""

    def __init__(self) -> None:
        self.all: list[Callable[[], None]] = []


_RELIEFS: Final = _Reliefs()


class Hold:
    """Bytes that a guard let somebody hold; given back at the end of a ``with``, or by release.

    For the thread that took them.
    """

    __slots__ = ("_account", "_guard", "size")

    def __init__(self, guard: MemoryGuard, size: int, account: _Account) -> None:
        self._guard = guard
        self._account = account
        self.size = size

    def shrink(self, size: int) -> None:
        """Hold ``size`` bytes from now on, where that is less."""
        if 0 <= size < self.size:
            self._guard._give_back(self.size - size, self._account, holds=0)
            self.size = size

    def release(self) -> None:
        """Hold nothing any more; again does nothing."""
        if self.size >= 0:
            size, self.size = self.size, -1
            self._guard._give_back(size, self._account, holds=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class MemoryGuard:
    """Bounds what ingests hold together; who would go beyond that waits, in turn. Thread-safe.

    It counts what it is told: a document is weighed before it is read, by its bytes and what
    reading and splitting them takes at most. A thread waits only while it holds nothing itself, so
    nobody waits for himself, or for one that waits for him. A pipeline writes what it holds first.

    Args:
        max_bytes: held at one time, at most.

    Raises:
        ConfigError: ``max_bytes`` isn't an int above 0.
    """

    def __init__(self, max_bytes: int = MAX_MEMORY) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
            raise ConfigError(f"max_bytes must be an int of 1 or more, got {max_bytes!r}")
        self._max_bytes = max_bytes
        self._turn = threading.Lock()
        self._room = threading.Condition()
        self._mine = threading.local()
        #: What is held.
        self.tracker = ResourceTracker()

    def __repr__(self) -> str:
        return f"MemoryGuard(max_bytes={self._max_bytes:,}, held={self.tracker.held:,})"

    @property
    def max_bytes(self) -> int:
        """The bound."""
        return self._max_bytes

    def try_take(self, size: int) -> Hold | None:
        """Hold ``size`` bytes if that may be now.

        Raises:
            IngestError: it never may.
            InputError: below zero.
        """
        self._check(size)
        # Not past those who wait.
        if not self._turn.acquire(blocking=False):
            return None
        try:
            with self._room:
                return self._taken(size) if self._fits(size) else None
        finally:
            self._turn.release()

    def take(self, size: int) -> Hold:
        """Hold ``size`` bytes, when others have given back enough.

        A thread that holds bytes itself gets more at once, before those who may wait for it.

        Raises:
            IngestError: it never may; or not now, and this thread holds bytes itself.
            InputError: below zero.
        """
        self._check(size)
        held = self._account.held
        if held == 0:
            with self._turn, self._room:
                self._room.wait_for(lambda: self._fits(size))
                return self._taken(size)
        with self._room:
            if self._fits(size):
                return self._taken(size)
        raise IngestError(
            f"it takes up to {size:,} bytes of memory and would wait for the {held:,} that this "
            f"thread holds itself, and ingests may hold {self._max_bytes:,}; let one ingest end "
            "before the next, or raise max_bytes"
        )

    @contextmanager
    def relieved_by(self, relief: Callable[[], None]) -> Iterator[None]:
        """Within a ``with``, let :meth:`relieve` of this thread call ``relief``."""
        reliefs = _RELIEFS.all
        reliefs.append(relief)
        try:
            yield
        finally:
            reliefs.remove(relief)

    def relieve(self) -> None:
        """Have this thread give back what it can, of other guards too, before it waits.

        Else two threads could each hold of one guard what the other waits for at another one.
        """
        reliefs, _RELIEFS.all = _RELIEFS.all, []
        try:
            for relief in reliefs:
                relief()
        finally:
            _RELIEFS.all = reliefs

    def _check(self, size: int) -> None:
        if size < 0:
            raise InputError(f"size must be 0 or more bytes, got {size}")
        if size > self._max_bytes:
            raise IngestError(
                f"it takes up to {size:,} bytes of memory, and ingests may hold {self._max_bytes:,}"
            )

    def _fits(self, size: int) -> bool:
        return self.tracker.held + size <= self._max_bytes

    def _taken(self, size: int) -> Hold:
        account = self._account
        account.held += size
        self.tracker.add(size)
        return Hold(self, size, account)

    @property
    def _account(self) -> _Account:
        try:
            account: _Account = self._mine.account
        except AttributeError:
            account = self._mine.account = _Account()
        return account

    def _give_back(self, size: int, account: _Account, *, holds: int) -> None:
        with self._room:
            account.held -= size
            self.tracker.add(-size, -holds)
            self._room.notify_all()

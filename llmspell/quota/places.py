"""Bounds on calls at one time, that threads and tasks wait for in turn."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["HeldPlaces", "Place", "Places"]


class Waiter(Future[None]):
    """Done when it has a place."""

    loop: AbstractEventLoop | None = None  # that waits for it

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for it any more: its loop was closed without ending its tasks."""
        return self.loop is not None and self.loop.is_closed()


class Place:
    """One taken place; give it back once, or more often to no effect. Thread-safe.

    Args:
        give_back: what lets the next one in; None where any number may be taken.
    """

    __slots__ = ("_give_back",)

    def __init__(self, give_back: Callable[[], None] | None) -> None:
        # Taken out by whoever gives it back: without a lock, as the collector may be who does.
        self._give_back = [] if give_back is None else [give_back]

    def give_back(self) -> None:
        """Let the next one in."""
        try:
            give_back = self._give_back.pop()
        except IndexError:
            return
        give_back()


class Places:
    """So many may be taken at one time; who waits gets one in the order of asking. Thread-safe.

    Args:
        limit: 1 or more; None for no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[Waiter] = deque()
        # Reentrant: the collector may end a coroutine that has a place, or waits for one, while
        # this is held. It may at any call, so that behind each of these all must be as it should.
        self._lock = threading.RLock()

    @property
    def taken(self) -> int:
        """Places that are taken; 0 where there is no limit."""
        return self._taken

    def take(self, timeout: float) -> Place | None:
        """A place, or None where none was free in time."""
        waiter = self._ask()
        try:
            if waiter is not None:
                waiter.result(timeout)
        except TimeoutError:
            if not self._is_left(waiter):
                return None
        except BaseException:
            self._leave(waiter)
            raise
        return self._place()

    async def atake(self, timeout: float) -> Place | None:
        """As :meth:`take`, for a task."""
        import asyncio  # this module is imported where there is no event loop

        waiter = self._ask(asyncio.get_running_loop())
        if waiter is not None:
            try:
                await asyncio.wait([asyncio.wrap_future(waiter)], timeout=timeout)
            except BaseException:
                self._leave(waiter)
                raise
            if not waiter.done() and not self._is_left(waiter):
                return None
        return self._place()

    def _place(self) -> Place:
        return Place(None if self._limit is None else self._give_back)

    def _ask(self, loop: AbstractEventLoop | None = None) -> Waiter | None:
        """Take a place, or a number; None where it is taken already."""
        if self._limit is None:
            return None
        with self._lock:
            if self._taken < self._limit:
                self._taken += 1
                return None
        waiter = Waiter()
        waiter.loop = loop
        with self._lock:
            if self._taken < self._limit:  # since
                self._taken += 1
                return None
            self._waiting.append(waiter)
            return waiter

    def _is_left(self, waiter: Waiter | None) -> bool:
        """Stop waiting; True where a place came in that very moment."""
        assert waiter is not None
        with self._lock:
            # First: a place may come in while it is asked whether it is done.
            try:
                self._waiting.remove(waiter)
            except ValueError:
                return waiter.done()  # or it was passed over, as gone
            return False

    def _leave(self, waiter: Waiter | None) -> None:
        if waiter is not None and self._is_left(waiter):
            self._give_back()

    def _give_back(self) -> None:
        with self._lock:
            while self._waiting:
                waiter = self._waiting.popleft()
                if not waiter.is_gone:
                    # Within the lock: who stops waiting sees it done, or is not in line.
                    waiter.set_result(None)
                    return
            self._taken -= 1


class HeldPlaces:
    """A place of each of several bounds, given back together."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[Place] = []

    def take(self, bounds: Iterable[Places], timeout: float, *, until: float = math.inf) -> bool:
        """Take one of each, in this order; False, and none is held, where one wasn't free in time.

        Args:
            bounds: of which a place is taken.
            timeout: seconds to wait for each.
            until: by ``time.monotonic``, to wait for all of them.
        """
        try:
            for places in bounds:
                if not self._has(places.take(min(timeout, until - time.monotonic()))):
                    return False
        except BaseException:
            self.give_back()
            raise
        return True

    async def atake(
        self, bounds: Iterable[Places], timeout: float, *, until: float = math.inf
    ) -> bool:
        """As :meth:`take`, for a task."""
        try:
            for places in bounds:
                left = min(timeout, until - time.monotonic())
                if not self._has(await places.atake(left)):
                    return False
        except BaseException:
            self.give_back()
            raise
        return True

    def give_back(self) -> None:
        """Let the next ones in; thread-safe, and without effect the second time."""
        for place in self._held:
            place.give_back()

    def _has(self, place: Place | None) -> bool:
        if place is None:
            self.give_back()
            return False
        self._held.append(place)
        return True

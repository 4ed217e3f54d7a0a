"""Texts that are being embedded: whoever wants one of them meanwhile waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from llmspell.rag.cache.entry import Made

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = [
    "PATIENCE_S",
    "Flight",
    "Flights",
    "Missed",
    "embedding",
    "is_embedding",
    "landed",
    "landed_async",
]

#: Seconds that a call waits for what another embeds, before it embeds it itself: a model that asks
#: for its own text from a thread that knows nothing of it would wait for itself.
PATIENCE_S = 60.0


class Missed(Enum):
    """Why nothing came of a flight."""

    FAILED = auto()  #: the model did; whoever waited asks it for itself
    LEFT = auto()  #: whoever asked was cancelled; one of those who waited asks in its place


class Flight(Future["Made | Missed"]):
    """What is being embedded; by a coroutine of ``loop``, where there is one."""

    def __init__(self, loop: AbstractEventLoop | None) -> None:
        super().__init__()
        self.loop = loop


_EMBEDS: Final[ContextVar[bool]] = ContextVar("llmspell_embeds", default=False)


@contextmanager
def embedding() -> Iterator[None]:
    """Around a call of a model, with all that it calls, in tasks and by ``asyncio.to_thread`` too.

    What is asked for in there waits for nobody: that might be the call itself, or one that waits
    for it.
    """
    token = _EMBEDS.set(True)
    try:
        yield
    finally:
        _EMBEDS.reset(token)


def is_embedding() -> bool:
    """Whether this runs in a call of a model; see :func:`embedding`."""
    return _EMBEDS.get()


def landed(theirs: Mapping[bytes, Flight]) -> dict[bytes, Made | Missed]:
    """What comes of flights; what hasn't after :data:`PATIENCE_S`, all together, counts as failed.

    So does at once what this holds up the event loop of that is to embed it.
    """
    here = _running_loop()
    awaited = [one for one in theirs.values() if one.loop is None or one.loop is not here]
    wait(awaited, PATIENCE_S)
    return _ends(theirs)


def _ends(theirs: Mapping[bytes, Flight]) -> dict[bytes, Made | Missed]:
    return {key: one.result() if one.done() else Missed.FAILED for key, one in theirs.items()}


def _running_loop() -> AbstractEventLoop | None:
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def landed_async(theirs: Mapping[bytes, Flight]) -> dict[bytes, Made | Missed]:
    """As :func:`landed`; whoever is cancelled meanwhile leaves the flights as they are."""
    import asyncio

    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            for one in theirs.values():
                await _end_of(one)
    return _ends(theirs)


async def _end_of(flight: Flight) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    ready = asyncio.Event()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, with all who waited in it
            loop.call_soon_threadsafe(ready.set)

    if not flight.done():
        flight.add_done_callback(tell)
        await ready.wait()


class Flights:
    """What is under way, by key. Thread-safe.

    Attributes:
        landings: how often a call has ended what it embedded.
    """

    def __init__(self) -> None:
        """Start with none."""
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._under_way: dict[bytes, Flight] = {}
        self.landings = 0

    @contextmanager
    def board(
        self,
        keys: Sequence[bytes],
        made: Mapping[bytes, Made],
        loop: AbstractEventLoop | None = None,
    ) -> Iterator[tuple[list[bytes], dict[bytes, Flight]]]:
        """Split keys in those that the caller is to embed inside of it, and those that others do.

        The first land when it is left, before the caller waits for the second: so nobody waits in a
        circle.

        Args:
            keys: wanted.
            made: where the caller puts what it embeds.
            loop: that the caller embeds in.
        """
        mine: dict[bytes, Flight] = {}
        theirs: dict[bytes, Flight] = {}
        missed = Missed.LEFT
        try:
            with self._lock:
                for key in keys:
                    flight = self._under_way.get(key)
                    if flight is None:
                        mine[key] = Flight(loop)
                        self._under_way[key] = mine[key]
                    elif key not in mine:
                        theirs[key] = flight
            yield list(mine), theirs
        except Exception:
            missed = Missed.FAILED
            raise
        finally:
            with self._lock:
                self.landings += 1
                for key, flight in mine.items():
                    if self._under_way.get(key) is flight:  # or it was interrupted before
                        del self._under_way[key]
            for key, flight in mine.items():
                flight.set_result(made.get(key, missed))

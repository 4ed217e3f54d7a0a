"""The SDK's clients of one model: one for each event loop, renewed as they age."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from llmspell.errors import ClosedError
from llmspell.providers.settings import ConnectionSettings
from llmspell.security import Secret

__all__ = ["Clients"]

#: Between two looks whether another thread's loop still runs.
_LOOK_S: Final = 0.02


@dataclass(slots=True)
class _Client:
    sdk: Any
    made_at: float = field(default_factory=time.monotonic)
    calls: int = 0
    key: str = field(default="", repr=False)
    keyed: Any = None  # the SDK's client with that key, over the same connections

    def with_key(self, key: str) -> Any:
        """The SDK's client for a call; it is of one event loop."""
        if self.keyed is None or key != self.key:
            self.key, self.keyed = key, self.sdk.with_options(api_key=key)
        return self.keyed


class Clients:
    """Gives a call the client of its event loop. Thread-safe.

    Connections belong to the loop that made them. A client that has reached its lifetime takes no
    new calls, and is closed with its last one.

    Args:
        make: from a client of httpx2 to one of the SDK.
        settings: of the connections.
    """

    def __init__(self, make: Callable[[Any], Any], settings: ConnectionSettings) -> None:
        self._make = make
        self._settings = settings
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._is_closed = False
        self._current: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Client] = (
            weakref.WeakKeyDictionary()
        )

    @asynccontextmanager
    async def client(self, key: Secret[str]) -> AsyncIterator[Any]:
        """The client for one call, with its key; raises ClosedError."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._is_closed:
                raise ClosedError("the model has been closed")
            current = self._current.get(loop)
            old = None
            self._forget_ended()
            if current is None or time.monotonic() - current.made_at >= self._settings.lifetime:
                old, current = current, _Client(self._make(self._http_client()))
                self._current[loop] = current
            current.calls += 1
        try:
            if old is not None and not old.calls:
                await asyncio.shield(old.sdk.close())
            yield current.with_key(key.reveal())
        finally:
            with self._lock:
                current.calls -= 1
                is_last = not current.calls and self._current.get(loop) is not current
            if is_last and not loop.is_closed():  # the collector ends what a loop has left
                await asyncio.shield(current.sdk.close())

    def _forget_ended(self) -> None:
        """A client holds its loop, which therefore never leaves the mapping by itself."""
        for loop in [loop for loop in self._current if loop.is_closed()]:
            del self._current[loop]

    def _http_client(self) -> Any:
        import httpx2

        from llmspell.providers.bounded import bounding  # needs httpx2

        settings = self._settings
        return httpx2.AsyncClient(
            limits=httpx2.Limits(
                max_connections=settings.size,
                max_keepalive_connections=settings.idle,
                keepalive_expiry=settings.idle_timeout,
            ),
            timeout=httpx2.Timeout(
                settings.timeout,
                connect=settings.connect_timeout,
                pool=settings.acquire_timeout,
            ),
            headers={"Accept-Encoding": "identity"},  # what is read is bounded as it comes
            event_hooks={
                "response": [
                    bounding(total=settings.max_response_bytes, event=settings.max_event_bytes)
                ]
            },
            follow_redirects=False,  # the key goes to the host that was named, and to no other
        )

    async def aclose(self) -> None:
        """Close the connections of all loops that still run; calls that are under way fail."""
        with self._lock:
            self._is_closed = True
            clients = list(self._current.items())
            self._current.clear()
        here = asyncio.get_running_loop()
        for loop, client in clients:
            if loop is here:
                await client.sdk.close()
            elif loop.is_running():
                await _closed_in(loop, client.sdk.close())


async def _closed_in(loop: asyncio.AbstractEventLoop, closing: Coroutine[Any, Any, None]) -> None:
    """Let the loop of a client close it; one that ends meanwhile isn't waited for."""
    try:
        asked = asyncio.run_coroutine_threadsafe(closing, loop)
    except RuntimeError:  # it was closed in this very moment
        closing.close()
        return
    ended = asyncio.wrap_future(asked)
    while not ended.done() and loop.is_running():
        await asyncio.wait([ended], timeout=_LOOK_S)
    if ended.done():
        if not ended.cancelled():  # with all that ran in the loop as it ended
            ended.result()
    elif loop.is_closed() and inspect.getcoroutinestate(closing) == inspect.CORO_CREATED:
        closing.close()  # it will never be begun

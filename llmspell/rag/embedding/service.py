"""One request to an embedding service: sent, sent again, read, its failure named."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

from llmspell.errors import (
    EmbeddingError,
    EmbeddingTimeout,
    EmbeddingUnavailable,
    InvalidEmbedding,
    MissingDependency,
)
from llmspell.observability import MODELS, Model, now_ns, span
from llmspell.quota import Places
from llmspell.rag.embedding.remote_settings import RemoteSettings
from llmspell.rag.embedding.service_errors import asked_wait, failure, is_passing
from llmspell.remote import KeyReader, current_deadline, wait_before
from llmspell.remote.background import run_in_background
from llmspell.security import Secret

__all__ = ["CallTime", "Credentials", "Service"]

#: The headers that carry a key.
Credentials = Callable[[Secret[str] | None], Mapping[str, str]]

# A number as text has 24 characters at most, and marks around it. The rest is for what else an
# answer says, and lets one whose vectors are longer than they should be say so.
_NUMBER_BYTES: Final = 32
_MORE_BYTES: Final = 4 << 20


class CallTime:
    """Until when a call may go on, and whether it still should. Of one event loop.

    Args:
        seconds: that it may take, where no deadline of the caller is earlier.
    """

    def __init__(self, seconds: float) -> None:
        outer = current_deadline()
        self._end = time.monotonic() + seconds
        if outer is not None:
            self._end = min(self._end, outer.at)
        self._stopped = asyncio.Event()

    @property
    def left(self) -> float:
        """Seconds; below zero when it has passed."""
        return self._end - time.monotonic()

    @property
    def is_stopped(self) -> bool:
        """Whether another part of the call has failed."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Let the other parts of the call send nothing more."""
        self._stopped.set()

    async def pause(self, seconds: float) -> None:
        """Sleep, until stopped."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return


class Service:
    """Sends JSON to one host and gives what it answers. Opens nothing before its use.

    Its coroutines run in the loop of :mod:`llmspell.remote.background`, so that callers of all
    loops and threads share connections and places; all else is thread-safe.

    Args:
        settings: retries, delays and limits.
        counted: as what its requests are counted.
        key: read for each request, so that one that was replaced is used at once; None for none.
        credentials: gives the headers that carry it.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        counted: Model,
        key: KeyReader | None,
        credentials: Credentials,
    ) -> None:
        self._settings = settings
        self._counted = counted
        self._key = key
        self._credentials = credentials
        self._places = Places(settings.concurrency)
        self._lock = threading.Lock()
        self._client: Any = None
        self._pid = os.getpid()
        self._sent = 0

    @property
    def sent(self) -> int:
        """Requests so far."""
        return self._sent

    async def post(
        self,
        url: str,
        body: Mapping[str, Any],
        until: CallTime,
        *,
        numbers: int,
        on_send: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> bytes:
        """Send a request, again where it failed in a way that may pass; gives its answer.

        Args:
            url, body: of the request.
            until: of the call.
            numbers: that the answer should have; what it is read up to follows from it.
            on_send: called when it goes out, each time.
            on_lost: called when what went out ended without an answer, and may be billed.

        Raises:
            EmbeddingError: it is refused, or failed for the last time; a subclass says how.
            MissingDependency: the extra ``embeddings`` isn't installed.
            TextTooLong: the service finds the request, or a text of it, too long.
        """
        content = json.dumps(body).encode()
        for attempt in range(self._settings.retries + 1):
            if until.is_stopped:
                raise EmbeddingError("given up, for another request of the same call failed")
            if attempt:
                MODELS.retried(self._counted)
            try:
                return await self._once(url, content, until, numbers, on_send, on_lost)
            except EmbeddingError as error:
                delay = wait_before(
                    attempt,
                    retries=self._settings.retries,
                    base=self._settings.retry_delay,
                    asked=asked_wait(error),
                )
                if delay is None or not is_passing(error) or delay >= until.left:
                    raise
            await until.pause(delay)
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self,
        url: str,
        content: bytes,
        until: CallTime,
        numbers: int,
        on_send: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> bytes:
        key = await self._read_key(until)
        headers = {**self._credentials(key), "Content-Type": "application/json"}
        library, client, places = self._open()
        place = await places.atake(max(until.left, 0))
        if place is None:
            raise EmbeddingTimeout(
                f"no request was free in time; {self._settings.concurrency} are under way at most "
                "(concurrency)"
            )
        try:
            left = until.left
            if left <= 0:
                raise EmbeddingTimeout(
                    f"the {self._settings.timeout:g} s of timeout, or the deadline, were over "
                    "before all was sent"
                )
            timeout = library.Timeout(left, connect=min(left, self._settings.connect_timeout))
            self._sent += 1
            on_send()
            with _telling(on_lost), self._told(), _naming(library, _host(url)):
                async with (
                    asyncio.timeout(left),
                    client.stream(
                        "POST", url, content=content, headers=headers, timeout=timeout
                    ) as response,
                ):
                    reply = await _read(response, _MORE_BYTES + numbers * _NUMBER_BYTES)
                if response.status_code != 200:
                    raise failure(
                        _host(url), response.status_code, dict(response.headers), reply, key
                    )
            return reply
        finally:
            place.give_back()

    async def _read_key(self, until: CallTime) -> Secret[str] | None:
        if self._key is None:
            return None
        reading = asyncio.timeout(max(until.left, 0))
        try:
            async with reading:
                return await self._key.aread()
        except TimeoutError as error:
            if not reading.expired():  # of what gives it
                raise
            raise EmbeddingTimeout("the key wasn't given in time; nothing was sent") from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Count, time and trace a request."""
        attributes: dict[str, str | int | float | bool] = {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": self._counted.provider,
            "gen_ai.request.model": self._counted.model,
        }
        began, outcome = now_ns(), "ok"
        try:
            with span(f"embeddings {self._counted.model}", attributes, is_client=True) as told:
                try:
                    yield
                except BaseException as error:
                    is_left = isinstance(error, asyncio.CancelledError)
                    outcome = "cancelled" if is_left else type(error).__name__
                    told.set("error.type", outcome)
                    raise
        finally:
            MODELS.called(self._counted, outcome, now_ns() - began)

    def _open(self) -> tuple[ModuleType, Any, Places]:
        try:
            library = importlib.import_module("httpx2")
        except ImportError as error:
            raise MissingDependency("embeddings", "httpx2") from error
        with self._lock:
            count = self._settings.concurrency
            if self._pid != os.getpid():  # neither connections nor what others hold are for a fork
                self._client, self._pid = None, os.getpid()
                self._places = Places(count)
            if self._client is None:
                self._client = library.AsyncClient(
                    headers={"User-Agent": "llmspell", "Accept-Encoding": "identity"},
                    limits=library.Limits(max_connections=count, max_keepalive_connections=count),
                )
            return library, self._client, self._places

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
            is_ours = self._pid == os.getpid()
        if client is not None and is_ours:
            run_in_background(client.aclose(), holds_up=True)


@contextmanager
def _telling(on_lost: Callable[[], None]) -> Iterator[None]:
    """Tell of a request that ends in between, and that the service may have worked on."""
    try:
        yield
    except asyncio.CancelledError:
        on_lost()
        raise
    except EmbeddingError as error:
        if error.is_sent:
            on_lost()
        raise


@contextmanager
def _naming(library: ModuleType, host: str) -> Iterator[None]:
    """Raise what the library raises as our errors."""
    unsent = (
        library.ConnectError,
        library.ConnectTimeout,
        library.PoolTimeout,
        library.ProxyError,
        library.UnsupportedProtocol,
    )
    try:
        yield
    except EmbeddingError:
        raise
    except (library.TimeoutException, TimeoutError) as error:
        is_sent = not isinstance(error, unsent)
        raise EmbeddingTimeout(f"{host} hasn't answered in time", is_sent=is_sent) from error
    except library.RequestError as error:
        # The message of the library has no header and no body.
        raise EmbeddingUnavailable(
            f"{host}: {error or type(error).__name__}", is_sent=not isinstance(error, unsent)
        ) from error
    except RuntimeError as error:  # of a client that was closed meanwhile, and sends nothing
        raise EmbeddingUnavailable(f"{host}: the embedder was closed") from error


async def _read(response: Any, most: int) -> bytes:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":  # its size would say nothing of what it becomes
        raise InvalidEmbedding(
            f"the answer is compressed ({encoding:.40}), against the request", is_sent=True
        )
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > most:
            raise InvalidEmbedding(
                f"the answer has more than {most:,} bytes, which no vectors do", is_sent=True
            )
        parts.append(part)
    return b"".join(parts)


def _host(url: str) -> str:
    return url.split("/", 3)[2]

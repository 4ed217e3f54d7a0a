"""One request to an embedding service: sent, sent again, read, its failure named."""

from __future__ import annotations

import importlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

from llmspell.errors import (
    EmbeddingError,
    EmbeddingTimeout,
    EmbeddingUnavailable,
    InvalidEmbedding,
    MissingDependency,
)
from llmspell.rag.embedding.remote_settings import RemoteSettings
from llmspell.rag.embedding.service_errors import asked_wait, failure, is_passing
from llmspell.remote import KeyReader, wait_before
from llmspell.security import Secret

__all__ = ["Credentials", "Deadline", "Service"]

#: The headers that carry a key.
Credentials = Callable[[Secret[str] | None], Mapping[str, str]]

# A number as text has 24 characters at most, and marks around it. The rest is for what else an
# answer says, and lets one whose vectors are longer than they should be say so.
_NUMBER_BYTES: Final = 32
_MORE_BYTES: Final = 4 << 20


class Deadline:
    """Until when a call may go on, and whether it still should. Thread-safe."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._stopped = threading.Event()

    @property
    def left(self) -> float:
        """Seconds; below zero when it has passed."""
        return self._end - time.monotonic()

    @property
    def is_stopped(self) -> bool:
        """Whether another part of the call has failed."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Let what goes on elsewhere send nothing more."""
        self._stopped.set()

    def pause(self, seconds: float) -> None:
        """Sleep, until stopped."""
        self._stopped.wait(seconds)


class Service:
    """Sends JSON to one host and gives its JSON back. Thread-safe; opens nothing before its use.

    Args:
        settings: retries, delays and limits.
        key: read for each request, so that one that was replaced is used at once; None for none.
        credentials: gives the headers that carry it.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        key: KeyReader | None,
        credentials: Credentials,
    ) -> None:
        self._settings = settings
        self._key = key
        self._credentials = credentials
        self._slots = threading.BoundedSemaphore()  # made anew with the first request
        self._lock = threading.Lock()
        self._client: Any = None
        self._pid = 0
        self._sent = 0

    @property
    def sent(self) -> int:
        """Requests so far."""
        return self._sent

    def post(self, url: str, body: Mapping[str, Any], deadline: Deadline, *, numbers: int) -> Any:
        """Send a request, again where it failed in a way that may pass, and read its answer.

        Args:
            url, body: of the request.
            deadline: of the call.
            numbers: that the answer should have; what it is read up to follows from it.

        Raises:
            EmbeddingError: it is refused, or failed for the last time; a subclass says how.
            MissingDependency: the extra ``embeddings`` isn't installed.
            TextTooLong: the service finds the request, or a text of it, too long.
        """
        content = json.dumps(body).encode()
        for attempt in range(self._settings.retries + 1):
            if deadline.is_stopped:
                raise EmbeddingError("given up, for another request of the same call failed")
            try:
                return self._once(url, content, deadline, numbers)
            except EmbeddingError as error:
                delay = wait_before(
                    attempt,
                    retries=self._settings.retries,
                    base=self._settings.retry_delay,
                    asked=asked_wait(error),
                )
                if delay is None or not is_passing(error) or delay >= deadline.left:
                    raise
            deadline.pause(delay)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, url: str, content: bytes, deadline: Deadline, numbers: int) -> Any:
        library, client, slots = self._open()
        if not slots.acquire(timeout=max(deadline.left, 0)):
            raise EmbeddingTimeout(
                f"no request was free in time; {self._settings.concurrency} are under way at most "
                "(concurrency)"
            )
        try:
            left = deadline.left
            if left <= 0:
                raise EmbeddingTimeout(
                    f"the {self._settings.timeout:g} s of timeout were over before all was sent"
                )
            timeout = library.Timeout(left, connect=min(left, self._settings.connect_timeout))
            key = None if self._key is None else self._key.read()
            headers = {**self._credentials(key), "Content-Type": "application/json"}
            with self._lock:
                self._sent += 1
            with client.stream(
                "POST", url, content=content, headers=headers, timeout=timeout
            ) as response:
                reply = _read(response, deadline, _MORE_BYTES + numbers * _NUMBER_BYTES)
                status, found = response.status_code, dict(response.headers)
        except library.TimeoutException as error:
            raise EmbeddingTimeout(f"{_host(url)} hasn't answered in time") from error
        except library.RequestError as error:
            # The message of the library has no header and no body.
            raise EmbeddingUnavailable(f"{_host(url)}: {error or type(error).__name__}") from error
        except EmbeddingError:
            raise
        except RuntimeError as error:  # of a client that was closed meanwhile
            raise EmbeddingUnavailable(f"{_host(url)}: the embedder was closed") from error
        finally:
            slots.release()
        if status != 200:
            raise failure(_host(url), status, found, reply, key)
        try:
            return json.loads(reply)
        except (ValueError, RecursionError) as error:
            raise InvalidEmbedding(f"{_host(url)} answered with no JSON") from error

    def _open(self) -> tuple[ModuleType, Any, threading.BoundedSemaphore]:
        try:
            library = importlib.import_module("httpx2")
        except ImportError as error:
            raise MissingDependency("embeddings", "httpx2") from error
        with self._lock:
            count = self._settings.concurrency
            if self._pid != os.getpid():  # neither connections nor what others hold are for a fork
                self._client, self._pid = None, os.getpid()
                self._slots = threading.BoundedSemaphore(count)
            if self._client is None:
                self._client = library.Client(
                    headers={"User-Agent": "llmspell", "Accept-Encoding": "identity"},
                    limits=library.Limits(max_connections=count, max_keepalive_connections=count),
                )
            return library, self._client, self._slots

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
            is_ours = self._pid == os.getpid()
        if client is not None and is_ours:
            client.close()


def _read(response: Any, deadline: Deadline, most: int) -> bytes:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":  # its size would say nothing of what it becomes
        raise InvalidEmbedding(f"the answer is compressed ({encoding:.40}), against the request")
    parts, size = [], 0
    for part in response.iter_raw():
        size += len(part)
        if size > most:
            raise InvalidEmbedding(f"the answer has more than {most:,} bytes, which no vectors do")
        if deadline.left <= 0:
            raise EmbeddingTimeout("the answer didn't end in time")
        parts.append(part)
    return b"".join(parts)


def _host(url: str) -> str:
    return url.split("/", 3)[2]

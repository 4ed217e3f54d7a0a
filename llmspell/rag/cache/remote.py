"""The tier that hosts share: a Redis server, asked for what neither memory nor disk has.

Nobody waits longer for it than its timeout, and while it fails, nobody waits at all. What comes
from there is checked like what comes from a file.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Any, Final, TypeAlias

import numpy as np

from llmspell.errors import ConfigError, MissingDependency
from llmspell.rag.cache.breaker import Breaker
from llmspell.rag.cache.compartment import Compartment
from llmspell.rag.cache.entry import Made, decode, encode, is_rounded, longest
from llmspell.rag.cache.pending import Pending
from llmspell.rag.cache.settings import EmbeddingCacheSettings
from llmspell.rag.cache.stats import Counters

__all__ = ["RemoteTier"]

_LOG = logging.getLogger("llmspell")
#: Asked for, or written, in one round trip.
_BATCH: Final = 128
#: Lookups side by side; more wait for one of these, within the same timeout.
_READERS: Final = 16
#: Seconds that a write, which nobody waits for, may take at least.
_WRITE_S: Final = 1.0
#: Seconds that closing waits for what is to be written.
_CLOSE_S: Final = 5.0

_Put: TypeAlias = tuple[Compartment, bytes, Made]


class RemoteTier:
    """What hosts share. Thread-safe. A server that fails has nothing.

    A put returns at once; a thread writes what waits, and ends with :meth:`close`.
    """

    def __init__(self, settings: EmbeddingCacheSettings, counters: Counters) -> None:
        """Connect to nothing yet.

        Raises:
            ConfigError: ``redis_url`` isn't one that redis-py takes.
            MissingDependency: without the extra ``redis``.
        """
        self._settings = settings
        self._counters = counters
        self._timeout = settings.redis_timeout
        self._reader = _client(settings.redis_url, self._timeout)
        self._writer = _client(settings.redis_url, max(self._timeout, _WRITE_S))
        lives = (
            settings.redis_ttl if settings.ttl is None else min(settings.ttl, settings.redis_ttl)
        )
        self._lives_ms = max(1, int(lives * 1_000))
        self._breaker = Breaker()
        self._readers = ThreadPoolExecutor(
            _READERS, thread_name_prefix="llmspell-embedding-cache-redis"
        )
        self._lock = threading.Lock()
        # None only wakes the thread.
        self._pending: Pending[_Put | None] = Pending(settings.max_pending)
        self._thread: threading.Thread | None = None
        # Entries of these are to be removed from the server: until then it has none for anybody.
        self._leaving: set[bytes] = set()
        self._is_exact = settings.disk_dtype == "float32"  # whatever other hosts do
        self._is_refused = False  # the last write was
        self._is_closed = False  # takes no more to write

    def get(
        self, compartment: Compartment, names: Sequence[bytes], dim: int, oldest_us: int
    ) -> dict[bytes, Made]:
        """The vectors of those names that come in time, whole, and made at ``oldest_us`` or later.

        Args:
            compartment: of all of them.
            names: as :meth:`Compartment.remote_names` gives them.
            dim: length of a vector.
            oldest_us: microseconds since 1970.
        """
        if not names or not self._serves(compartment):
            return {}
        answers: list[tuple[bytes, Any]] = []
        try:
            job = self._readers.submit(self._read, names, longest(dim), answers)
        except RuntimeError:  # it was closed meanwhile
            return {}
        try:
            job.result(self._timeout)
        except TimeoutError:
            # One that hasn't begun says nothing of the server; nor does one that asks for much.
            if not job.cancel() and not answers:
                self._fail(f"it hasn't answered within {self._timeout:g} s")
        except Exception as error:  # a server that isn't one makes its client raise anything
            self._fail(error)
        return self._checked(list(answers), dim, oldest_us)

    def put(self, compartment: Compartment, name: bytes, made: Made) -> None:
        """Have a vector written; dropped, and counted, where too many wait or the server fails."""
        if compartment.is_gone:
            return
        if not self._serves(compartment) or not self._send((compartment, name, made)):
            self._counters.redis_dropped.inc()

    def forget(self, compartment: Compartment) -> None:
        """Have all entries of a compartment removed; tried again while the server is away."""
        with self._lock:
            self._leaving.add(compartment.remote)
        self._send(None)

    def flush(self) -> None:
        """Wait until what waits is written, or dropped, or all is closed."""
        self._pending.wait()

    def close(self) -> None:
        """Write what waits, as far as that takes a few seconds, and close all connections."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            with suppress(queue.Full):  # then the thread has enough to wake for
                self._pending.put_nowait(None)
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
        self._pending.give_up()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._reader.close()
        self._writer.close()

    def _serves(self, compartment: Compartment) -> bool:
        """Whether to ask; has the server tried, beside, where it is left alone and that is due."""
        if self._breaker.is_closed:
            return compartment.remote not in self._leaving
        if self._breaker.is_due():
            try:
                self._readers.submit(self._try)
            except RuntimeError:  # it was closed meanwhile, or no thread can be started
                self._breaker.fail()
        return False

    def _try(self) -> None:
        try:
            self._reader.ping()
        except Exception as error:
            self._fail(error)
            return
        self._breaker.mend()
        self._send(None)

    def _fail(self, error: Exception | str) -> None:
        was_closed = self._breaker.is_closed
        self._breaker.fail()
        self._counters.redis_failed.inc()
        if was_closed:
            where = self._reader.connection_pool.connection_kwargs
            place = where.get("path") or f"{where.get('host')}:{where.get('port')}"
            _LOG.warning("the embedding cache goes on without Redis at %s: %s", place, error)

    def _read(self, names: Sequence[bytes], most: int, answers: list[tuple[bytes, Any]]) -> None:
        """Ask for all of them, as long as there is time; adds to ``answers``, also too late."""
        deadline = time.monotonic() + self._timeout
        left = iter(names)
        while (batch := list(islice(left, _BATCH))) and time.monotonic() < deadline:
            with self._reader.pipeline(transaction=False) as asking:
                for name in batch:
                    # No more than an entry has, whatever is there.
                    asking.getrange(name, 0, most)
                answers.extend(zip(batch, asking.execute(raise_on_error=False), strict=True))

    def _checked(
        self, answers: Sequence[tuple[bytes, Any]], dim: int, oldest_us: int
    ) -> dict[bytes, Made]:
        found: dict[bytes, Made] = {}
        now_us = time.time_ns() // 1_000
        for name, raw in answers:
            if raw == b"":
                continue
            made = None
            if isinstance(raw, bytes):
                self._counters.redis_read_bytes.inc(len(raw))
                made = decode(name, raw, dim)
            elif isinstance(raw, Exception) and not str(raw).startswith("WRONGTYPE"):
                self._fail(raw)
                return found
            if made is None or not np.isfinite(made.vector).all():
                self._counters.corrupt.inc()
            elif made.at_us >= oldest_us and not (self._is_exact and is_rounded(raw)):
                # A clock that is ahead elsewhere mustn't make it live longer here.
                found[name] = made._replace(at_us=min(made.at_us, now_us))
        if answers:
            self._breaker.succeed()
        return found

    def _send(self, job: _Put | None) -> bool:
        # Under the lock, so that nothing comes behind the end, which nobody would write.
        with self._lock:
            if self._is_closed:
                return False
            try:
                if self._thread is None:
                    thread = threading.Thread(
                        target=self._write, name="llmspell-embedding-cache-redis", daemon=True
                    )
                    thread.start()
                    self._thread = thread
                self._pending.put_nowait(job)
            except (queue.Full, RuntimeError):  # the next one tries again to start the thread
                return False
        return True

    def _write(self) -> None:
        while True:
            jobs = [self._pending.get()]
            while len(jobs) < _BATCH:
                try:
                    jobs.append(self._pending.get_nowait())
                except queue.Empty:
                    break
            try:
                self._store([job for job in jobs if job is not None])
                for prefix in list(self._leaving):
                    self._remove(prefix)
            except Exception:  # without this thread, whoever flushes waits for ever
                _LOG.exception("writing the embedding cache to Redis")
            for _ in jobs:
                self._pending.task_done()
            with self._lock:
                if self._is_closed and self._pending.empty():
                    return

    def _store(self, puts: Sequence[_Put]) -> None:
        """Write vectors, but for those of a tenant that was dropped since."""
        due = [(name, made) for compartment, name, made in puts if not compartment.is_gone]
        if not due:
            return
        if not self._breaker.is_closed:
            self._counters.redis_dropped.inc(len(due))
            return
        values = [(name, encode(name, made, self._settings)) for name, made in due]
        try:
            with self._writer.pipeline(transaction=False) as asking:
                for name, value in values:
                    asking.set(name, value, px=self._lives_ms)
                answers = asking.execute(raise_on_error=False)
        except Exception as error:
            self._fail(error)
            self._counters.redis_dropped.inc(len(due))
            return
        # One that is full, or a replica, still tells what it has.
        refusals = [answer for answer in answers if isinstance(answer, Exception)]
        sizes = [
            len(value)
            for (_, value), answer in zip(values, answers, strict=True)
            if not isinstance(answer, Exception)
        ]
        self._counters.redis_dropped.inc(len(refusals))
        self._counters.redis_written.inc(len(sizes))
        self._counters.redis_written_bytes.inc(sum(sizes))
        if refusals and not self._is_refused:
            _LOG.warning("Redis takes no vectors of the embedding cache: %s", refusals[0])
        self._is_refused = bool(refusals)

    def _remove(self, prefix: bytes) -> None:
        """Remove all entries of a compartment; it stays in ``_leaving`` where that fails."""
        if not self._breaker.is_closed:
            return
        try:
            names = self._writer.scan_iter(match=prefix + b"*", count=1_000)
            while batch := list(islice(names, _BATCH)):
                self._writer.unlink(*batch)
        except Exception as error:
            self._fail(error)
            return
        with self._lock:
            self._leaving.discard(prefix)


def _client(url: str | None, timeout: float) -> Any:
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise MissingDependency("redis", "redis") from error
    try:
        return redis.Redis.from_url(
            url or "",
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # A pooled connection may be one to a server that has restarted since.
            retry=Retry(NoBackoff(), 1),
        )
    except ValueError:
        # Neither it, nor what is said of it: a password may be in both.
        raise ConfigError(
            "redis_url must be one that redis-py takes, as redis://HOST:PORT/NUMBER; letters such "
            "as '#', '/' and '[' in a password are to be written by their percent codes"
        ) from None

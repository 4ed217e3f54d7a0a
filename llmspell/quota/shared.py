"""Quotas shared by several hosts, over a Redis server.

See docs/explanation/quotas.md for what is promised when a host or the server fails.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from types import TracebackType
from typing import Literal, Self, get_args

from llmspell.errors import ClosedError, ConfigError, InputError, LedgerUnavailable, UseAfterFork
from llmspell.quota._redis import Server
from llmspell.quota._shared_reservation import SharedReservation
from llmspell.quota._shared_slot import SharedSlot

__all__ = ["SharedLedger", "SharedReservation", "SharedSlot", "WhenAway"]

WhenAway = Literal["closed", "open", "local"]

KEY_BYTES = 16
MAX_LEASE = 1 << 40
MAX_BEAT_S = 0.25

logger = logging.getLogger("llmspell.quota")


class SharedLedger:
    """Quota counters that several hosts share over a Redis server. Thread-safe.

    A charge takes from units that this host has leased; only when they run out does it ask the
    server, in one round trip. A thread reports use and renews leases in the background.

    Args:
        url: of the server, as redis-py takes it. It must be Redis 7 or later, or Valkey.
        lease: most units of a quota that this host asks for ahead of use.
        lease_seconds: how long they may be charged without hearing from the server; the same on
            all hosts. For as long the server gives none after it has restarted.
        when_away: what happens while the server can't be asked. ``"closed"`` refuses with
            LedgerUnavailable; ``"local"`` goes on with the leases held, and then refuses;
            ``"open"`` admits everything and counts it, to report it later.
        timeout: seconds to wait for the server.

    Raises:
        ConfigError: a setting is out of range.
        MissingDependency: the extra ``redis`` is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        lease: int = 100,
        lease_seconds: float = 10.0,
        when_away: WhenAway = "closed",
        timeout: float = 1.0,
    ) -> None:
        if not 1 <= lease <= MAX_LEASE:
            raise ConfigError(f"lease must be from 1 to 2**40 units, got {lease!r}")
        if not 0.5 <= lease_seconds <= 3600:
            raise ConfigError(f"lease_seconds must be from 0.5 to 3,600, got {lease_seconds!r}")
        if when_away not in get_args(WhenAway):
            raise ConfigError(f"when_away must be 'closed', 'open' or 'local', got {when_away!r}")
        if not 0 < timeout <= 60:
            raise ConfigError(f"timeout must be more than 0 and at most 60 s, got {timeout!r}")
        self.lease = lease
        self.lease_seconds = lease_seconds
        self.when_away = when_away
        self.away = False  #: whether the server couldn't be asked last
        self._server = Server(url, timeout)
        self._slots: weakref.WeakValueDictionary[bytes, SharedSlot] = weakref.WeakValueDictionary()
        self._kept: set[SharedSlot] = set()  # for what they have to tell, whoever uses them
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._closed = self._forked = False
        self._stop = threading.Event()
        beat = min(lease_seconds / 8, MAX_BEAT_S)
        self._thread = threading.Thread(
            target=_beat, args=(weakref.ref(self), self._stop, beat), name="llmspell-quota"
        )
        self._thread.daemon = True
        self._thread.start()
        _OPEN.add(self)

    def slot(self, key: bytes) -> SharedSlot:
        """The counters of a key of 16 bytes; the same object while it is used.

        One that nobody holds is freed when the server knows all of it, and would need to be told
        nothing again after a restart.

        Raises:
            InputError: the key has another length.
            ClosedError: the ledger is closed.
        """
        if len(key) != KEY_BYTES:
            raise InputError(f"a key must have {KEY_BYTES} bytes, got {len(key)}")
        self._must_be_open()
        with self._lock:
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = SharedSlot(self, key)
            return slot

    def close(self) -> None:
        """Report all use and give back what is leased. Open reservations are given back."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            slots = list(self._slots.values())
        if self._forked:
            return
        self._stop.set()
        self._thread.join()
        for slot in slots:
            try:
                slot._leave()
            except LedgerUnavailable as error:
                logger.warning("leases are left to the server's count: %s", error)
        self._server.close()

    def _must_be_open(self) -> None:
        if self._forked:
            raise UseAfterFork("a shared ledger from before fork() is used in the child; make one")
        if self._closed:
            raise ClosedError("the shared ledger has been closed")

    def _beat_slots(self) -> None:
        with self._lock:
            slots = list(self._slots.values())
        try:
            epoch = self._server.epoch()
        except LedgerUnavailable:
            self.away = True
            return
        self.away = False
        for slot in slots:
            try:
                slot._beat(epoch)
                self._let_go(slot)
            except LedgerUnavailable:
                if self.away:
                    return
            except Exception:
                logger.exception("a report of quota use failed; it is tried again")

    def _keep(self, slot: SharedSlot) -> None:
        with self._lock:
            self._kept.add(slot)
            slot._is_kept = True

    def _let_go(self, slot: SharedSlot) -> None:
        """Leave it to those who use it, where there is nothing more to tell of it."""
        if not slot._is_kept or not slot._is_idle():
            return
        with self._lock:
            slot._is_kept = False
            self._kept.discard(slot)
        # It may have been charged before it could see that it isn't kept.
        slot._keep()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


# Ledgers whose leases a forked child would charge a second time.
_OPEN: weakref.WeakSet[SharedLedger] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for ledger in _OPEN:
        ledger._forked = True


os.register_at_fork(after_in_child=_after_fork_in_child)


def _beat(ledger: weakref.ref[SharedLedger], stop: threading.Event, seconds: float) -> None:
    while not stop.wait(seconds):
        alive = ledger()
        if alive is None:
            return
        try:
            alive._beat_slots()
        except Exception:  # of an answer that is none: the thread goes on, for it renews all leases
            logger.exception("a look at the quota server failed; it is tried again")
        del alive

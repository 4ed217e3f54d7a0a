"""From a reference that is allowed to its value: cached, read, told to who listens."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from llmspell.errors import SecretDenied, SecretNotFound, SecretUnavailable
from llmspell.security.secrets.access import AccessOutcome, SecretAccess
from llmspell.security.secrets.backend import PerProcess, SecretBackend
from llmspell.security.secrets.cache import Found, Places, SecretCache
from llmspell.security.secrets.ref import SecretRef
from llmspell.security.secrets.secret import Secret

__all__ = ["Reading", "Subscription"]

_LOG: Final = logging.getLogger("llmspell")
# Some 300 bytes each, without the values.
CACHED: Final = 4096


@dataclass(eq=False, slots=True)
class Subscription:
    """Who is told of new values of a secret, until it is cancelled. A context manager."""

    ref: SecretRef
    _tenant: str | None = field(repr=False)
    _places: Places = field(repr=False)
    _callback: Callable[[Secret[str]], object] = field(repr=False)
    _known: Secret[str] | None = field(repr=False)
    _subscriptions: set[Subscription] = field(repr=False)

    def cancel(self) -> None:
        """End it; a call that is under way goes on. Any number of times."""
        self._subscriptions.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class Reading:
    """Reads what it is told to, whoever asks: the handles above it decide who may."""

    def __init__(
        self,
        backends: Mapping[str, SecretBackend],
        *,
        ttl: float,
        stale_grace: float,
        on_access: Callable[[SecretAccess], object] | None,
        clock: Callable[[], float],
    ) -> None:
        self._backends = backends
        self._on_access = on_access
        self._cache = SecretCache(ttl=ttl, stale_grace=stale_grace, clock=clock, limit=CACHED)
        self._subscriptions: set[Subscription] = set()
        self._telling = PerProcess(threading.RLock)

    def read(
        self, ref: SecretRef, tenant: str | None, places: Places, *, anew: bool = False
    ) -> Secret[str]:
        """The value of the first place that has one; each access is told of."""
        try:
            answer = self._cache.get(places, lambda: self._fetch(ref, places), anew=anew)
        except Exception as error:
            self.tell(SecretAccess(ref=ref, tenant=tenant, outcome=_outcome_of(error)))
            raise
        self.tell(
            SecretAccess(
                ref=ref,
                tenant=tenant,
                outcome="stale" if answer.is_stale else "read",
                place=answer.found.place,
                is_cached=answer.is_cached,
            )
        )
        self._tell_subscribers(places)
        return answer.found.secret

    def _fetch(self, ref: SecretRef, places: Places) -> Found:
        for place in places:
            secret = self._backends[place.scheme].read(place)
            if secret is not None:
                return Found(secret, place)
        asked = ", ".join(map(str, places)) or "no backend, for none keeps such"
        raise SecretNotFound(f"{ref} isn't there; asked were: {asked}")

    def tell(self, access: SecretAccess) -> None:
        """Tell the observer."""
        if self._on_access is not None:
            self._on_access(access)

    def subscribe(
        self,
        ref: SecretRef,
        tenant: str | None,
        places: Places,
        callback: Callable[[Secret[str]], object],
    ) -> Subscription:
        """Tell ``callback`` of values other than the one that is cached now."""
        with self._telling.get():
            known = self._cache.current(places)
            made = Subscription(ref, tenant, places, callback, known, self._subscriptions)
            self._subscriptions.add(made)
        return made

    def refresh_all(self) -> None:
        """Expire everything; read anew what is subscribed to."""
        self._cache.expire_all()
        wanted = {one._places: (one.ref, one._tenant) for one in self._subscriptions.copy()}
        failed: list[Exception] = []
        for places, (ref, tenant) in wanted.items():
            try:
                self.read(ref, tenant, places, anew=True)
            except Exception as error:
                failed.append(error)
        if failed:
            for other in failed[1:]:
                failed[0].add_note(f"also {type(other).__name__}: {other}")
            raise failed[0]

    def _tell_subscribers(self, places: Places) -> None:
        """Under one lock, and with what is cached then: the last that is told is the newest."""
        current = self._cache.current(places)
        concerned = [one for one in self._subscriptions.copy() if one._places == places]
        # Without the lock, which is held while callbacks run: who has nothing to tell doesn't wait.
        if all(one._known == current for one in concerned):
            return
        with self._telling.get():
            current = self._cache.current(places)
            for one in self._subscriptions.copy():
                if one._places != places or current is None or current == one._known:
                    continue
                one._known = current
                try:
                    one._callback(current)
                except Exception as error:
                    # By its type alone: the message may hold the value.
                    _LOG.error("a callback for %s raised %s", one.ref, type(error).__name__)


def _outcome_of(error: Exception) -> AccessOutcome:
    match error:
        case SecretNotFound():
            return "missing"
        case SecretDenied():
            return "denied"
        case SecretUnavailable():
            return "unavailable"
    return "failed"

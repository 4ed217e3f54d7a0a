"""Look-ups of names that end in time.

``getaddrinfo`` takes no timeout and can't be called off, so each look-up has a thread of its own
and is left behind when its time is over. A resolver of Python's own (dnspython) could be called
off, but would see other names than the rest of the host: no ``/etc/hosts``, no ``nsswitch.conf``.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from llmspell.security.urls.validator import Resolver

__all__ = ["BoundedResolver", "Remembered"]

Addresses = tuple[IPv4Address | IPv6Address | str, ...]

AT_ONE_TIME = 32  # threads of one broker, those included that were left behind
OF_A_TENANT = 8  # of these: none keeps the others from asking
MAX_HUNG = 4  # look-ups of one session
KEPT_SECONDS = 30.0
MAX_ANSWERS = 64  # more addresses than any name needs; each is judged, and may be tried


class BoundedResolver:
    """A resolver that gives up: after ``seconds``, or where too many look-ups hang.

    Safe to share between threads if ``resolver`` is.
    """

    def __init__(self, resolver: Resolver, seconds: float) -> None:
        self._resolver = resolver
        self._seconds = seconds
        self._running: Counter[str] = Counter()
        self._room = threading.Condition()

    def __call__(self, host: str, port: int, *, tenant: str = "") -> Addresses:
        """All addresses of a host.

        Args:
            tenant: on whose behalf; "" for the operator, who may have all the threads.

        Raises:
            TimeoutError: there is no answer in time.
            OSError: as the resolver raises it, and in place of any other exception of its own.
        """
        end = time.monotonic() + self._seconds
        self._begin(tenant)
        answer: queue.SimpleQueue[Addresses | OSError] = queue.SimpleQueue()
        try:
            threading.Thread(
                target=self._look_up, args=(host, port, tenant, answer), name="look-up", daemon=True
            ).start()
        except RuntimeError as error:  # no more threads
            self._end(tenant)
            raise OSError(f"a look-up can't be started: {error}") from error
        try:
            found = answer.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            raise TimeoutError(f"no answer within {self._seconds:g} s") from None
        if isinstance(found, OSError):
            raise found
        return found

    def _begin(self, tenant: str) -> None:
        most = OF_A_TENANT if tenant else AT_ONE_TIME

        def has_room() -> bool:
            return self._running.total() < AT_ONE_TIME and self._running[tenant] < most

        with self._room:
            if not self._room.wait_for(has_room, self._seconds):
                raise TimeoutError(f"{min(most, self._running.total())} look-ups hang")
            self._running[tenant] += 1

    def _end(self, tenant: str) -> None:
        with self._room:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]
            # All, for who waits the longest may be one whose tenant has no room yet.
            self._room.notify_all()

    def _look_up(
        self, host: str, port: int, tenant: str, answer: queue.SimpleQueue[Addresses | OSError]
    ) -> None:
        try:
            found = tuple(self._resolver(host, port))
            if len(found) > MAX_ANSWERS:
                raise OSError(f"{len(found)} addresses, the limit is {MAX_ANSWERS}")
            answer.put(found)
        except OSError as error:
            answer.put(error)
        except Exception as error:  # of a caller's resolver; this thread has nobody to tell
            failure = OSError(f"the resolver raised {type(error).__name__}")
            failure.__cause__ = error
            answer.put(failure)
        finally:
            self._end(tenant)


class Remembered:
    """A resolver that asks once and remembers for a while; one session's, never shared.

    What it remembers is judged anew at each use, as an answer is. The session's requests bound how
    much there is. After a few look-ups that hang it asks no more, so that one session can't leave
    all of a broker's threads behind.
    """

    def __init__(self, resolver: Callable[[str, int], Addresses]) -> None:
        self._resolver = resolver
        self._known: dict[tuple[str, int], tuple[float, Addresses]] = {}
        self._hung = 0

    def __call__(self, host: str, port: int) -> Addresses:
        """All addresses of a host.

        Raises:
            TimeoutError: there is no answer in time, or too many before had none.
            OSError: as the resolver raises it.
        """
        until, found = self._known.get((host, port), (0.0, ()))
        if time.monotonic() >= until:
            if self._hung >= MAX_HUNG:
                raise TimeoutError(f"{MAX_HUNG} look-ups of this session hung")
            try:
                found = self._resolver(host, port)
            except TimeoutError:
                self._hung += 1
                raise
            self._known[host, port] = (time.monotonic() + KEPT_SECONDS, found)
        return found

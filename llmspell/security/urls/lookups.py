"""Names to addresses, in time.

``getaddrinfo`` takes no timeout and can't be called off, so each look-up has a thread of its own
and is left behind when its time is over. A resolver of Python's own (dnspython) could be called
off, but would see other names than the rest of the host: no ``/etc/hosts``, no ``nsswitch.conf``.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import ip_address

from llmspell.security.urls.addresses import Address

__all__ = ["BoundedResolver", "Remembered", "Resolver", "resolve"]

# All addresses of a name; given a host in ASCII and a port. OSError where there are none.
Resolver = Callable[[str, int], Iterable[Address | str]]
Addresses = tuple[Address | str, ...]

AT_ONE_TIME = 32  # threads of one resolver, those included that were left behind
OF_A_TENANT = 8  # of these: none keeps the others from asking
MAX_HUNG = 4  # look-ups of one session
KEPT_SECONDS = 30.0
MAX_ANSWERS = 64  # more addresses than any name needs; each is judged, and may be tried


def resolve(host: str, port: int) -> list[Address]:
    """All addresses that the system finds for a name; blocks for as long as the system tries.

    Raises:
        OSError: it finds none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [ip_address(str(name[0]).partition("%")[0]) for *_, name in found]


class _LookUp:
    """One that goes on: whose it is, and where its answer goes. Each is another."""

    __slots__ = ("answer", "host", "port", "tenant")

    def __init__(self, host: str, port: int, tenant: str | None) -> None:
        self.host, self.port, self.tenant = host, port, tenant
        self.answer: queue.SimpleQueue[Addresses | OSError] = queue.SimpleQueue()


class BoundedResolver:
    """A resolver that gives up: after ``seconds``, or where too many look-ups hang.

    Safe to share between threads if ``resolver`` is.
    """

    def __init__(self, resolver: Resolver, seconds: float) -> None:
        self._resolver = resolver
        self._seconds = seconds
        self._running: set[_LookUp] = set()
        self._of_tenants: Counter[str | None] = Counter()
        self._room = threading.Condition()

    def __call__(self, host: str, port: int, *, tenant: str | None = None) -> Addresses:
        """All addresses of a host.

        Args:
            tenant: on whose behalf; None for the operator, who may have all the threads.

        Raises:
            TimeoutError: there is no answer in time.
            OSError: as the resolver raises it, and in place of any other exception of its own.
        """
        end = time.monotonic() + self._seconds
        look_up = _LookUp(host, port, tenant)
        try:
            self._begin(look_up)
            threading.Thread(
                target=self._look_up, args=(look_up,), name="look-up", daemon=True
            ).start()
        except BaseException as error:
            self._end(look_up)
            if isinstance(error, RuntimeError):  # no more threads
                raise OSError(f"a look-up can't be started: {error}") from error
            raise
        try:
            found = look_up.answer.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            raise TimeoutError(f"no answer within {self._seconds:g} s") from None
        if isinstance(found, OSError):
            raise found
        return found

    def _begin(self, look_up: _LookUp) -> None:
        tenant = look_up.tenant
        most = AT_ONE_TIME if tenant is None else OF_A_TENANT

        def has_room() -> bool:
            return len(self._running) < AT_ONE_TIME and self._of_tenants[tenant] < most

        with self._room:
            if not self._room.wait_for(has_room, self._seconds):
                raise TimeoutError(f"{min(most, len(self._running))} look-ups hang")
            self._running.add(look_up)
            self._of_tenants[tenant] += 1

    def _end(self, look_up: _LookUp) -> None:
        with self._room:
            if look_up not in self._running:
                return
            self._running.remove(look_up)
            self._of_tenants[look_up.tenant] -= 1
            if not self._of_tenants[look_up.tenant]:
                del self._of_tenants[look_up.tenant]
            # All, for who waits the longest may be one whose tenant has no room yet.
            self._room.notify_all()

    def _look_up(self, look_up: _LookUp) -> None:
        try:
            found = tuple(self._resolver(look_up.host, look_up.port))
            if len(found) > MAX_ANSWERS:
                raise OSError(f"{len(found)} addresses, the limit is {MAX_ANSWERS}")
            look_up.answer.put(found)
        except OSError as error:
            look_up.answer.put(error)
        except Exception as error:  # of a caller's resolver; this thread has nobody to tell
            failure = OSError(f"the resolver raised {type(error).__name__}: {error}"[:200])
            failure.__cause__ = error
            look_up.answer.put(failure)
        finally:
            self._end(look_up)


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

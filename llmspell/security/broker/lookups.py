"""Look-ups of names that end in time.

``getaddrinfo`` takes no timeout and can't be called off, so each look-up has a thread of its own
and is left behind when its time is over. A resolver of Python's own (dnspython) could be called
off, but would see other names than the rest of the host: no ``/etc/hosts``, no ``nsswitch.conf``.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from llmspell.security.urls.validator import Resolver

__all__ = ["BoundedResolver", "Remembered"]

Addresses = tuple[IPv4Address | IPv6Address | str, ...]

AT_ONE_TIME = 32  # threads of one broker, those included that were left behind
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
        self._free = threading.BoundedSemaphore(AT_ONE_TIME)

    def __call__(self, host: str, port: int) -> Addresses:
        """All addresses of a host.

        Raises:
            TimeoutError: there is no answer in time.
            OSError: as the resolver raises it, and in place of any other exception of its own.
        """
        end = time.monotonic() + self._seconds
        if not self._free.acquire(timeout=self._seconds):
            raise TimeoutError(f"{AT_ONE_TIME} look-ups hang")
        answer: queue.SimpleQueue[Addresses | OSError] = queue.SimpleQueue()
        try:
            threading.Thread(
                target=self._look_up, args=(host, port, answer), name="look-up", daemon=True
            ).start()
        except RuntimeError as error:  # no more threads
            self._free.release()
            raise OSError(f"a look-up can't be started: {error}") from error
        try:
            found = answer.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            raise TimeoutError(f"no answer within {self._seconds:g} s") from None
        if isinstance(found, OSError):
            raise found
        return found

    def _look_up(
        self, host: str, port: int, answer: queue.SimpleQueue[Addresses | OSError]
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
            self._free.release()


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

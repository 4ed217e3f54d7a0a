"""Names whose answer changes between look-ups, and real sockets: who is connected to."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from llmspell.errors import UrlDenied
from llmspell.security import DomainRules, UrlValidator, open_checked
from tests.security.urls.zone import Zone

FLIPS = 10_000
ALLOWED, PRIVATE = "127.0.0.1", "127.0.0.2"


class Greeter:
    """Says which address it listens at to whoever connects, and counts them."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.greeted = 0
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        self._socket.listen(64)
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if connection.recv(1) == b"":  # closed without a word: the end
                    return
                self.greeted += 1
                connection.sendall(self.address.encode())

    def close(self) -> None:
        socket.create_connection((self.address, self.port)).close()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def greeters() -> Iterator[tuple[Greeter, Greeter]]:
    for _ in range(20):
        allowed = Greeter(ALLOWED, 0)
        try:
            private = Greeter(PRIVATE, allowed.port)
        except OSError:  # taken at the other address, or no such address on this system
            allowed.close()
            continue
        break
    else:
        pytest.skip(f"{PRIVATE} can't be listened at")
    yield allowed, private
    allowed.close()
    private.close()


def greeting(connection: socket.socket) -> str:
    with connection:
        connection.sendall(b"?")
        answer = connection.recv(64).decode()
        # Reset rather than wait, or thousands of these use up the ports.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return answer


def flipping(seed: int) -> Zone:
    """Most look-ups answer otherwise than the last: the allowed address, the other, or both."""
    chance = random.Random(seed)
    answers = ([ALLOWED], [PRIVATE], [ALLOWED, PRIVATE], [PRIVATE, ALLOWED], [f"::ffff:{PRIVATE}"])
    last = answers[1]

    def look_up() -> list[str]:
        nonlocal last
        weights = (1, 6, 1, 1, 2) if last is answers[0] else (9, 1, 1, 1, 1)
        last = chance.choices(answers, weights=weights)[0]
        return last

    return Zone({"flip.test": look_up})


def test_no_flip_of_a_name_leads_to_an_address_that_was_not_checked(
    greeters: tuple[Greeter, Greeter],
) -> None:
    allowed, private = greeters
    zone = flipping(20)
    validator = UrlValidator(DomainRules(["flip.test", ALLOWED]), resolver=zone)
    outcomes: Counter[str] = Counter()
    while outcomes["flipped"] < FLIPS:
        before = len(zone.asked)
        try:
            checked = validator.validate(f"http://flip.test:{allowed.port}/")
        except UrlDenied:
            outcomes["denied"] += 1
            continue
        finally:
            assert len(zone.asked) == before + 1, "a name is looked up once"
        # What a second look-up would meet, between the check and the connection.
        outcomes["flipped"] += ALLOWED not in zone("flip.test", allowed.port)
        before = len(zone.asked)
        connection = open_checked(checked)
        assert len(zone.asked) == before
        assert connection.getpeername()[0] in map(str, checked.addresses)
        outcomes[greeting(connection)] += 1
    print(dict(outcomes))
    assert outcomes[PRIVATE] == private.greeted == 0
    assert outcomes[ALLOWED] == allowed.greeted >= FLIPS
    assert outcomes["denied"] > 0


def test_a_client_that_looks_up_again_is_led_astray(greeters: tuple[Greeter, Greeter]) -> None:
    """The same zone against check-then-connect, so that the test above shows something."""
    allowed, private = greeters
    zone = flipping(20)
    validator = UrlValidator(DomainRules(["flip.test", ALLOWED]), resolver=zone)
    for _ in range(200):
        try:
            validator.validate(f"http://flip.test:{allowed.port}/")
        except UrlDenied:
            continue
        again = zone("flip.test", allowed.port)[0].removeprefix("::ffff:")
        greeting(socket.create_connection((again, allowed.port)))
    assert private.greeted > 0


def test_a_redirect_is_looked_up_and_judged_anew(greeters: tuple[Greeter, Greeter]) -> None:
    allowed, _ = greeters
    answers = iter([[ALLOWED], [ALLOWED], [PRIVATE]])
    zone = Zone({"flip.test": lambda: next(answers)})
    validator = UrlValidator(DomainRules(["flip.test", ALLOWED]), resolver=zone)
    checked = validator.validate(f"http://flip.test:{allowed.port}/")
    checked = validator.follow(checked, "/again")
    assert greeting(open_checked(checked)) == ALLOWED
    with pytest.raises(UrlDenied, match=PRIVATE):
        validator.follow(checked, "/again")

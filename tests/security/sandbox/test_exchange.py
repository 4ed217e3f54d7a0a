"""What a hostile worker, or a hostile parser of modules, may write, and what comes of it."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import ToolFailed, ToolTimeout
from llmspell.security import Sandbox
from llmspell.security.sandbox.exchange import Exchange, NeverRead
from llmspell.security.sandbox.worker.frames import (
    ASK,
    ERROR,
    HEADER,
    MAX_CONTAINERS,
    MAX_OTHER_KEYS,
    RESULT,
    FrameError,
    pack_frame,
    take_frame,
)
from llmspell.security.sandbox.worker.scanning import ScanFailed, _Scan
from tests.security.sandbox.conftest import SAFE

LIMIT = 1 << 16


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class Worker:
    """What an exchange asks of its worker; it prints nothing."""

    streams = ()
    output_bytes = 0

    def __init__(self, talk: socket.socket) -> None:
        talk.setblocking(False)
        self.talk = talk
        self.is_killed = False

    def cpu_seconds(self) -> float:
        return 0.0

    def ran_out_of_memory(self) -> bool:
        return False

    def kill(self) -> None:
        self.is_killed = True


class AsksAgain:
    """Answers a worker that has asked anew by then."""

    def __init__(self, theirs: socket.socket) -> None:
        self._theirs = theirs

    def answer(self, request: Any, *, timeout: float) -> Any:
        self._theirs.sendall(pack_frame(ASK, None, LIMIT))
        return self._theirs.recv(LIMIT)[:1]


def test_a_worker_that_asks_without_end_has_no_more_time_than_a_silent_one(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    worker = Worker(ours)
    exchange = Exchange(worker, "it", 0.05, math.inf, {ASK: LIMIT, RESULT: LIMIT})  # type: ignore[arg-type]
    theirs.sendall(pack_frame(ASK, None, LIMIT))
    with pytest.raises(ToolTimeout):
        exchange.run(b"call", AsksAgain(theirs))
    assert worker.is_killed


@pytest.mark.parametrize("reads", [0, 3, 1 << 20], ids=["nothing", "some", "all"])
@pytest.mark.parametrize("size", [8, 1 << 20], ids=["small", "large"])
def test_who_ends_before_all_of_a_message_was_read_has_done_nothing(
    ends: tuple[socket.socket, socket.socket], reads: int, size: int
) -> None:
    ours, theirs = ends
    exchange = Exchange(Worker(ours), "it", 20, math.inf, {RESULT: LIMIT})  # type: ignore[arg-type]

    def end() -> None:
        left = min(reads, size)
        theirs.recv(1, socket.MSG_PEEK)  # once there is something
        while left:
            left -= len(theirs.recv(left))
        theirs.close()

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(ToolFailed, match="it: its process ended") as caught:
        exchange.run(bytes(size), None)
    thread.join()
    assert isinstance(caught.value, NeverRead) == (reads < size)


def test_who_ends_before_the_answer_to_what_it_asked_has_begun(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    class Ends:
        def answer(self, request: Any, *, timeout: float) -> Any:
            theirs.close()

    ours, theirs = ends
    worker = Worker(ours)
    exchange = Exchange(worker, "it", 20, math.inf, {ASK: LIMIT})  # type: ignore[arg-type]
    theirs.sendall(pack_frame(ASK, None, LIMIT))
    with pytest.raises(ToolFailed, match="it: its process ended") as caught:
        exchange.run(b"call", Ends())  # type: ignore[arg-type]
    assert type(caught.value) is ToolFailed


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(struct.pack("<BI", RESULT, 0xFFFFFFFF), id="longer than any answer"),
        pytest.param(pack_frame(RESULT, [[], 1 << 40], LIMIT), id="a number for the code"),
        pytest.param(pack_frame(RESULT, [None, b"c"], LIMIT), id="no names"),
        pytest.param(pack_frame(RESULT, [[], b""], LIMIT), id="no code"),
        pytest.param(pack_frame(RESULT, 7, LIMIT), id="no pair"),
        pytest.param(pack_frame(ERROR, nested(400), LIMIT), id="an error that is none"),
        pytest.param(pack_frame(99, [[], b"c"], LIMIT), id="another kind"),
        pytest.param(b"\x02\x01\0\0\0\xc1", id="no msgpack"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_a_hostile_parser_says_is_refused(
    ends: tuple[socket.socket, socket.socket], written: bytes
) -> None:
    ours, theirs = ends
    theirs.sendall(written)
    theirs.shutdown(socket.SHUT_WR)
    order = {"module": "made", "source": b"", "tool_paths": [], "libraries": []}
    with pytest.raises(ScanFailed, match="made"):
        _Scan(order, ours.fileno()).all()


def test_what_a_hostile_parser_says_is_nothing_that_a_terminal_obeys(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    theirs.sendall(pack_frame(ERROR, "SyntaxError: \x1b[2J", LIMIT))
    order = {"module": "made", "source": b"", "tool_paths": [], "libraries": []}
    with pytest.raises(ScanFailed, match=r"<made>: SyntaxError: \\x1b\[2J$"):
        _Scan(order, ours.fileno()).all()


def test_keys_that_could_be_made_to_collide_are_few() -> None:
    names = {str(key): key for key in range(2 * MAX_OTHER_KEYS)}
    value = [dict.fromkeys(range(MAX_OTHER_KEYS), 0.5), names]
    found = take_frame(pack_frame(RESULT, value, 1 << 20), {RESULT: 1 << 20})
    assert found is not None and found[1] == value
    value = [dict.fromkeys(range(MAX_OTHER_KEYS + 1), 0.5)]
    with pytest.raises(FrameError, match="list of pairs"):
        take_frame(pack_frame(RESULT, value, 1 << 20), {RESULT: 1 << 20})


# One element of a list each, which Python needs the most memory for.
SMALL = {
    "empty lists": b"\x90",
    "empty mappings": b"\x80",
    "lists in mappings": b"\x81\xa0\x90",
    "nested lists": b"\x91\x91\x90",
    "texts": b"\xa2ab",
    "integers": b"\xd0\x80",
    "extensions": b"\xd4\x05x",
    "times": b"\xd6\xff\x00\x00\x00\x01",
    "mappings of texts": b"\x82\xa1a\xa2ab\xa1b\xa2ab",
}


@pytest.mark.parametrize("item", SMALL.values(), ids=SMALL.keys())
def test_a_result_takes_a_bounded_multiple_of_its_bytes(item: bytes) -> None:
    count = 3 * MAX_CONTAINERS
    payload = b"\xdd" + count.to_bytes(4, "big") + item * count
    raw = bytearray(HEADER.pack(RESULT, len(payload)) + payload)
    size = len(raw)
    tracemalloc.start()
    try:
        with contextlib.suppress(FrameError):
            take_frame(raw, {RESULT: size})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 * size + 256 * MAX_CONTAINERS


def test_lists_and_mappings_of_a_result_are_counted_and_bytes_in_it_are_not() -> None:
    limits = {RESULT: 1 << 24}
    most: list[Any] = [[] for _ in range(MAX_CONTAINERS - 1)]
    like_lists = [b"\x90" * (4 * MAX_CONTAINERS), {"a": [1]}]
    for value in (most, like_lists):
        found = take_frame(pack_frame(RESULT, value, 1 << 24), limits)
        assert found is not None and found[1] == value
    with pytest.raises(FrameError, match="more than 262,144 lists and mappings"):
        take_frame(pack_frame(RESULT, [*most, {}], 1 << 24), limits)


def test_a_parser_that_was_taken_over_cannot_fill_the_loader_s_memory(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    for side in ends:
        side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    order = {"module": "made", "source": b"", "tool_paths": [], "libraries": []}
    count = MAX_CONTAINERS + 1
    payload = b"\x92\xdd" + count.to_bytes(4, "big") + b"\x90" * count + b"\xc4\x01x"
    sending = threading.Thread(
        target=theirs.sendall, args=[HEADER.pack(RESULT, len(payload)) + payload]
    )
    sending.start()
    try:
        with pytest.raises(ScanFailed, match="the parser died of it"):
            _Scan(order, ours.fileno()).all()
    finally:
        sending.join()


def test_arguments_have_as_many_keys_as_their_owner_likes(sandbox: Sandbox) -> None:
    numbers = dict.fromkeys(range(MAX_OTHER_KEYS + 1))
    source = "def run(given):\n    return len(given)\n\n\ndef same(given):\n    return given\n"
    with sandbox.load("made", ["run", "same"], SAFE, source=source) as tool:
        assert tool.call("run", [numbers]).value == len(numbers)
        with pytest.raises(ToolFailed, match="list of pairs"):
            tool.call("same", [numbers])


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], None]:
    def write_one(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write_one


def test_a_package_may_hold_a_directory_without_init(
    sandbox: Sandbox, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write("crate/__init__.py", "from crate.bare import deep\n\n\ndef run():\n    return deep.A\n")
    write("crate/bare/deep.py", "A = 5\n")
    with sandbox.load("crate", ["run"], SAFE, path=[tmp_path]) as tool:
        assert tool.call("run").value == 5

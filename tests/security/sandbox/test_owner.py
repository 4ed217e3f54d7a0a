"""What goes wrong in the owner: interrupts, no descriptors left, forks, closing amid loading."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import (
    ClosedError,
    ConfigError,
    SandboxUnavailable,
    ToolFailed,
    ToolNotLoaded,
    ToolTimeout,
)
from llmspell.security import Sandbox, ToolDefinition
from llmspell.security.host import HostSupport
from llmspell.security.sandbox import fork_server, pool
from llmspell.security.sandbox.fork_server import ForkServer, Loader
from llmspell.security.sandbox.worker import frames, processes
from tests.processes import all_below, is_alive, until
from tests.security.sandbox.conftest import SAFE, TOOLS, confined, is_in_test
from tests.security.secrets.places import forks

ONE = "def run():\n    return 1\n"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(0.05)
        yield ours, theirs


def test_an_answer_that_comes_too_late_is_nobody_else_s(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    loader = Loader(ours, None)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        loader.fork([0])
    assert not loader.is_alive()
    with pytest.raises(OSError, match="ipe"):
        socket.send_fds(theirs, [b"7"], [0])
    with pytest.raises(OSError, match="ipe"):
        loader.fork([0])


def test_calls_go_on_after_one_was_interrupted_amid_a_fork(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = own.load("made", ["run"], SAFE, source=ONE, ready=0)
    tool.call("run")
    receive = socket.recv_fds

    def interrupted(*given: Any) -> Any:
        if not is_in_test():
            return receive(*given)
        monkeypatch.setattr(socket, "recv_fds", receive)
        raise KeyboardInterrupt

    monkeypatch.setattr(socket, "recv_fds", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tool.call("run")
    assert [tool.call("run").value for _ in range(3)] == [1, 1, 1]
    assert own.counters.reloaded.value == 1


def test_a_server_whose_start_was_interrupted_is_started_anew(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack = fork_server.msgpack.unpackb

    def interrupted(*given: Any, **named: Any) -> Any:
        if not is_in_test():
            return unpack(*given, **named)
        monkeypatch.setattr(fork_server.msgpack, "unpackb", unpack)
        raise KeyboardInterrupt

    monkeypatch.setattr(fork_server.msgpack, "unpackb", interrupted)
    with pytest.raises(KeyboardInterrupt):
        own.load("made", ["run"], SAFE, source=ONE)
    assert own.load("made", ["run"], SAFE, source=ONE).call("run").value == 1


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"\xffnothing", id="no message"),
        pytest.param(frames.pack_frame(frames.ERROR, 7, 100), id="no pair"),
        pytest.param(frames.pack_frame(frames.ERROR, [1, "\x1b[2J"], 100), id="for terminals"),
    ],
)
def test_what_a_loader_says_is_data(ends: tuple[socket.socket, socket.socket], said: bytes) -> None:
    ours, theirs = ends
    theirs.send(said)
    with pytest.raises(ToolNotLoaded, match="made: ") as caught:
        Loader(ours, None).await_ready("made")  # type: ignore[arg-type]
    assert "\x1b" not in str(caught.value)


@forks
def test_a_fork_of_the_owner_keeps_nothing_alive_that_is_closed(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = confined(own, SAFE)
    server = own._server.process
    assert server is not None
    below = all_below(server.pid)
    woken, wakes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(wakes)
        os.read(woken, 1)
        own.close()  # its copy: the owner's is another's
        os._exit(0)
    try:
        tool.close()
        until(lambda: sum(is_alive(one) for one in all_below(server.pid)) <= 1)
        second = own.load("made", ["run"], SAFE, source=ONE)
        killed: list[int] = []
        monkeypatch.setattr(server, "kill", lambda: killed.append(server.pid))
        own.close()
        assert not killed and not any(is_alive(one) for one in below)
        with pytest.raises(ClosedError):
            second.call("run")
    finally:
        os.close(wakes)
        os.close(woken)
        assert os.waitpid(child, 0)[1] == 0


@forks
def test_a_fork_that_closes_its_copy_closes_nothing_of_the_owner(own: Sandbox) -> None:
    tool = own.load("made", ["run"], SAFE, source=ONE, ready=0)
    child = os.fork()
    if child == 0:
        own.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert tool.call("run").value == 1
    assert own.counters.reloaded.value == 0


def test_a_closed_server_is_not_started_again() -> None:
    server = ForkServer()
    server.close()
    with pytest.raises(ClosedError):
        server.start()


def test_a_tool_that_is_registered_as_the_sandbox_is_closed_is_closed_too(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = ToolDefinition(module="made", functions=("run",), requirements=SAFE, source=ONE)
    missing = own._missing

    def closes(requirements: object) -> list[str]:
        own.close()
        return missing(SAFE)

    monkeypatch.setattr(own, "_missing", closes)
    with pytest.raises(ClosedError):
        own.register(definition)
    assert not own._tools


def test_a_tool_that_was_closed_is_forgotten(own: Sandbox) -> None:
    with own.load("made", ["run"], SAFE, source=ONE, ready=0):
        assert len(own._tools) == 1
    with Sandbox(host=HostSupport(), allow_unsandboxed=True) as other:
        other.load("made", ["run"], SAFE, source=ONE).close()
        assert not other._tools
    assert not own._tools


def test_no_thread_to_start_is_told_and_nothing_stays(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = ToolDefinition(module="made", functions=("run",), requirements=SAFE, source=ONE)
    tool = own.register(definition)

    def fails(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(pool.threading.Thread, "start", fails)
        with pytest.raises(SandboxUnavailable, match="new thread"):
            tool.start()
    assert tool.call("run").value == 1
    tool.close()


def test_an_empty_directory_is_had_where_none_of_the_usual_places_may_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError("no usable temporary directory")

    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm")
    monkeypatch.setattr(processes.tempfile, "gettempdir", none)
    directory = processes.open_empty_directory()
    try:
        assert os.listdir(f"/proc/self/fd/{directory}") == []
        assert os.readlink(f"/proc/self/fd/{directory}").startswith("/dev/shm/llmspell-")
    finally:
        os.close(directory)


def test_an_import_that_never_ends_ends_with_its_process(
    own: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "waits.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(place)
    own.load("made", ["run"], SAFE, source=ONE).close()
    server = own._server.process
    assert server is not None
    until(lambda: sum(map(is_alive, all_below(server.pid))) == 1)
    monkeypatch.setattr(fork_server, "_LOADING_SECONDS", 1)
    with pytest.raises(ToolNotLoaded, match="weren't loaded in 1 s"):
        own.load("made", ["run"], SAFE, source=ONE, preload=["waits"])
    until(lambda: sum(map(is_alive, all_below(server.pid))) == 1)


def test_a_thread_that_has_signals_blocked_may_start_the_server(own: Sandbox) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGALRM])
    try:
        tool = own.load("made", ["run"], SAFE, source=ONE)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    server = own._server.process
    assert server is not None
    for _ in range(5):
        tool.call("run")
    tool.close()
    until(lambda: len(all_below(server.pid)) == 1)  # the loader, and no zombie


def test_an_error_with_half_a_surrogate_pair_is_told(own: Sandbox) -> None:
    source = "def run():\n    raise LookupError('\\udc80')\n"
    with (
        own.load("made", ["run"], SAFE, source=source) as tool,
        pytest.raises(ToolFailed, match=r"LookupError: \\udc80"),
    ):
        tool.call("run")


def test_a_tenant_that_is_none_is_refused_before_the_call(own: Sandbox) -> None:
    tool = own.load("plain", ["sleeps"], SAFE, path=[TOOLS])
    with pytest.raises(ConfigError, match="tenant"):
        tool.call("sleeps", [5], timeout=0.05, tenant="x" * 1000)
    assert own.counters.calls.value == 0
    with pytest.raises(ToolTimeout):
        tool.call("sleeps", [5], timeout=0.05, tenant="x")

"""What goes wrong in the owner: interrupts, no descriptors left, forks, closing amid loading."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

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
from llmspell.security.host import ControlGroup, HostSupport
from llmspell.security.sandbox import fork_server, pool
from llmspell.security.sandbox.fork_server import ForkServer, Loader
from llmspell.security.sandbox.groups import GroupPool, WorkerGroup
from llmspell.security.sandbox.worker import frames, processes
from llmspell.security.sandbox.worker_handle import WorkerHandle
from tests.security.sandbox.conftest import SAFE, TOOLS, confined
from tests.security.sandbox.test_workers import all_below, is_alive, until
from tests.security.secrets.places import forks

FULL = r"Too many open files|no room"
ONE = "def run():\n    return 1\n"


@pytest.fixture
def own(sandbox: Sandbox) -> Iterator[Sandbox]:
    """One of the test's own, where the host can confine."""
    with Sandbox(host=sandbox.host) as made:
        yield made


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(0.05)
        yield ours, theirs


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """So many more may be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as opened:
        lowest = os.open("/dev/null", os.O_RDONLY)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 64, before[1]))
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        taken = []
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        for one in taken[:count]:
            os.close(one)
        for one in taken[count:]:
            opened.callback(os.close, one)
        yield


def test_an_answer_that_comes_too_late_is_nobody_else_s(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    loader = Loader(ours)
    with pytest.raises(TimeoutError):
        loader.fork([0])
    assert not loader.is_waiting()
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

    def interrupted(*given: object) -> object:
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

    def interrupted(raw: bytes) -> object:
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
        Loader(ours).await_ready("made")
    assert "\x1b" not in str(caught.value)


@forks
def test_a_fork_of_the_owner_keeps_nothing_alive_that_is_closed(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = confined(own, SAFE)
    server = own._server._process
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


def test_whoever_has_no_descriptors_left_is_told_and_loses_none(own: Sandbox) -> None:
    tool = own.load("made", ["run"], SAFE, source=ONE, ready=0)
    tool.call("run")
    until(lambda: not tool._pool._spent)  # type: ignore[union-attr]
    held = len(os.listdir("/proc/self/fd"))
    for left in range(9):
        with (
            descriptors_left(left),
            pytest.raises(SandboxUnavailable, match=FULL),
        ):
            tool.call("run")
        until(lambda: len(os.listdir("/proc/self/fd")) <= held)
    assert tool.call("run").value == 1


def test_a_tool_for_which_no_descriptors_are_left_is_refused_by_name(own: Sandbox) -> None:
    own.load("made", ["run"], SAFE, source=ONE).close()
    held = len(os.listdir("/proc/self/fd"))
    for left in range(1, 8):
        with (
            descriptors_left(left),
            pytest.raises(SandboxUnavailable, match=FULL),
        ):
            own.load("made", ["run"], SAFE, source=ONE)
        until(lambda: len(os.listdir("/proc/self/fd")) <= held)


def test_some_of_the_descriptors_that_were_sent_are_not_taken_for_all(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    socket.send_fds(theirs, [b"fork"], [0, 0, 0])
    with descriptors_left(2), pytest.raises(OSError, match="no room"):
        processes.received(ours, 16, 8)


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
    server = own._server._process
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
    server = own._server._process
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


def test_a_parser_prints_nothing_on_the_owner_s_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with Sandbox() as own:
        if own.host.missing_for(SAFE):
            pytest.skip("this host can't confine tools")
        own.load("made", ["run"], SAFE, source="'\\\x1b'\ndef run(): pass\n")
    assert capfd.readouterr().err == ""


def test_a_tenant_that_is_none_is_refused_before_the_call(own: Sandbox) -> None:
    tool = own.load("plain", ["sleeps"], SAFE, path=[TOOLS])
    with pytest.raises(ConfigError, match="tenant"):
        tool.call("sleeps", [5], timeout=0.05, tenant="x" * 1000)
    with pytest.raises(ToolTimeout):
        tool.call("sleeps", [5], timeout=0.05, tenant="x")


def version_2(tmp_path: Path) -> tuple[ControlGroup, ControlGroup]:
    below = tmp_path / "below"
    below.mkdir()
    return ControlGroup(2, str(tmp_path)), ControlGroup(2, str(below))


def test_a_worker_is_in_one_group_of_version_2_with_both_limits(tmp_path: Path) -> None:
    upper, lower = version_2(tmp_path)
    for memory, pids in ((upper, lower), (lower, upper)):
        made = GroupPool(HostSupport(memory_group=memory, pids_group=pids), 1 << 20, 0)
        assert made._places == (upper, upper)
    other = ControlGroup(1, str(tmp_path / "pids"))
    assert GroupPool(HostSupport(memory_group=other, pids_group=lower), 1, 0)._places[0] == other


def test_a_process_that_can_t_be_seen_is_no_member(tmp_path: Path) -> None:
    upper, _ = version_2(tmp_path)
    group = WorkerGroup(upper, upper)
    (path,) = tmp_path.glob("llmspell-*")
    (path / "cgroup.procs").write_text("0\n7\n")
    assert group.members() == [7]


def test_a_group_whose_door_can_t_be_opened_is_kept(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    if own.host.memory_group is None and own.host.pids_group is None:
        pytest.skip("no place for control groups")
    groups = GroupPool(own.host, 1 << 26, 0)
    taken = groups.take()
    assert taken is not None
    for one in taken[1]:
        os.close(one)
    groups.give_back(taken[0])
    with descriptors_left(0), pytest.raises(OSError, match="Too many"):
        groups.take()
    assert len(groups._free) == 1
    groups.close()
    assert not groups._free


def test_a_group_that_comes_back_as_its_pool_is_closed_is_removed(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = GroupPool(own.host, 1 << 26, 0)
    taken = groups.take()
    if taken is None:
        pytest.skip("no place for control groups")
    for one in taken[1]:
        os.close(one)

    def closes(group: WorkerGroup) -> bool:
        groups.close()
        return True

    monkeypatch.setattr(groups, "_is_as_new", closes)
    groups.give_back(taken[0])
    assert not groups._free
    assert not any(os.path.exists(path) for path in taken[0]._paths.values())


def test_what_a_worker_was_given_is_closed_where_it_isn_t_forked(own: Sandbox) -> None:
    class Ended:
        def fork(self, descriptors: list[int]) -> int:
            raise ConnectionError("the loader ended")

    groups = GroupPool(own.host, 1 << 26, 0)
    held = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectionError):
        WorkerHandle(Ended(), groups, 10, has_listener=False)  # type: ignore[arg-type]
    groups.close()
    assert len(os.listdir("/proc/self/fd")) == held

"""Whoever ends in the midst of something: loaders, servers, tools that are closed, and forks."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import ClosedError, SandboxUnavailable, ToolFailed, ToolNotLoaded
from llmspell.security import ConfinedTool, Sandbox, ToolDefinition
from llmspell.security.sandbox import pool, sandbox
from llmspell.security.sandbox.fork_server import Loader, Serving
from llmspell.security.sandbox.pool import WorkerPool
from llmspell.security.sandbox.worker_handle import WorkerHandle
from tests.processes import all_below, children_of, is_alive, is_stopped, until
from tests.security.sandbox.conftest import SAFE, TOOLS, is_at_rest, is_in_test
from tests.security.sandbox.test_owner import ONE
from tests.security.secrets.places import forks

MADE = ToolDefinition(module="made", functions=("run",), requirements=SAFE, source=ONE, ready=0)


def registered(of: Sandbox, definition: ToolDefinition = MADE) -> ConfinedTool:
    tool = of.register(definition)
    assert isinstance(tool, ConfinedTool)
    return tool


def server_of(sandbox: Sandbox) -> list[int]:
    """The two processes of its fork server."""
    process = sandbox._server.process
    assert process is not None
    return [process.pid, *children_of(process.pid)]


def loader_of(sandbox: Sandbox) -> int:
    """The only one, of which no worker has ended that is still counted."""
    _, server = server_of(sandbox)
    (loader,) = filter(is_alive, children_of(server))
    return loader


WHOM: dict[str, Callable[[Sandbox], int]] = {
    "loader": loader_of,
    "server": lambda sandbox: server_of(sandbox)[1],
    "parent of the server": lambda sandbox: server_of(sandbox)[0],
}


@contextmanager
def killed_before(
    kind: type, name: str, whom: Callable[[], int], times: int, patch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Kill a process, with all that ends with it, as a method is called: so many times."""
    real = getattr(kind, name)
    left = [None] * times

    def kills(self: Any, *given: Any, **named: Any) -> Any:
        if left and is_in_test():
            left.pop()
            victim = whom()
            below = [victim, *all_below(victim)]
            os.kill(victim, signal.SIGKILL)
            until(lambda: not any(map(is_alive, below)))
        return real(self, *given, **named)

    with patch.context() as patched:
        patched.setattr(kind, name, kills)
        # One that has ended may seem to live, as long as a new worker has its socket: always here.
        patched.setattr(Loader, "is_alive", lambda loader: True)
        yield
    assert not left


@pytest.mark.parametrize("whom", WHOM.values(), ids=WHOM.keys())
@pytest.mark.parametrize("when", ["await_ready", "call"])
def test_a_worker_whose_loader_is_killed_before_its_call_is_made_anew(
    own: Sandbox, when: str, whom: Callable[[Sandbox], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = registered(own)
    for _ in range(2):  # the first one that the tool has, and a later one
        with killed_before(WorkerHandle, when, partial(whom, own), 1, monkeypatch):
            assert tool.call("run").value == 1
    assert (own.counters.reloaded.value, own.counters.failed.value) == (2, 0)


def test_a_call_whose_workers_are_killed_each_time_fails(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = registered(own)
    with (
        killed_before(WorkerHandle, "call", partial(WHOM["loader"], own), 3, monkeypatch),
        pytest.raises(ToolFailed, match="run: its process ended") as caught,
    ):
        tool.call("run")
    assert type(caught.value) is ToolFailed
    assert (own.counters.calls.value, own.counters.failed.value) == (1, 1)


def stop_server(of: Sandbox) -> None:
    """It stands still until it is killed: no loader that it is asked for comes before that."""
    of._server.start()
    server = WHOM["server"](of)
    os.kill(server, signal.SIGSTOP)
    until(lambda: is_stopped(server))


def test_a_tool_whose_server_is_killed_as_it_is_loaded_is_loaded_anew(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_server(own)
    with killed_before(Loader, "await_ready", partial(WHOM["server"], own), 1, monkeypatch):
        assert registered(own).call("run").value == 1


@pytest.mark.parametrize("whom", ["server", "loader"])
def test_who_kills_them_each_time_is_told_of_no_fault_of_the_module(
    own: Sandbox, whom: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, module, source = Loader, sandbox, ONE
    if whom == "server":
        stop_server(own)
    else:  # of a worker that isn't ready before that
        kind, module, source = WorkerHandle, pool, "import time\ntime.sleep(600)\n" + ONE
    tool = registered(own, replace(MADE, source=source))
    monkeypatch.setattr(module, "_TRIES", 1)
    with (
        killed_before(kind, "await_ready", partial(WHOM[whom], own), 1, monkeypatch),
        pytest.raises(SandboxUnavailable, match=r"1 times the .* ended meanwhile"),
    ):
        tool.call("run")
    tool.close()
    assert registered(own).call("run").value == 1


def test_a_module_that_ends_its_process_is_tried_once(own: Sandbox) -> None:
    source = "import os\nos._exit(3)\ndef run(): pass\n"
    tool = registered(
        own, ToolDefinition(module="made", functions=("run",), requirements=SAFE, source=source)
    )
    with pytest.raises(ToolNotLoaded, match="its process ended"):
        tool.call("run")
    assert own.counters.forked.value == 1


def test_a_loader_whose_socket_somebody_else_has_too_is_not_taken_for_a_living_one() -> None:
    (ours, theirs), (control, other) = (
        socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)
    )
    with ours, theirs, control, other:
        ours.settimeout(0.01)
        loader = Loader(ours, Serving(None, control))  # type: ignore[arg-type]
        assert not loader.answers()
        assert theirs.recv(4) == b"here"
        assert theirs.recv(4) == b""  # nor is it asked again


def test_many_tools_at_once_find_one_server_where_theirs_was_killed(own: Sandbox) -> None:
    tools = [registered(own) for _ in range(4)]
    with ThreadPoolExecutor(len(tools)) as threads:
        assert list(threads.map(lambda tool: tool.call("run").value, tools)) == [1] * 4
        below = [pid for one in server_of(own)[:1] for pid in [one, *all_below(one)]]
        os.kill(below[1], signal.SIGKILL)
        until(lambda: not any(map(is_alive, below)))
        assert list(threads.map(lambda tool: tool.call("run").value, tools)) == [1] * 4
    _, server = server_of(own)
    until(lambda: sum(map(is_alive, children_of(server))) == 4)
    assert own.counters.reloaded.value == 4


def test_a_server_that_is_closed_as_a_tool_is_loaded_by_it_says_so(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closes:
        """The lock of a server that another thread closes once it runs, as soon as it can.

        That is when the lock is let go the second time: it was started before.
        """

        def __init__(self) -> None:
            self._lock = threading.RLock()
            self._left = 2

        def __enter__(self) -> None:
            self._lock.acquire()

        def __exit__(self, *exc: object) -> None:
            self._lock.release()
            if own._server.process is not None:
                self._left -= 1
                if self._left == 0:
                    own._server.close()

    tool = registered(own)
    monkeypatch.setattr(own._server, "_lock", Closes())
    with pytest.raises(ClosedError):
        tool.call("run")


def test_a_tool_that_is_closed_as_its_first_call_begins_is_not_loaded(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = registered(own)
    real = tool._pool._require_usable

    def closes() -> None:
        real()
        monkeypatch.undo()
        tool.close()

    monkeypatch.setattr(tool._pool, "_require_usable", closes)
    with pytest.raises(ClosedError):
        tool.call("run")
    assert own._server.process is None


@pytest.mark.parametrize("which", ["tool", "sandbox"])
def test_closing_waits_for_no_import(
    own: Sandbox, which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "waits.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(place)
    definition = ToolDefinition(
        module="made", functions=("run",), requirements=SAFE, source=ONE, preload=("waits",)
    )
    tool = registered(own, definition)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(tool.call, "run")
        until(lambda: tool._pool._loading is not None)
        (tool if which == "tool" else own).close()  # else it takes 120 s
        with pytest.raises(ClosedError):
            call.result()


@forks
def test_a_fork_closes_its_copy_though_a_thread_of_the_owner_had_the_locks(own: Sandbox) -> None:
    tool = registered(own)
    tool.call("run")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with tool._pool._lock, own._server._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        held.wait()
        child = os.fork()
        if child == 0:
            try:
                own.close()
                os._exit(0)
            finally:
                os._exit(1)
        until(lambda: not is_alive(child))
    finally:
        done.set()
        thread.join()
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == 0
    assert tool.call("run").value == 1


def test_a_sandbox_may_be_collected_as_garbage_wherever_its_threads_are(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = own.load("made", ["run"], SAFE, source=ONE, ready=1)
    assert isinstance(tool, ConfinedTool)
    until(lambda: is_at_rest(tool))  # or it might fork ahead, and so collect, amid the call
    real = WorkerPool._ready_worker

    def collects(workers: WorkerPool) -> WorkerHandle:
        if workers is tool._pool and not is_in_test():
            with own._server._lock, workers._lock, workers._keeping:
                own.close()
        return real(workers)

    monkeypatch.setattr(WorkerPool, "_ready_worker", collects)
    assert tool.call("run").value == 1  # and another is forked ahead
    tool._pool._filling.join(20)
    assert not tool._pool._filling.is_alive()
    with pytest.raises(ClosedError):
        tool.call("run")


def test_a_kept_worker_that_comes_back_while_another_is_looked_for_breaks_nothing(
    own: Sandbox,
) -> None:
    tool = own.load("made", ["run"], SAFE, source=ONE, ready=0, keep_workers=True)
    assert isinstance(tool, ConfinedTool)
    workers = tool._pool
    for tenant in ("a", "b"):
        tool.call("run", tenant=tenant)
    taken = workers.take("c")

    giving: list[threading.Thread] = []

    class Looked(str):
        """A tenant's id: as it is compared, another thread gives a worker back."""

        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            if not giving:
                thread = threading.Thread(target=give_back)
                giving.append(thread)
                thread.start()
                thread.join(0.05)  # it waits for its turn, or changes what is looked through
            return False

    def give_back() -> None:
        workers.give_back(taken, "c", has_failed=False)

    assert workers._waiting(Looked("d")) is None
    giving[0].join()
    assert [tenant for tenant, _ in workers._kept] == ["a", "b", "c"]


def test_a_loader_that_can_t_fork_just_now_keeps_the_workers_that_it_has(own: Sandbox) -> None:
    tool = own.load("plain", ["count"], SAFE, path=[TOOLS], ready=0, keep_workers=True)
    assert isinstance(tool, ConfinedTool)
    assert tool.call("count", tenant="a").value == 1
    until(lambda: not tool._pool._idle)
    given = tool._pool._groups.take()
    sent = 3
    if given is not None:
        sent += len(given[1])
        for one in given[1]:
            os.close(one)
        tool._pool._groups.give_back(given[0])
    loader = loader_of(own)
    assert tool._pool._loader is not None
    assert tool._pool._loader.answers()  # and has let go of all that the worker before took
    try:
        held = {int(name) for name in os.listdir(f"/proc/{loader}/fd")}
    except PermissionError:
        pytest.skip("this user may not look at descriptors of its processes")
    free = [number for number in range(256) if number not in held]
    before = resource.prlimit(loader, resource.RLIMIT_NOFILE)
    resource.prlimit(loader, resource.RLIMIT_NOFILE, (free[sent], before[1]))
    with pytest.raises(SandboxUnavailable, match="the loader can't fork it: Too many open files"):
        tool.call("count", tenant="b")
    assert tool.call("count", tenant="a").value == 2
    resource.prlimit(loader, resource.RLIMIT_NOFILE, before)
    assert tool.call("count", tenant="b").value == 1
    assert own.counters.reloaded.value == 0

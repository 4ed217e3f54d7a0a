"""Workers: one call each, or kept for one tenant; nothing of one is in another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import ClosedError, UseAfterFork
from llmspell.security import ConfinedTool, Sandbox, SecurityRequirements
from llmspell.security.sandbox.worker_handle import WorkerHandle
from tests.processes import all_below, children_of, is_alive, until
from tests.security.sandbox.conftest import SAFE, TOOLS, confined, is_at_rest, is_in_test
from tests.security.secrets.places import forks


def test_each_call_has_a_process_of_its_own(plain: ConfinedTool) -> None:
    assert [plain.call("count").value for _ in range(5)] == [1] * 5
    assert len({plain.call("who").value for _ in range(5)}) == 5


def test_each_worker_has_its_own_random_numbers(plain: ConfinedTool) -> None:
    assert len({plain.call("number_of_random").value for _ in range(8)}) == 8


def test_a_kept_worker_serves_one_tenant_again_and_no_other(sandbox: Sandbox) -> None:
    with confined(sandbox, SAFE, keep_workers=True) as tool:
        assert [tool.call("count", tenant="acme").value for _ in range(3)] == [1, 2, 3]
        assert tool.call("count", tenant="other").value == 1
        assert tool.call("count").value == 1
        assert tool.call("count", tenant="acme").value == 4


def test_a_kept_worker_that_failed_is_not_kept(sandbox: Sandbox) -> None:
    with confined(sandbox, SAFE, keep_workers=True) as tool:
        assert tool.call("count").value == 1
        with pytest.raises(Exception, match="LookupError"):
            tool.call("raises", ["x"])
        assert tool.call("count").value == 1


def test_a_worker_is_ended_where_its_caller_is_interrupted(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(name: str) -> Callable[[WorkerHandle], Any]:
        real = getattr(WorkerHandle, name)

        def interrupt(worker: WorkerHandle) -> Any:
            if is_in_test():
                raise KeyboardInterrupt
            return real(worker)

        return interrupt

    with confined(sandbox, SAFE, keep_workers=True) as tool:
        until(lambda: is_at_rest(tool))
        first = tool._pool._idle[0]
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(WorkerHandle, "is_waiting", interrupted("is_waiting"))
            tool.call("count")
        until(lambda: first.talk.fileno() < 0)
        second = tool._pool.take("acme")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(WorkerHandle, "cpu_seconds", interrupted("cpu_seconds"))
            tool._pool.give_back(second, "acme", has_failed=False)
        until(lambda: second.talk.fileno() < 0)
        assert tool.call("count", tenant="acme").value == 1


def test_a_tool_with_files_sees_no_process_but_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    source = """
        import os
        def run(most):
            seen = [pid for pid in range(1, most) if os.path.exists(f"/proc/{pid}")]
            return [seen == [os.getpid()], seen]
    """
    needs = SecurityRequirements.restricted().with_file_access(tmp_path)
    with sandbox.load("made", ["run"], needs, source=textwrap.dedent(source)) as tool:
        if not sandbox._server.holds["hidden"]:
            pytest.skip("needs namespaces of processes and mounts")
        if tuple(map(int, os.uname().release.split(".")[:2])) < (5, 8):
            pytest.skip("needs hidepid=ptraceable, of Linux 5.8")
        is_alone, seen = tool.call("run", [1000]).value
        assert is_alone, seen


def test_only_the_sockets_and_streams_of_a_worker_are_open(plain: ConfinedTool) -> None:
    assert len(plain.call("open_files").value) == 4


def test_a_tool_lives_on_where_its_loader_or_the_server_is_killed(sandbox: Sandbox) -> None:
    with Sandbox() as own, confined(own, SAFE) as tool:
        process = own._server.process
        assert process is not None
        for _ in range(2):
            assert tool.call("count").value == 1
            until(lambda: is_at_rest(tool))
            assert [worker.is_waiting() for worker in tool._pool._idle] == [True, True]
            (server,) = children_of(process.pid)
            until(lambda: sum(map(is_alive, children_of(server))) == 1)  # noqa: B023
            (loader,) = filter(is_alive, children_of(server))
            os.kill(loader, signal.SIGKILL)
            until(lambda: not any(worker.is_waiting() for worker in list(tool._pool._idle)))
        until(lambda: own.counters.reloaded.value >= 1)
        assert tool.call("count").value == 1
        for end in (process.pid, None):
            process = own._server.process
            assert process is not None
            until(lambda: is_at_rest(tool))
            (server,) = children_of(process.pid)
            below = [server, *all_below(server)]
            os.kill(end or server, signal.SIGKILL)
            until(lambda below=below: not any(map(is_alive, below)))
            for _ in range(5):  # more than are ready
                assert tool.call("count").value == 1


def test_closing_ends_every_process_and_leaves_no_group() -> None:
    own = Sandbox()
    tool = confined(own, SAFE)
    tool.call("count")
    until(lambda: is_at_rest(tool))
    process = own._server.process
    assert process is not None
    below = all_below(process.pid)
    assert len(below) >= 4  # the server, the loader and two workers
    groups = [worker._group for worker in tool._pool._idle if worker._group is not None]
    paths = [path for group in groups for path in group._paths.values()]
    assert all(map(os.path.exists, paths))
    assert paths or own.host.memory_group is None
    own.close()
    assert not any(os.path.exists(f"/proc/{one}") for one in [process.pid, *below])
    assert not any(map(os.path.exists, paths))
    with pytest.raises(ClosedError):
        tool.call("count")
    with pytest.raises(ClosedError):
        confined(own, SAFE)
    own.close()


@pytest.mark.usefixtures("calm")
def test_descriptors_and_threads_come_back(sandbox: Sandbox) -> None:
    with confined(sandbox, SAFE) as tool:
        for _ in range(5):
            tool.call("count")
        until(lambda: is_at_rest(tool))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(30):
            tool.call("count")
        until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_all_ends_with_the_owner_even_where_it_is_killed(sandbox: Sandbox) -> None:
    script = textwrap.dedent(f"""
        import os, sys, time
        from llmspell.security import Sandbox, SecurityRequirements
        sandbox = Sandbox()
        tool = sandbox.load("plain", ["sleeps"], SecurityRequirements.safe(), path=[{str(TOOLS)!r}])
        if os.fork() == 0:  # who has a copy of the owner's sockets keeps nothing alive
            time.sleep(60)
        print(sandbox._server.process.pid, flush=True)
        tool.call("sleeps", [5.0])
    """)
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    server = int(owner.stdout.readline())
    until(lambda: len(all_below(server)) >= 3)
    below = [server, *all_below(server)]
    forked = [one for one in children_of(owner.pid) if one != server]
    owner.kill()
    owner.wait()
    try:
        until(lambda: not any(is_alive(one) for one in below))
    finally:
        for one in forked:
            os.kill(one, signal.SIGKILL)
        owner.stdout.close()


@forks
def test_a_child_of_the_owner_is_told_to_load_anew(plain: ConfinedTool) -> None:
    child = os.fork()
    if child == 0:
        try:
            plain.call("count")
        except UseAfterFork:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert plain.call("count").value == 1

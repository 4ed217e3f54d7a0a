"""Groups and descriptors of workers: none is lost, and none of them is another's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from llmspell.errors import SandboxUnavailable
from llmspell.security import Sandbox
from llmspell.security.host import ControlGroup, HostSupport
from llmspell.security.sandbox import groups
from llmspell.security.sandbox.fork_server import is_silent
from llmspell.security.sandbox.groups import GroupPool, WorkerGroup
from llmspell.security.sandbox.worker import processes
from llmspell.security.sandbox.worker_handle import WorkerHandle
from tests.processes import until
from tests.security.sandbox.conftest import SAFE, descriptors_left, is_at_rest, is_in_test
from tests.security.sandbox.test_owner import ONE

FULL = r"Too many open files|no room"


@pytest.mark.usefixtures("calm")
def test_whoever_has_no_descriptors_left_is_told_and_loses_none(own: Sandbox) -> None:
    tool = own.load("made", ["run"], SAFE, source=ONE, ready=0)
    tool.call("run")
    until(lambda: is_at_rest(tool))  # else it closes some of those that were taken
    held = len(os.listdir("/proc/self/fd"))
    for left in range(7):
        with (
            descriptors_left(left),
            pytest.raises(SandboxUnavailable, match=FULL),
        ):
            tool.call("run")
        until(lambda: len(os.listdir("/proc/self/fd")) <= held)
    assert tool.call("run").value == 1


@pytest.mark.usefixtures("calm")
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


class ClosedMeanwhile(socket.socket):
    """By another thread, between any two looks at its number."""

    def fileno(self) -> int:
        number = super().fileno()
        self.close()
        return number


def test_whom_another_thread_closes_isn_t_waiting_any_more() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, ClosedMeanwhile(fileno=ours.detach()) as talk:
        assert not is_silent(talk)
        assert not is_silent(talk)


@pytest.mark.usefixtures("calm")
def test_some_of_the_descriptors_that_were_sent_are_not_taken_for_all() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        socket.send_fds(theirs, [b"fork"], [0, 0, 0])
        with descriptors_left(2), pytest.raises(OSError, match="no room"):
            processes.received(ours, 16, 8)


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


@pytest.mark.parametrize("is_at_once", [True, False])
def test_all_that_is_in_a_group_is_ended(
    own: Sandbox, is_at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = own.host.pids_group or own.host.memory_group
    if place is None:
        pytest.skip("no place for control groups")
    group = WorkerGroup(place, place)
    (path,) = group._paths.values()
    if is_at_once and not os.path.exists(f"{path}/cgroup.kill"):
        group.remove()
        pytest.skip("no cgroup.kill: it is of version 2, from Linux 5.14 on")
    if is_at_once:
        monkeypatch.setattr(os, "kill", None)
    else:
        monkeypatch.setattr(group, "_is_killed_at_once", lambda: False)
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as other:
        for process in (one, other):
            (Path(path) / "cgroup.procs").write_text(str(process.pid))
        group.remove()
        assert (one.wait(), other.wait()) == (-signal.SIGKILL, -signal.SIGKILL)


@pytest.mark.usefixtures("calm")
def test_what_a_call_left_running_ends_though_no_descriptors_are_left_just_then(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    if own.host.pids_group is None:
        pytest.skip("no place for control groups that count processes")
    made = GroupPool(own.host, 1 << 26, 3)
    taken = made.take()
    assert taken is not None
    spare = os.dup(0)
    sleep = time.sleep

    def comes_back(seconds: float) -> None:
        if closed or not is_in_test():
            sleep(seconds)
        else:
            closed.append(os.close(spare))

    closed: list[None] = []
    with subprocess.Popen(["sleep", "60"]) as left:
        for entrance in taken[1]:
            os.write(entrance, str(left.pid).encode())
            os.close(entrance)
        monkeypatch.setattr(groups.time, "sleep", comes_back)
        with descriptors_left(0):
            assert not made._is_as_new(taken[0])
            made.give_back(taken[0])
        assert left.wait() == -signal.SIGKILL
    assert closed and not made._free
    assert not any(map(os.path.exists, taken[0]._paths.values()))


@pytest.mark.usefixtures("calm")
def test_a_group_whose_door_can_t_be_opened_is_kept(own: Sandbox) -> None:
    if own.host.memory_group is None and own.host.pids_group is None:
        pytest.skip("no place for control groups")
    made = GroupPool(own.host, 1 << 26, 0)
    taken = made.take()
    assert taken is not None
    for one in taken[1]:
        os.close(one)
    made.give_back(taken[0])
    with descriptors_left(0), pytest.raises(OSError, match="Too many"):
        made.take()
    assert len(made._free) == 1
    made.close()
    assert not made._free


def test_a_group_that_comes_back_as_its_pool_is_closed_is_removed(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = GroupPool(own.host, 1 << 26, 0)
    taken = made.take()
    if taken is None:
        pytest.skip("no place for control groups")
    for one in taken[1]:
        os.close(one)

    def closes(group: WorkerGroup) -> bool:
        made.close()
        return True

    monkeypatch.setattr(made, "_is_as_new", closes)
    made.give_back(taken[0])
    assert not made._free
    assert not any(os.path.exists(path) for path in taken[0]._paths.values())


@pytest.mark.usefixtures("calm")
def test_what_a_worker_was_given_is_closed_where_it_isn_t_forked(own: Sandbox) -> None:
    class Ended:
        def fork(self, descriptors: list[int]) -> int:
            raise ConnectionError("the loader ended")

    made = GroupPool(own.host, 1 << 26, 0)
    held = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectionError):
        WorkerHandle(Ended(), made, 10, has_listener=False)  # type: ignore[arg-type]
    made.close()
    assert len(os.listdir("/proc/self/fd")) <= held

"""Tools with processes of their own: counted, and ended with the call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmspell.errors import ToolFailed, ToolTimeout
from llmspell.security import Sandbox, SecurityRequirements
from tests.processes import until
from tests.security.sandbox.conftest import TOOLS, await_rest, is_at_rest

LIBRARIES = [place for place in ("/usr", "/lib", "/lib64", "/bin", "/etc") if os.path.isdir(place)]
FUNCTIONS = ["runs", "forks", "outlives"]


def programs(processes: int) -> SecurityRequirements:
    needs = SecurityRequirements.privileged().with_processes(processes)
    for place in LIBRARIES:
        needs = needs.with_read_only(place)
    return needs


@pytest.fixture(autouse=True)
def _possible(sandbox: Sandbox) -> None:
    missing = sandbox.host.missing_for(programs(1))
    if missing:
        pytest.skip(f"this host holds no processes of tools: {'; '.join(missing)}")


def test_a_privileged_tool_runs_programs_of_what_it_may_read(sandbox: Sandbox) -> None:
    with sandbox.load("programs", FUNCTIONS, programs(4), path=[TOOLS]) as tool:
        assert tool.call("runs", ["/bin/echo", "hello"]).value == [0, "hello\n", ""]
        code, said, _ = tool.call(
            "runs", ["/bin/sh", "-c", "echo $(id -u); cat /proc/1/stat"]
        ).value
        assert said == f"{os.getuid()}\n" and code != 0


def test_a_program_has_no_network(sandbox: Sandbox) -> None:
    source = "import socket\ntry:\n    socket.socket()\nexcept OSError as e:\n    print(e.errno)\n"
    python = os.path.realpath("/usr/bin/python3")
    if not os.path.exists(python):
        pytest.skip("no Python beneath /usr")
    with sandbox.load("programs", FUNCTIONS, programs(4), path=[TOOLS]) as tool:
        assert tool.call("runs", [python, "-I", "-c", source]).value[:2] == [0, "1\n"]


def test_a_restricted_tool_has_processes_and_no_programs(sandbox: Sandbox) -> None:
    needs = SecurityRequirements.restricted().with_processes(3).with_read_only("/usr")
    with sandbox.load("programs", FUNCTIONS, needs, path=[TOOLS]) as tool:
        assert tool.call("forks", [2]).value == 2
        with pytest.raises(ToolFailed, match="PermissionError"):
            tool.call("runs", ["/bin/echo", "hello"])


def test_no_more_processes_than_were_asked_for(sandbox: Sandbox) -> None:
    with sandbox.load("programs", FUNCTIONS, programs(5), path=[TOOLS]) as tool:
        for _ in range(3):
            assert tool.call("forks", [50]).value == 5


def test_what_a_call_left_running_ends_with_it(sandbox: Sandbox) -> None:
    group = sandbox.host.pids_group
    assert group is not None
    await_rest()
    others = in_groups(group.path)  # the workers of other tools that are ready
    needs = SecurityRequirements.restricted().with_processes(3)
    with sandbox.load("programs", FUNCTIONS, needs, path=[TOOLS]) as tool:
        tool.call("outlives", [60])
        until(lambda: is_at_rest(tool))
        assert len(tool._pool._idle) == 2
        until(lambda: len(in_groups(group.path) - others) == 2)
    tool = sandbox.load("programs", ["runs"], programs(3), path=[TOOLS])
    with tool, pytest.raises(ToolTimeout):
        tool.call("runs", ["/bin/sleep", "60"], timeout=0.3)
    assert in_groups(group.path) <= others


def in_groups(place: str) -> set[int]:
    """Processes in this process's groups."""
    found: set[int] = set()
    for group in Path(place).glob(f"llmspell-{os.getpid()}-*"):
        found.update(map(int, (group / "cgroup.procs").read_text().split()))
    return found

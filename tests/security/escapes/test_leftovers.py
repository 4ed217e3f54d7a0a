"""Whatever tools do, their owner keeps nothing of it: descriptors, processes, groups."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import LlmspellError, ToolFailed
from llmspell.security import Sandbox, SecurityRequirements
from tests.processes import children_of, until
from tests.security.escapes.room import MEMORY
from tests.security.escapes.running import Grounds
from tests.security.sandbox.conftest import await_rest

SAFE = SecurityRequirements.safe()
SECONDS = 20.0


def left(sandbox: Sandbox) -> dict[str, Any]:
    """What there is of the owner's, here and in the kernel."""
    places = [sandbox.host.memory_group, sandbox.host.pids_group]
    mine = f"llmspell-{os.getpid()}-"
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": {(one.ident, one.name) for one in threading.enumerate()},
        "children": {*children_of(os.getpid())},
        "groups": {
            name for one in places if one for name in os.listdir(one.path) if name.startswith(mine)
        },
    }


@pytest.fixture
def sandbox(grounds: Grounds) -> Iterator[Sandbox]:
    """One of its own, that leaves nothing when it is closed."""
    await_rest()
    before = left(grounds.sandbox)
    with Sandbox(host=grounds.sandbox.host) as made:
        yield made
    after = left(made)
    for what, there in after.items():  # what earlier tests had may have ended meanwhile
        assert there <= before[what], what


def soon(becomes: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while not becomes() and time.monotonic() < deadline:
        time.sleep(0.01)
    return becomes()


def test_modules_that_end_the_second_time_leave_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """It is loaded, and from then on each worker that is forked ahead ends as it begins."""
    now = tmp_path / "now"
    source = (
        f"import os\nif os.path.exists({str(now)!r}):\n    os._exit(3)\ndef f():\n    return 1\n"
    )
    requirements = SecurityRequirements.restricted().with_read_only(tmp_path)
    if missing := sandbox.host.missing_for(requirements):
        pytest.skip(f"this host can't confine it: {'; '.join(missing)}")
    with sandbox.load("fails", ["f"], requirements, source=source, ready=1) as tool:
        tool.call("f")
        now.write_text("")
        counted = []
        for _ in range(12):
            with contextlib.suppress(ToolFailed):
                tool.call("f")
            counted.append(len(os.listdir("/proc/self/fd")))
        assert soon(lambda: len(os.listdir("/proc/self/fd")) <= counted[0] + 8)


def test_calls_of_each_kind_of_end_leave_nothing(sandbox: Sandbox) -> None:
    source = """
import os, time
def raises(): raise ValueError
def ends(): os._exit(1)
def crashes(): import ctypes; ctypes.string_at(0)
def sleeps(): time.sleep(60)
def takes(): return len(bytearray(1 << 30))
def floods():
    while True: os.write(1, b"x" * 65536)
def well(): return 1
"""
    names = ["raises", "ends", "crashes", "sleeps", "takes", "floods", "well"]
    with sandbox.load("ends", names, SAFE, source=source, ready=1) as tool:
        assert tool.call("well").value == 1
        counted = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            for name in names[:-1]:
                with pytest.raises(ToolFailed):
                    tool.call(name, timeout=0.3 if name in ("sleeps", "floods") else None)
        assert tool.call("well").value == 1
        assert soon(lambda: len(os.listdir("/proc/self/fd")) <= counted + 8)


def test_orphans_are_let_go(grounds: Grounds) -> None:
    """Each call may start as many as the first."""
    source = """
import os, time
def f():
    for _ in range(5):
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                os.setsid()
                time.sleep(60)
            os._exit(0)
        os.waitpid(child, 0)
    return 5
"""
    requirements = SecurityRequirements.restricted().with_processes(8)
    with grounds.load("orphans", ["f"], requirements, source=source, ready=1) as tool:
        for _ in range(8):
            assert tool.call("f").value == 5


def test_memory_that_a_call_left_in_files_is_nobody_elses(grounds: Grounds) -> None:
    room = grounds.room
    room.reset()
    source = f"""
import os, secrets
def leaves():
    with open({str(room.memory)!r} + "/" + secrets.token_hex(8), "wb") as file:
        for _ in range({MEMORY >> 20} * 6 // 10):
            file.write(b"x" * (1 << 20))
def takes(): return len(bytearray(b"x") * ({MEMORY} // 2))
"""
    requirements = (
        SecurityRequirements.privileged().with_file_access(room.memory).with_memory_limit(MEMORY)
    )
    with grounds.load("leaves", ["leaves", "takes"], requirements, source=source, ready=1) as tool:
        for _ in range(5):
            tool.call("leaves")
            assert tool.call("takes").value == MEMORY // 2
    room.reset()


def test_an_owner_with_many_descriptors(sandbox: Sandbox) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip(f"only {hard} descriptors may be opened")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    try:
        with sandbox.load("many", ["f"], SAFE, source="def f():\n    return 1\n") as tool:
            for _ in range(5):
                assert tool.call("f").value == 1
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_tool_that_is_closed_amid_its_calls(sandbox: Sandbox) -> None:
    source = "import time\ndef f():\n    time.sleep(30)\n"
    tool = sandbox.load("amid", ["f"], SAFE, source=source, ready=1)
    raised: list[BaseException] = []

    def call() -> None:
        try:
            tool.call("f")
        except LlmspellError as error:
            raised.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: sandbox.counters.calls.value == len(threads))
    tool.close()
    for thread in threads:
        thread.join(SECONDS)
    assert len(raised) == 4

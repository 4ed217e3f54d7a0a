"""One sandbox for the tests of this folder, and the tools that they load."""

from __future__ import annotations

import gc
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from llmspell.security import ConfinedTool, Sandbox, SecurityRequirements, UnconfinedTool
from llmspell.security.sandbox.pool import WorkerPool
from tests.processes import until

TOOLS = Path(__file__).with_name("tools")
PLAIN = [
    *("words", "echo", "later", "parsed", "when", "count", "printed", "raises", "returns_object"),
    *("returns_bytes", "spins", "sleeps", "takes", "ends", "leaves", "threads", "environment"),
    *("unwritten_import", "number_of_random", "who", "reads", "writes", "lists", "open_files"),
    "Counts.doubled",
    "prints_forever",
]
SAFE = SecurityRequirements.safe()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        skip_where_missing(made, SAFE)
        yield made


def skip_where_missing(sandbox: Sandbox, needed: SecurityRequirements) -> None:
    """Skip the test where this host lacks what a tool with these requirements needs."""
    missing = sandbox.host.missing_for(needed)
    if missing:
        pytest.skip(f"this host can't confine it: {'; '.join(missing)}")


@pytest.fixture(scope="session")
def plain(sandbox: Sandbox) -> Iterator[ConfinedTool]:
    """The tool of tools/plain.py as a safe one."""
    with confined(sandbox, SAFE) as tool:
        yield tool


def confined(
    sandbox: Sandbox, requirements: SecurityRequirements, *, keep_workers: bool = False
) -> ConfinedTool:
    """tools/plain.py with requirements."""
    skip_where_missing(sandbox, requirements)
    tool = sandbox.load("plain", PLAIN, requirements, path=[TOOLS], keep_workers=keep_workers)
    assert isinstance(tool, ConfinedTool)
    return tool


@pytest.fixture
def own(sandbox: Sandbox) -> Iterator[Sandbox]:
    """One of the test's own, where the host can confine."""
    with Sandbox(host=sandbox.host) as made:
        yield made


def is_at_rest(tool: ConfinedTool | UnconfinedTool) -> bool:
    """Whether its thread waits for something to do: all that served have ended by then."""
    assert isinstance(tool, ConfinedTool)
    return _waits(tool._pool) or not tool._pool._filling.is_alive()


def _waits(pool: WorkerPool) -> bool:
    return bool(pool._wanted._cond._waiters)  # type: ignore[attr-defined]  # of a Semaphore


def await_rest() -> None:
    """Wait until no tool of this process opens, closes or ends anything, nor garbage does.

    Those of other tests too, whose sandboxes last for a module or a session.
    """
    gc.collect()
    until(lambda: all(map(_waits, _pools())))


def _pools() -> list[WorkerPool]:
    targets = [getattr(one, "_target", None) for one in threading.enumerate()]
    owners = [getattr(target, "__self__", None) for target in targets]
    return [owner for owner in owners if isinstance(owner, WorkerPool)]


@pytest.fixture
def calm() -> None:
    """Nothing but the test opens, closes or ends anything of a sandbox."""
    await_rest()


def is_in_test() -> bool:
    """Whether it is the test that calls what it has replaced, and no thread that forks ahead."""
    return threading.current_thread() is threading.main_thread()


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

"""Processes of tests: which there are, and waiting for what comes of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def children_of(process: int) -> list[int]:
    """Processes that one has begun, in whichever thread, and that haven't ended."""
    found: list[int] = []
    threads = Path(f"/proc/{process}/task")
    with suppress(FileNotFoundError, ProcessLookupError):  # it ended since it was found
        for thread in os.listdir(threads):
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, threads.joinpath(thread, "children").read_text().split())
    return found


def all_below(process: int) -> list[int]:
    """Those, and what they have begun in turn."""
    found = []
    waiting = [process]
    while waiting:
        below = children_of(waiting.pop())
        found += below
        waiting += below
    return found


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    """Wait for it; so many seconds only end a hang."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it didn't come to hold"
        time.sleep(0.005)


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended, and that nobody has waited for, doesn't."""
    return _state_of(process) not in ("", "Z")


def is_stopped(process: int) -> bool:
    """Whether a process was told to stop, and does nothing any more until it is told to go on."""
    return _state_of(process) == "T"


def _state_of(process: int) -> str:
    """As the kernel calls it, by a letter; none where there is no such process."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]

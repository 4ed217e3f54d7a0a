"""Any one system call may fail: a named error, and every acknowledged step is there afterwards."""

from __future__ import annotations

import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.faults import FAULTS
from tests.crash.trace import MEMORY, run_recorded

#: Processes that share the calls of one fault.
WORKERS = 2


def run_all(name: str) -> str:
    """What the processes print in which each call of a fault fails in its turn."""
    with ExitStack() as stack:
        # A thread for each: one whose output nobody reads waits.
        threads = stack.enter_context(ThreadPoolExecutor(WORKERS))
        runs = []
        for first in range(1, WORKERS + 1):
            path = stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY))
            share = name, str(first), str(WORKERS)
            root = Path(path) / "watched"
            runs.append(
                threads.submit(run_recorded, "tests.crash.faults", *share, root=root, trace=None)
            )
        done = [run.result() for run in runs]
    for run in done:
        assert run.returncode == 0, run.stderr
    return "".join(run.stdout for run in done)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FAULTS)
def test_failed_call_is_named_and_loses_nothing(name: str) -> None:
    output = run_all(name)
    found = output.find("\nwrong ")
    again = f"python -m tests.crash.faults {name} NTH, under LD_PRELOAD and with CRASH_ROOT"
    assert found < 0, f"{again}\n{output[found : found + 8000]}"
    calls = re.findall(r"^call \d+: steps \[(.*)\] failed$", output, re.MULTILINE)
    assert len(calls) > 50, "hardly a call was counted"
    # A snapshot that can't be written costs a warning; all else must have been refused.
    assert sum(map(bool, calls)) > len(calls) / 4

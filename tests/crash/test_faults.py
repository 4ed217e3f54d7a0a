"""Any one system call may fail: a named error, and every acknowledged step is there afterwards."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from tests.crash.faults import FAULTS
from tests.crash.trace import MEMORY, run_recorded


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FAULTS)
def test_failed_call_is_named_and_loses_nothing(name: str) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as path:
        run = run_recorded("tests.crash.faults", name, root=Path(path) / "watched", trace=None)
    assert run.returncode == 0, run.stderr
    found = run.stdout.find("\nwrong ")
    again = f"python -m tests.crash.faults {name} NTH, under LD_PRELOAD and with CRASH_ROOT"
    assert found < 0, f"{again}\n{run.stdout[found : found + 8000]}"
    calls = re.findall(r"^call \d+: steps \[(.*)\] failed$", run.stdout, re.MULTILINE)
    assert len(calls) > 50, "hardly a call was counted"
    # A snapshot that can't be written costs a warning; all else must have been refused.
    assert sum(map(bool, calls)) > len(calls) / 4

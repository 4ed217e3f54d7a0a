"""A wall clock a day off opens nothing, blocks nothing longer than a period, loses nothing."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.crash.clocked import DAY, NOON
from tests.crash.trace import start_recorded


def run(part: str, root: Path, days: int) -> None:
    shift = int(NOON.timestamp() - time.time()) + days * DAY
    process = start_recorded(
        "tests.crash.clocked", str(root / "data"), part, root=root, trace=None, clock=shift
    )
    _, err = process.communicate()
    assert process.returncode == 0, f"{part}, {days} days off\n{err}"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clock")
    run("begin", root, 0)
    return root


@pytest.mark.parametrize("days", [-1, 0, 1])
def test_clock_stepped_while_and_between_processes_run(
    begun: Path, tmp_path: Path, days: int
) -> None:
    shutil.copytree(begun / "data", tmp_path / "data")
    run("go on", tmp_path, days)
    run("go on", tmp_path, -days)

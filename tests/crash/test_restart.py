"""What a tenant answers is the same before and after a restart."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crash.restarted import KINDS
from tests.crash.trace import ROOT


def answers(data: Path, kind: str, end: str) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.crash.restarted", str(data), kind, end],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == (-signal.SIGKILL if end == "kill" else 0), run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def remove_snapshots(data: Path) -> None:
    snapshots = list(data.glob("tenants/*/*/*.snap"))
    assert snapshots
    for path in snapshots:
        path.unlink()


def assert_as_good(before: dict[str, Any], after: dict[str, Any]) -> None:
    """The data is the same; a graph linked anew may miss another of the nearest."""
    for exact in ("count", "scan", "usage"):
        assert after[exact] == before[exact]
    for name, least in (("search", 0.97), ("filter", 0.97), ("narrow search", 0.75)):
        kept = total = 0
        for old, new in zip(before[name], after[name], strict=True):
            assert len(new) == len(old)
            scores = {key: float.fromhex(score) for key, score in old}
            for key, score in new:
                if key in scores:
                    assert float.fromhex(score) == pytest.approx(scores[key], rel=1e-5, abs=1e-4)
            kept += len(scores.keys() & {key for key, _ in new})
            total += len(old)
        assert kept >= least * total, f"{name}: {kept} of {total} are the same"


@pytest.mark.parametrize("kind", KINDS)
def test_answers_behind_a_close_are_the_same_bit_for_bit(kind: str, tmp_path: Path) -> None:
    before = answers(tmp_path / "data", kind, "close")
    assert answers(tmp_path / "data", kind, "ask") == before
    assert answers(tmp_path / "data", kind, "ask") == before
    remove_snapshots(tmp_path / "data")
    rebuilt = answers(tmp_path / "data", kind, "ask")
    if kind == "flat":
        assert rebuilt == before
    assert_as_good(before, rebuilt)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_behind_a_kill_are_the_same_or_as_good(kind: str, tmp_path: Path) -> None:
    before = answers(tmp_path / "data", kind, "kill")
    replayed = answers(tmp_path / "data", kind, "ask")
    if kind == "flat":
        assert replayed == before
    assert_as_good(before, replayed)

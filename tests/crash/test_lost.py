"""A sync that fails with its pages dropped loses nothing that was or will be acknowledged."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.disk import Disk
from tests.crash.lost import TRACE, WATCHED
from tests.crash.trace import ROOT, Entry, Op, run_recorded

STATES = int(os.environ.get("LLMSPELL_LOST_STATES", "12"))  # of each life


def record(path: Path, *more: str) -> None:
    (path / WATCHED).mkdir()
    run = run_recorded(
        "tests.crash.lost", str(path), *more, root=path / WATCHED, trace=path / TRACE
    )
    assert run.returncode == 0, run.stderr


def check(path: Path) -> tuple[list[str], str]:
    """Lines of the lives, and what is wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.lost", "check", path, str(STATES), "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lives = [line for line in done.stdout.splitlines() if line.startswith("life ")]
    return lives, done.stdout[done.stdout.find("\nwrong ") :] if "\nwrong " in done.stdout else ""


@pytest.mark.timeout(300 + 5 * STATES)
def test_failed_sync_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    record(tmp_path)
    lives, wrong = check(tmp_path)
    assert not wrong, f"python -m tests.crash.lost check {tmp_path} {STATES} 1\n{wrong[:8000]}"
    assert len(lives) > 40, "hardly a sync was made"
    # Most failures are told for what they are, or cost a snapshot alone.
    assert sum("[]" in line for line in lives) > len(lives) / 4


@pytest.mark.timeout(300 + 5 * STATES)
def test_going_on_blindly_is_found(tmp_path: Path) -> None:
    """The model is worth nothing unless it finds a program that trusts what reads show."""
    record(tmp_path, "blind")
    _, wrong = check(tmp_path)
    assert wrong.count("\nwrong ") > 3


def test_lost_page_comes_back_with_the_next_write_to_it_alone(tmp_path: Path) -> None:
    def play(*more: Entry) -> set[bytes]:
        disk = Disk()
        for entry in (
            Entry(Op.CREATE, 0, 1, 0, "file", b""),
            Entry(Op.SYNC, 0, 99, 0, "", b""),
            Entry(Op.WRITE, 0, 1, 0, "", b"a" * 8192),
            Entry(Op.SYNC, 0, 1, 0, "", b""),
            Entry(Op.WRITE, 0, 1, 0, "", b"b" * 512),
            Entry(Op.LOST, 0, 1, 0, "", b""),
            *more,
            Entry(Op.SYNC, 0, 1, 0, "", b""),
        ):
            disk.play(entry)
        assert next(file for _, file in disk.files()).now()[:512] == b"b" * 512
        seen = set()
        for seed in range(60):
            state = tmp_path / str(len(list(tmp_path.iterdir())))
            disk.cut(random.Random(seed), Entry(Op.MARK, 0, 0, 0, "", b""), state)
            seen.add((state / "file").read_bytes()[:512])
        return seen

    either = {b"a" * 512, b"b" * 512}
    assert play() == either
    assert play(Entry(Op.WRITE, 0, 1, 4096, "", b"c")) == either
    assert play(Entry(Op.WRITE, 0, 1, 4000, "", b"c")) == {b"b" * 512}

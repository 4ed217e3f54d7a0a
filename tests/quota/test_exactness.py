"""Many processes on one ledger: no quota admits one too many, and no death loses or leaks a unit.

Longer runs: ``LLMSPELL_QUOTA_RUNS=100`` for the first test, and for the kills
``LLMSPELL_QUOTA_RESERVATIONS=10000000``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmspell import _hot
from llmspell.errors import QuotaExceeded
from llmspell.quota import Quota, _native

KEY = b"k" * 16
RUNS = int(os.environ.get("LLMSPELL_QUOTA_RUNS", "2"))
RESERVATIONS = int(os.environ.get("LLMSPELL_QUOTA_RESERVATIONS", "20000"))
RESERVATIONS_A_ROUND = 100_000
KILLS_A_ROUND = 25


def start(module: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.quota.{module}", *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_and_threads_admit_exactly_the_limit_of_each_quota(tmp_path: Path) -> None:
    # Reservations are made now and the charges at one time, both on one day.
    if time.time() % 86_400 > 86_400 - 60 - 10 * RUNS:
        pytest.skip("it is about to be midnight in UTC")
    limit = 2_000
    for run in range(RUNS):
        path = tmp_path / f"ledger{run}"
        slot = _native.Ledger(path).slot(KEY)
        for quota in Quota:
            slot.set_limit(quota, limit)
        at = _hot.now_ns()
        processes = [start("hammer", path, at, 150) for _ in range(8)]
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        admitted = [0] * len(Quota)
        for process in processes:
            out, _ = process.communicate(timeout=120)
            admitted = [a + int(b) for a, b in zip(admitted, out.split(), strict=True)]
        for quota in Quota:
            assert admitted[quota] > limit // 2
            while True:
                try:
                    slot.charge_at(quota, 1, at)
                except QuotaExceeded:
                    break
                admitted[quota] += 1
            assert admitted[quota] == limit == slot.read_at(quota, at)[0], quota


def test_processes_killed_at_random_neither_leak_nor_lose_a_unit(tmp_path: Path) -> None:
    made = 0
    round_ = 0
    while made < RESERVATIONS:
        wanted = min(RESERVATIONS_A_ROUND, RESERVATIONS - made)
        key = round_.to_bytes(16, "little").hex()
        process = start("killing", tmp_path / "ledger", key, KILLS_A_ROUND, wanted, round_)
        out, _ = process.communicate()
        assert process.returncode == 0
        made += int(out.split()[0])
        round_ += 1
    assert made >= RESERVATIONS


def test_flipped_bits_do_no_harm_beyond_the_counts(tmp_path: Path) -> None:
    process = start("flipping", tmp_path, 2_000, 1)
    out, _ = process.communicate()
    assert process.returncode == 0
    flips, uses = map(int, out.split())
    assert flips == 2_000
    assert uses > 500  # of 1,000; an error may end the others

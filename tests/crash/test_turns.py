"""Of two writers in turn one is killed: nothing acknowledged is lost, no batch is half there."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest

import llmspell
from tests.crash.killed import check_counters, check_index, holds
from tests.crash.points import POINTS
from tests.crash.script import Records
from tests.crash.trace import MEMORY, run_recorded, start_recorded
from tests.crash.writer import CONFIG, batch, perform

CYCLES = int(os.environ.get("LLMSPELL_CRASH_CYCLES", "1000"))
WORKERS = min(os.cpu_count() or 1, 4)


@pytest.mark.timeout(300 + CYCLES)
def test_killed_one_of_two_writers_loses_nothing_that_it_acknowledged() -> None:
    share = -(-CYCLES // WORKERS)
    with tempfile.TemporaryDirectory(dir=MEMORY) as base:
        runs = []
        for seed in range(WORKERS):
            root = Path(base, str(seed))
            with llmspell.open(root / "data") as db:
                db.create_tenant(CONFIG)
            given = str(root / "data"), str(seed), str(share)
            runs.append(start_recorded("tests.crash.killed", *given, root=root, trace=None))
        outputs = [run.communicate() for run in runs]
    kills: Counter[str] = Counter()
    for seed, (run, (out, err)) in enumerate(zip(runs, outputs, strict=True)):
        assert run.returncode == 0, f"seed {seed}, behind {len(out.splitlines())} cycles:\n{err}"
        kills.update(out.splitlines())
    assert kills.total() == share * WORKERS
    assert kills["moment: met"] > CYCLES / 20, "kills fell between the batches, not into them"
    if CYCLES >= 1_000:
        missed = [name for name in POINTS if not kills[f"{name}: met"]]
        assert not missed, f"nothing was killed at: {missed}"


def test_commit_that_nobody_saw_when_its_writer_died_comes_whole_with_the_next(
    tmp_path: Path,
) -> None:
    with llmspell.open(tmp_path / "data") as db:
        db.create_tenant(CONFIG)
    run = run_recorded(
        "tests.crash.killed", str(tmp_path / "data"), "late", root=tmp_path, trace=None
    )
    assert run.returncode == 0, run.stderr


def test_model_of_this_test_agrees_with_an_undisturbed_writer(tmp_path: Path) -> None:
    records = Records()
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(CONFIG)
        for number in range(1, 60):
            perform(tenant, batch(number))
            records.apply(batch(number))
        assert holds(tenant, records)
        check_counters(tenant, records)
        check_index(tenant, records, 0)
        perform(tenant, batch(60))
        assert not holds(tenant, records)

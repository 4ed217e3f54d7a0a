"""What a killed process left unsynced, another builds on: a power cut then takes none of it."""

from __future__ import annotations

import itertools
import random
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

import llmspell
from tests.crash.disk import Disk
from tests.crash.heirs import BATCH, TENANT
from tests.crash.script import Records, check
from tests.crash.trace import MEMORY, Op, read_trace, run_recorded
from tests.crash.writer import batch

CUTS = 12


def heir_survives(base: Path, nth: int) -> bool:
    """Kill a process, let another go on, and cut the power; False where there is no such call."""
    trace, watched = base / "trace", base / "watched"
    watched.mkdir()
    data = str(watched / "data")
    killed = run_recorded("tests.crash.heirs", data, str(nth), root=watched, trace=trace)
    if killed.returncode == 0:
        return False
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    heir = run_recorded("tests.crash.heirs", data, "0", root=watched, trace=trace)
    assert heir.returncode == 0, heir.stderr
    disk = Disk()
    entries = list(read_trace(trace))
    acknowledged = next(i for i, entry in enumerate(entries) if entry.op is Op.MARK)
    for entry in entries[:acknowledged]:
        disk.play(entry)
    records = Records()
    records.apply(batch(BATCH))
    for seed in range(CUTS):
        state = base / f"state-{seed}"
        disk.cut(random.Random(seed), entries[acknowledged], state)
        with llmspell.open(state / "data") as database:
            check(database, {TENANT: records}, None)
    return True


@pytest.mark.timeout(900)
def test_power_cut_behind_a_killed_process_loses_nothing_of_its_heir() -> None:
    for nth in itertools.count(1):
        base = Path(tempfile.mkdtemp(dir=MEMORY))
        try:
            if not heir_survives(base, nth):
                break
        except Exception as error:
            error.add_note(f"the first process was killed before its call {nth}")
            raise
        finally:
            shutil.rmtree(base)
    assert nth > 20, "hardly a call was met"

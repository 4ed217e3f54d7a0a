"""A tenant that is restored is the old one or the new one, whenever its maker dies."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.disk import Disk
from tests.crash.faults import apart
from tests.crash.restoring import DATA, STEPS, WATCHED, begin, verify
from tests.crash.trace import MEMORY, Op, read_trace, run_recorded

CUTS = 150


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as path:
        Path(path, WATCHED).mkdir()
        yield Path(path)


def test_a_killed_process_leaves_the_old_tenant_or_the_new_one(base: Path) -> None:
    begin(base)
    run = run_recorded("tests.crash.restoring", str(base), "kill", root=base / WATCHED, trace=None)
    assert run.returncode == 0, run.stderr
    assert "\nwrong" not in run.stdout, run.stdout[-8000:]
    done = [
        int(number) for number in re.findall(r"^call \d+: (\d) steps", run.stdout, re.MULTILINE)
    ]
    assert set(done) == set(range(STEPS + 1)), "it died in none, or not in all, of the steps"
    assert len(done) > 40, "hardly a call was met"


def test_a_power_cut_leaves_the_old_tenant_or_the_new_one(base: Path) -> None:
    trace = base / "trace"
    for what in (["begin"], []):
        run = run_recorded(
            "tests.crash.restoring", str(base), *what, root=base / WATCHED, trace=trace
        )
        assert run.returncode == 0, run.stderr
        if what:
            first = len(list(read_trace(trace)))
    entries = list(read_trace(trace))
    rng = random.Random(4)
    places = sorted(rng.randrange(first, len(entries)) for _ in range(CUTS))
    disk, played, done = Disk(), 0, 0
    seen = set()
    for number, place in enumerate(places):
        for entry in entries[played:place]:
            disk.play(entry)
            done += entry.op is Op.MARK
        played = place
        state = base / f"state-{number}"
        disk.cut(random.Random(number), entries[place], state)
        possible = range(done, min(done + 2, STEPS + 1))
        found = apart(lambda state=state, possible=possible: verify(state / DATA, possible))  # type: ignore[misc]
        assert not isinstance(found, dict), f"cut {number} at entry {place}: {found['died']}"
        seen.add(found)
    assert seen == set(range(STEPS + 1))

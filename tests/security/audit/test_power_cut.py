"""After a power cut at any moment, every acknowledged record is there and the chain goes on."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmspell.errors import LlmspellError
from llmspell.security import AuditLog, read_audit, verify_audit
from tests.crash.disk import Disk
from tests.crash.trace import MEMORY, Entry, Op, read_trace, run_recorded
from tests.security.audit.recorded import SEGMENT_BYTES, events

STATES = int(os.environ.get("LLMSPELL_AUDIT_POWER_CUTS", "300"))
COUNT = 200


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    path = tmp_path_factory.mktemp("recording")
    (path / "watched").mkdir()
    run = run_recorded(
        "tests.security.audit.recorded",
        str(path / "watched" / "log"),
        str(COUNT),
        root=path / "watched",
        trace=path / "trace",
    )
    assert run.returncode == 0, run.stderr
    assert len(list((path / "watched" / "log").glob("*.jsonl"))) > 2
    return list(read_trace(path / "trace"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where no fsync waits, if there is such a folder."""
    made = tmp_path if MEMORY is None else MEMORY / f"llmspell-audit-{os.getpid()}"
    made.mkdir(exist_ok=True)
    yield made
    shutil.rmtree(made)


def cuts(entries: list[Entry], place: Path, states: int) -> Iterator[tuple[int, int, int, Path]]:
    """States with the moment of the cut and how many steps were begun and acknowledged then."""
    disk, played, begun, done = Disk(), 0, 0, 0
    drawn = sorted((random.Random(seed).randrange(len(entries)), seed) for seed in range(states))
    for cut, seed in drawn:
        for entry in entries[played:cut]:
            disk.play(entry)
            if entry.op is Op.MARK:
                begun, done = (entry.offset + 1, done) if not entry.flags else (begun, begun)
        played = cut
        state = place / "state"
        disk.cut(random.Random(seed), entries[cut], state)
        yield seed, begun, done, state / "log"
        shutil.rmtree(state)


def check(path: Path, begun: int, done: int) -> bool:
    """Whether a torn end was set aside; all that was acknowledged must be there."""
    with AuditLog.open(path, segment_bytes=SEGMENT_BYTES) as log:
        log.append("key.change", subject="after")
    report = verify_audit(path)
    assert report.is_sound, report.problem
    found = [r.subject for r in read_audit(path, kind="key.change")]
    assert found.pop() == "after"
    wanted = [event.subject for number in range(done) for event in events(number)]
    assert found[: len(wanted)] == wanted
    under_way = [event.subject for number in range(done, begun) for event in events(number)]
    rest = found[len(wanted) :]
    assert rest == under_way[: len(rest)]
    return report.torn > 0


def test_power_cut_loses_nothing_that_was_acknowledged(entries: list[Entry], place: Path) -> None:
    torn = 0
    for seed, begun, done, path in cuts(entries, place, STATES):
        try:
            torn += check(path, begun, done)
        except Exception as error:
            error.add_note(f"state {seed}")
            raise
    assert torn > STATES // 50, "hardly a write was cut short"


@pytest.mark.parametrize("forgotten", ["directories", "files"])
def test_missing_fsync_is_found(entries: list[Entry], place: Path, forgotten: str) -> None:
    """The model is worth nothing unless it finds a program that forgets to sync."""
    files = {entry.ino for entry in entries if entry.op is Op.WRITE}
    careless = [
        entry
        for entry in entries
        if entry.op is not Op.SYNC or (entry.ino in files) != (forgotten == "files")
    ]
    wrong = 0
    for _, begun, done, path in cuts(careless, place, 100):
        try:
            check(path, begun, done)
        except (AssertionError, LlmspellError):
            wrong += 1
    assert wrong > 10

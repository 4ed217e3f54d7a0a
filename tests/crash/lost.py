"""A sync fails and its pages are dropped, as on Linux; the program goes on, until a power cut.

Usage: ``python -m tests.crash.lost RECORDING`` under the recorder: lives the short script of
:mod:`tests.crash.faults` once for each of its syncs, lets that one fail, and marks what was said of
each step; with ``blind`` behind it, commits that failed are simply tried again. ``python -m
tests.crash.lost check RECORDING STATES SEED`` builds states that a power cut behind the failure may
leave, and holds them against what was said. It prints a line for each life, and for what is wrong.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import llmspell
from llmspell import errors
from llmspell.storage import environment, healing
from tests.crash import trace
from tests.crash.disk import Disk
from tests.crash.faults import STEPS, Fault, Seen, apart, explanation, observe
from tests.crash.script import BEGIN, DONE, WRITE, Life, Step, check, expected
from tests.crash.trace import MEMORY, Call, Entry, How, Op, read_trace

#: Marks in the trace: a life begins; a step failed, and nothing of it is there, it is there, or
#: that wasn't told; what reads showed at the end.
LIFE, ABSENT, DURABLE, UNKNOWN, SEEN = range(10, 15)
WATCHED, DATA, TRACE, SHOWN = "watched", "data", "trace", "shown.json"
FAULT = Fault(Call.SYNC, errno.EIO, how=How.DROPPED)


class Told(NamedTuple):
    """What was said of the steps so far, by their numbers.

    Args:
        there: acknowledged, or failed and said to be there.
        open: under way, or failed with nothing said.
    """

    there: frozenset[int] = frozenset()
    open: frozenset[int] = frozenset()

    def after(self, mark: int, number: int) -> Told:
        there, unknown = self.there, self.open - {number}
        if mark in (BEGIN, UNKNOWN):
            unknown |= {number}
        elif mark in (DONE, DURABLE):
            there |= {number}
        return Told(there, unknown)


def live(data: Path, nth: int) -> tuple[Seen, int]:
    """Do the steps, of whose syncs the ``nth`` fails; what reads show in the end, and how many."""
    native = ctypes.CDLL(None)
    native.crash_calls.restype = ctypes.c_long
    life = Life(data)
    FAULT.arm(nth)
    for step in STEPS:
        trace.mark(BEGIN, step.number)
        try:
            life.do(step)
            trace.mark(DONE, step.number)
        except errors.CommitFailed as error:
            marks = {True: DURABLE, False: ABSENT, None: UNKNOWN}
            # Making a tenant is more than its commit.
            trace.mark(marks[error.is_durable] if step.kind == WRITE else UNKNOWN, step.number)
        except errors.LlmspellError:
            trace.mark(UNKNOWN, step.number)
    syncs = int(native.crash_calls())
    FAULT.arm(0)
    seen = observe(life.do(Step(-1, "look")))
    life.close()
    return seen, syncs


def go_blind() -> None:
    """Let an environment go on behind a commit that failed, as if it had not been there."""

    def reopen(*given: object, least: int = 0, **named: object) -> healing.Opened:
        return healing.open_lmdb(*given, **named)  # type: ignore[arg-type]

    environment.reopen = reopen  # type: ignore[assignment]


def record(recording: Path) -> None:
    """Live once for each sync, and keep what reads showed after each."""
    data = recording / WATCHED / DATA
    shown = []
    _, syncs = apart(lambda: live(data, 0))
    shutil.rmtree(data)
    for nth in range(1, syncs + 1):
        trace.mark(LIFE, nth)
        shown.append(apart(lambda nth=nth: live(data, nth)))  # type: ignore[misc]
        trace.mark(SEEN, nth)
        shutil.rmtree(data)
    (recording / SHOWN).write_text(json.dumps(shown))


def lives(recording: Path) -> Iterator[list[Entry]]:
    """The entries of each life, without what removes it."""
    entries: list[Entry] | None = None
    for entry in read_trace(recording / TRACE):
        if entry.op is Op.MARK and entry.flags == LIFE:
            entries = []
        elif entry.op is Op.MARK and entry.flags == SEEN and entries is not None:
            yield entries
            entries = None
        elif entries is not None:
            entries.append(entry)


def verify(data: Path, told: Told) -> None:
    """Open a state, and hold it against what was said."""
    with llmspell.open(data) as database:
        seen = observe(database)
        known = [step for step in STEPS if step.number in told.there | told.open]
        done = explanation(seen, known, sorted(told.open))
        assert done is not None, f"{sorted(told.there)} are there, but it holds {seen}"
        check(database, expected(done), None)


def cuts(
    entries: list[Entry], states: int, rng: random.Random
) -> Iterator[tuple[int, Callable[[Path], None], Told]]:
    """States that a power cut behind the failure may leave, and what was said until then."""
    failed = next(at for at, entry in enumerate(entries) if entry.op is Op.LOST)
    chosen = sorted(rng.randrange(failed + 1, len(entries)) for _ in range(states))
    disk, told, played = Disk(), Told(), 0
    for cut in chosen:
        for entry in itertools.islice(entries, played, cut):
            disk.play(entry)
            if entry.op is Op.MARK:
                told = told.after(entry.flags, entry.offset)
        played = cut
        yield cut, lambda into, cut=cut: disk.cut(rng, entries[cut], into), told  # type: ignore[misc]


def check_states(recording: Path, states: int, seed: int) -> None:
    """Print what is wrong with the states of each life."""
    logging.getLogger("llmspell").setLevel(logging.CRITICAL)
    shown = json.loads((recording / SHOWN).read_text())
    base = Path(tempfile.mkdtemp(dir=MEMORY))
    try:
        for number, (entries, seen) in enumerate(zip(lives(recording), shown, strict=True), 1):
            last = Told()
            for entry in entries:
                if entry.op is Op.MARK:
                    last = last.after(entry.flags, entry.offset)
            print(f"life {number}: {sorted(last.open)} unknown", flush=True)
            if isinstance(seen, dict):
                print(f"wrong {number}, in life\n    {seen['died']}", flush=True)
                continue
            known = [step for step in STEPS if step.number in last.there | last.open]
            if explanation(seen[0], known, sorted(last.open)) is None:
                print(f"wrong {number}, reads show {seen[0]}", flush=True)
            rng = random.Random(seed * 1_000 + number)
            for cut, build, told in cuts(entries, states, rng):
                state = base / "state"
                build(state)
                found = apart(lambda state=state, told=told: verify(state / DATA, told))  # type: ignore[misc]
                if found is not None:
                    print(f"wrong {number}, cut at {cut}\n    {found['died']}", flush=True)
                shutil.rmtree(state)
    finally:
        shutil.rmtree(base)


def main(*arguments: str) -> None:
    if arguments[0] == "check":
        _, recording, states, seed = arguments
        check_states(Path(recording), int(states), int(seed))
        return
    logging.getLogger("llmspell").setLevel(logging.CRITICAL)
    if "blind" in arguments:
        go_blind()
    record(Path(arguments[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])

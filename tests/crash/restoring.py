"""Tenants restored and cloned by a process that may die or lose its power at any call.

Usage: ``python -m tests.crash.restoring BASE`` under the recorder lives through the steps once,
with marks in the trace; ``... BASE begin`` makes what it begins with; ``... BASE kill`` lets a
process die before each of its changes of names and syncs in turn, and prints a line for each and
one more where something is wrong.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
import shutil
import sys
from pathlib import Path

import llmspell
from llmspell import Database
from tests.crash import trace
from tests.crash.faults import apart
from tests.crash.heirs import KILLED
from tests.crash.script import DONE, Records, check, config
from tests.crash.trace import Call
from tests.crash.writer import batch, perform

WATCHED, DATA, SNAPSHOT = "watched", "data", "snapshot.tar"
#: In the snapshot, and what was written to the tenant since.
KEPT, LATER = range(1, 8), range(8, 12)
STEPS = 3


def states() -> list[dict[str, Records]]:
    """What there is before the first step, and behind each."""
    kept, later = Records(), Records()
    for number in [*KEPT, *LATER]:
        later.apply(batch(number))
        if number in KEPT:
            kept.apply(batch(number))
    return [
        {"acme": later},
        {"acme": kept},
        {"acme": kept, "copy": kept},
        {"acme": kept, "copy": kept, "twin": kept},
    ]


def begin(base: Path) -> None:
    """Make the tenant, its snapshot, and what is written behind that."""
    with llmspell.open(base / WATCHED / DATA) as database:
        tenant = database.create_tenant(config("acme"))
        for number in KEPT:
            perform(tenant, batch(number))
        tenant.snapshot(base / SNAPSHOT)
        for number in LATER:
            perform(tenant, batch(number))


def step(database: Database, base: Path, number: int) -> None:
    """Replace the tenant, restore it beside, or clone it."""
    if number == 0:
        database.restore_tenant(base / SNAPSHOT, replace=True)
    elif number == 1:
        database.restore_tenant(base / SNAPSHOT, tenant_id="copy")
    else:
        database.clone_tenant("acme", "twin")


def verify(data: Path, possible: range) -> int:
    """Hold what is left against some of the states; how many steps are done."""
    failures: list[Exception] = []
    wanted = states()
    with llmspell.open(data) as database:
        for done in possible:
            try:
                check(database, wanted[done], None)
            except AssertionError as error:
                failures.append(error)
                continue
            listed = database.tenants()
            for info in listed:
                tenant = database.tenant(info.id)
                assert tenant.usage().vectors.used == tenant.count()
            directories = list(data.glob("tenants/*/*"))
            assert len(directories) == len(listed), f"{directories} of {len(listed)} tenants"
            assert not list(data.glob("staging/*")), "what died is not removed"
            return done
    raise ExceptionGroup(f"none of the states {possible} is there", failures)


def live(base: Path, first: int = 0) -> None:
    """Do the steps, from one on."""
    with llmspell.open(base / WATCHED / DATA) as database:
        for number in range(first, STEPS):
            step(database, base, number)
            trace.mark(DONE, number)


def die(base: Path, nth: int) -> None:
    """Do the steps, and die before a call."""
    calls = Call.NAME | Call.SYNC
    ctypes.CDLL(None).crash_arm(calls, ctypes.c_long(nth), KILLED, 0, 0)
    live(base)


def go_on(base: Path) -> int:
    """Verify what is left, and do the rest."""
    done = verify(base / WATCHED / DATA, range(STEPS + 1))
    with llmspell.open(base / WATCHED / DATA) as database:
        slots, tenants = len(database._registry.ledger), len(database.tenants())
        assert slots == tenants, f"{slots} slots of {tenants} tenants"
    live(base, done)
    verify(base / WATCHED / DATA, range(STEPS, STEPS + 1))
    return done


def kill_each(base: Path) -> None:
    data, kept = base / WATCHED / DATA, base / "kept"
    shutil.copytree(data, kept)
    shutil.rmtree(data)
    for nth in itertools.count(1):
        shutil.copytree(kept, data)
        died = apart(lambda nth=nth: die(base, nth))  # type: ignore[misc]
        if died is None:
            break
        found = apart(lambda: go_on(base))
        print(f"call {nth}: {found} steps done", flush=True)
        if isinstance(found, dict):
            print(f"wrong {nth}\n{found['died']}", flush=True)
        shutil.rmtree(data)


def main(base: str, *what: str) -> None:
    logging.getLogger("llmspell").setLevel(logging.CRITICAL)
    if what == ("begin",):
        begin(Path(base))
    elif what == ("kill",):
        kill_each(Path(base))
    else:
        live(Path(base))


if __name__ == "__main__":
    main(*sys.argv[1:])

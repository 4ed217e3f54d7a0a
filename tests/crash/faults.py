"""One system call of the script fails, each in its turn: what is left, and what was said of it.

Usage: ``python -m tests.crash.faults NAME FIRST STRIDE`` under the recorder: lets call FIRST, FIRST
+ STRIDE, ... of the fault NAME fail in a process of its own, until there are no more. Prints a line
for each, and one more where something is wrong. With ``NAME NTH`` alone, does that one.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import llmspell
from llmspell import Database, errors
from tests.crash.script import CREATE, DROP, OPEN, REOPEN, WRITE, Life, Step, check, expected
from tests.crash.trace import Call, How
from tests.crash.writer import DIM

_KINDS = (
    (OPEN, ""),
    (CREATE, "acme"),
    (CREATE, "acme-corp"),
    *[(WRITE, "acme")] * 3,
    (WRITE, "acme-corp"),
    (REOPEN, ""),
    *[(WRITE, "acme")] * 2,
    (DROP, "acme-corp"),
    (CREATE, "acme-corp"),
    (WRITE, "acme-corp"),
    (REOPEN, ""),
    (WRITE, "acme"),
)
#: A short life: with snapshots, a trim, a tenant that is dropped and made again.
STEPS = [Step(number, *kind) for number, kind in enumerate(_KINDS)]

#: A run that takes so many seconds hangs.
PATIENCE = 60
#: By tenant and id, the batch that wrote a record.
Seen = dict[str, dict[str, int]]


class Fault(NamedTuple):
    """Which calls fail, and how.

    Args:
        sticky: all calls behind the first that failed fail as well, as on a full disk.
        how: PLAIN, nothing is done; SHORTENED, a write does half of what it was given, and doesn't
            fail; DROPPED, a sync fails as :mod:`tests.crash.disk` says.
    """

    calls: int
    error: int
    sticky: bool = False
    how: How = How.PLAIN

    def arm(self, nth: int) -> None:
        """Let the ``nth`` such call from now on fail."""
        ctypes.CDLL(None).crash_arm(
            self.calls, ctypes.c_long(nth), self.error, int(self.sticky), int(self.how)
        )


_CHANGES = Call.OPEN | Call.WRITE | Call.SYNC | Call.SIZE | Call.NAME
FAULTS = {
    "EIO": Fault(_CHANGES | Call.READ | Call.MAP, errno.EIO),
    "ENOSPC": Fault(_CHANGES, errno.ENOSPC),
    "full": Fault(_CHANGES & ~Call.SYNC, errno.ENOSPC, sticky=True),
    "dead": Fault(_CHANGES | Call.READ, errno.EIO, sticky=True),
    "EMFILE": Fault(Call.OPEN, errno.EMFILE),
    "ENOMEM": Fault(Call.OPEN | Call.MAP, errno.ENOMEM),
    "short": Fault(Call.WRITE, errno.ENOSPC, how=How.SHORTENED),
}


def observe(database: Database) -> Seen:
    """What a database holds."""
    query = np.ones(DIM, np.float32)
    return {
        info.config.id: {
            str(hit.id): hit.metadata["batch"]
            for hit in database.tenant(info.config.id).search(query, k=10_000)
        }
        for info in database.tenants()
    }


def explanation(seen: Seen, steps: Sequence[Step], failed: list[int]) -> list[Step] | None:
    """Steps that leave what was seen: all that were acknowledged, and any of those that failed."""
    # All of them first: on a disk that stays full nothing that failed is there.
    for count in reversed(range(len(failed) + 1)):
        for missing in itertools.combinations(failed, count):
            done = [step for step in steps if step.number not in missing]
            wanted = {
                name: {key: number for key, (number, _) in records.held.items()}
                for name, records in expected(done).items()
            }
            if seen == wanted:
                return done
    return None


def run(data: Path, fault: Fault, nth: int) -> dict[str, Any]:
    """Live with the fault; returns which steps failed, and what is seen behind them."""
    native = ctypes.CDLL(None)
    native.crash_calls.restype = ctypes.c_long
    life = Life(data)
    failed: list[int] = []
    wrong: list[str] = []
    seen: Seen | None = None

    def attempt(what: object, body: Callable[[], object]) -> bool:
        try:
            body()
            return True
        except errors.LlmspellError:
            return False
        except Exception:
            wrong.append(f"{what} raises no error of llmspell:\n{traceback.format_exc()}")
            return False

    fault.arm(nth)
    for step in STEPS:
        if not attempt(step, lambda step=step: life.do(step)):
            failed.append(step.number)
    calls = native.crash_calls()
    native.crash_arm(0, ctypes.c_long(0), 0, 0, 0)

    def look() -> None:
        nonlocal seen
        seen = observe(life.do(Step(-1, "look")))

    if not attempt("looking", look) and not fault.sticky:
        wrong.append("it can't be used any more when the fault is over")
    attempt("closing", life.close)
    return {"failed": failed, "wrong": wrong, "seen": seen, "reached": calls >= nth}


def verify(data: Path, failed: list[int], before: Seen | None) -> None:
    """Open what is left, without the fault, and hold it against what was acknowledged."""
    with llmspell.open(data) as database:
        seen = observe(database)
        assert before is None or seen == before, f"before closing {before}, then {seen}"
        writing = [number for number in failed if STEPS[number].kind not in (OPEN, REOPEN)]
        done = explanation(seen, STEPS, writing)
        assert done is not None, f"no steps but {failed} failed, and it holds {seen}"
        tenants = expected(done)
        check(database, tenants, None)
        for name, records in tenants.items():
            tenant = database.tenant(name)
            used = tenant.usage()
            found = used.documents.used, used.vectors.used
            assert found == (len(records.documents), len(records.held)), f"{name}: {used}"
            # What is empty uses nothing: a count that went wrong would stay.
            tenant.delete([*records.held, *records.documents])
            used = tenant.usage()
            left = used.documents.used, used.vectors.used, used.storage.used
            assert left == (0, 0, 0), f"{name} is empty and uses {left}"
    with llmspell.open(data) as database:
        assert observe(database) == {name: {} for name in tenants}


def apart(body: Callable[[], Any]) -> Any:
    """Run in a process of its own; its result, or ``{"died": why}``."""
    into, out = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(PATIENCE)
            result = body()
        except BaseException:
            result = {"died": traceback.format_exc()}
        with os.fdopen(out, "w") as file:
            json.dump(result, file)
        os._exit(0)
    os.close(out)
    with os.fdopen(into) as file:
        raw = file.read()
    status = os.waitpid(child, 0)[1]
    return json.loads(raw) if status == 0 else {"died": f"ended with status {status}"}


def fault_at(base: Path, fault: Fault, nth: int) -> tuple[bool, list[int], list[str]]:
    """Let one call fail; whether there was such a call, which steps failed, and what is wrong."""
    data = base / "watched" / "data"
    data.parent.mkdir()
    try:
        said = apart(lambda: run(data, fault, nth))
        if "died" in said:
            return True, [], [said["died"]]
        wrong: list[str] = said["wrong"]
        found = apart(lambda: verify(data, said["failed"], said["seen"]))
        if found is not None:
            wrong.append(f"afterwards, steps {said['failed']} failed:\n{found['died']}")
        return said["reached"], said["failed"], wrong
    finally:
        shutil.rmtree(data.parent)


def main(name: str, first: str, stride: str = "") -> None:
    logging.getLogger("llmspell").setLevel(logging.CRITICAL)
    base = Path(os.environ["CRASH_ROOT"]).parent
    for n in itertools.count(int(first), int(stride)) if stride else [int(first)]:
        was_reached, failed, wrong = fault_at(base, FAULTS[name], n)
        if not was_reached:
            break
        print(f"call {n}: steps {failed} failed", flush=True)
        for one in wrong:
            print(f"wrong {n}\n    {one}".replace("\n", "\n    "), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

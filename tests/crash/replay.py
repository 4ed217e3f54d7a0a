"""States that a power cut may leave, each opened and compared with what was acknowledged.

Usage: ``python -m tests.crash.replay RECORDING FIRST COUNT`` checks the states of some seeds, and
``... RECORDING SEED`` that of one. Prints a line before each state and one for each that is wrong.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import llmspell
from llmspell import Database, errors
from llmspell._hot import crc32c
from tests.crash.disk import Disk
from tests.crash.script import BEGIN, Records, Usage, candidates, check, expected, steps
from tests.crash.trace import MEMORY, Entry, Op, read_trace
from tests.crash.writer import DIM

TRACE, USAGE, DATA = "trace", "usage.json", "data"

#: Where the ledger's header (csrc/ledger/format.hpp) has them.
LEDGER_BOOT_ID, LEDGER_CHECKSUM = 32, 88


class Recording:
    """What was recorded of the script: its entries, and what the quotas showed after each step."""

    def __init__(self, path: Path) -> None:
        self.entries = list(read_trace(path / TRACE))
        self.used: list[Usage] = json.loads((path / USAGE).read_text())
        self.steps = steps(len(self.used))
        self.is_sync = any(self.used)

    def forget_syncs(self, of: str) -> None:
        """Make the program one that forgets to sync ``directories`` or ``files``."""
        files = {entry.ino for entry in self.entries if entry.op is Op.WRITE}
        self.entries = [
            entry
            for entry in self.entries
            if entry.op is not Op.SYNC or (entry.ino in files) != (of == "files")
        ]

    def states(self, seeds: range) -> Iterator[tuple[int, random.Random, int]]:
        """Seeds with their generators and the entries that the power is cut at, by those."""
        drawn = []
        for seed in seeds:
            rng = random.Random(seed)
            drawn.append((seed, rng, rng.randrange(len(self.entries))))
        yield from sorted(drawn, key=lambda one: one[2])

    def check(self, data: Path, begun: int, done: int) -> None:
        """Whether a database holds ``done`` steps, or those with the one that was under way.

        Where upserts waited, the last of a tenant may be missing, back to what was flushed.
        """
        failures: list[Exception] = []
        for count in sorted({done, begun}):
            tenants = expected(self.steps[:count])
            used = self.used[count - 1] if count else {}
            try:
                with llmspell.open(data) as database:
                    if not self.is_sync:
                        for name in tenants:
                            tenants[name] = self._found(database, name, begun, done)
                        used = _recount(database)
                    check(database, tenants, used)
                    for name in tenants:
                        vector = np.ones((1, DIM), np.float32)
                        database.tenant(name).upsert("probe", vector, {"batch": 0}, "batch 0")
                        tenants[name].held["probe"] = (0, vector[0])
                with llmspell.open(data) as database:
                    check(database, tenants, None)
                return
            except AssertionError as error:
                failures.append(error)
        raise ExceptionGroup(f"neither {done} nor {begun} steps are there", failures)

    def _found(self, database: Database, name: str, begun: int, done: int) -> Records:
        """Of what a tenant may hold that which it does."""
        try:
            found = {one.id: one.metadata["batch"] for one in database.tenant(name).scan().records}
        except errors.TenantNotFound:
            raise AssertionError(f"{name} is not there") from None
        for records in candidates(self.steps[:begun], name, done):
            if found == {key: number for key, (number, _) in records.held.items()}:
                return records
        raise AssertionError(f"{name}: neither what was flushed nor more: {found}")


def _recount(database: Database) -> Usage:
    """What the quotas should show, by what is there."""
    used = {}
    for info in database.tenants():
        store = database.tenant(info.config.id)._enter().store
        records = list(store.records())
        with store.moment() as moment:
            documents = sum(1 for _ in moment.documents())
        used[info.config.id] = [documents, len(records), sum(one.storage for one in records)]
    return used


def reboot(ledger: Path) -> None:
    """Let a ledger be of another boot of the machine, as after a power cut it is.

    What was held for writes that waited ends with that boot. Pages of a ledger that come from two
    moments don't tell of it.
    """
    image = bytearray(ledger.read_bytes()) if ledger.is_file() else bytearray()
    at = LEDGER_CHECKSUM
    if image[at : at + 4] != crc32c(bytes(image[:at])).to_bytes(4, "little"):
        return
    image[LEDGER_BOOT_ID] ^= 1
    image[at : at + 4] = crc32c(bytes(image[:at])).to_bytes(4, "little")
    ledger.write_bytes(image)


def replay(recording: Recording, seeds: range) -> Iterator[tuple[int, Exception | None]]:
    """Build and check states; gives each seed before it is checked, and what is wrong with it."""
    disk = Disk()
    played, begun, done = 0, 0, 0
    base = Path(tempfile.mkdtemp(dir=MEMORY))
    try:
        for seed, rng, cut in recording.states(seeds):
            for entry in recording.entries[played:cut]:
                disk.play(entry)
                begun, done = _progress(entry, begun, done)
            played = cut
            yield seed, None
            state = base / "state"
            disk.cut(rng, recording.entries[cut], state)
            if not recording.is_sync:
                reboot(state / DATA / "ledger")
            try:
                recording.check(state / DATA, begun, done)
            except Exception as error:
                yield seed, error
            shutil.rmtree(state)
    finally:
        shutil.rmtree(base)


def _progress(entry: Entry, begun: int, done: int) -> tuple[int, int]:
    if entry.op is not Op.MARK:
        return begun, done
    return (entry.offset + 1, done) if entry.flags == BEGIN else (begun, entry.offset + 1)


def main(path: str, first: str, count: str = "1", forgotten: str = "") -> None:
    # That a damaged snapshot is passed over is said by a warning, and is no fault here.
    logging.getLogger("llmspell").setLevel(logging.CRITICAL)
    recording = Recording(Path(path))
    if forgotten:
        recording.forget_syncs(forgotten)
    for seed, error in replay(recording, range(int(first), int(first) + int(count))):
        if error is None:
            print(f"state {seed}", flush=True)
        else:
            text = "".join(traceback.format_exception(error)).replace("\n", "\n    ")
            print(f"wrong {seed}\n    {text}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

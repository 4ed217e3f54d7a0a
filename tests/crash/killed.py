"""Two writers of one tenant take turns, and one is killed: over and over.

Usage: ``python -m tests.crash.killed DATA SEED CYCLES`` under the recorder of record.c. Imports
once, and forks writers, which open the database for themselves: this process never does. Prints a
line for each kill, which says whether it met a named point, and a traceback where a check fails.
With ``late`` in place of SEED and CYCLES one is killed behind the last write of its commit.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import sys
import time
import traceback
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

import llmspell
from llmspell import Tenant
from llmspell.storage import view
from tests.crash.points import AT_OPENING, POINTS, arm
from tests.crash.script import Records
from tests.crash.writer import CONFIG, DIM, batch, perform

#: A point that isn't met in so many turns is left; the writer is killed wherever it is then.
TURNS = 12
PATIENCE = 60.0


class Writer:
    """A forked process that has the database open, and does what it is told."""

    def __init__(self, data: Path, records: Records) -> None:
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _serve(theirs, data, records)
        theirs.close()
        self._socket = ours
        self._answers = ours.makefile("rb")

    def tell(self, *command: Any) -> None:
        try:
            self._socket.sendall(json.dumps(command).encode() + b"\n")
        except BrokenPipeError:
            return  # that it died is seen where it should answer

    def answer(self, patience: float = PATIENCE) -> Any:
        """What it answers; None where it has died, TimeoutError where it hasn't answered yet."""
        if not select.select([self._socket], [], [], patience)[0]:
            raise TimeoutError
        try:
            line = self._answers.readline()
        except ConnectionResetError:
            line = b""
        if not line.endswith(b"\n"):
            return None
        kind, value = json.loads(line)
        if kind == "wrong":
            raise AssertionError(value)
        return value

    def ask(self, *command: Any) -> Any:
        self.tell(*command)
        return self.answer()

    def end(self) -> None:
        """Kill it, where it lives, and bury it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._answers.close()
        self._socket.close()


def holds(tenant: Tenant, records: Records) -> bool:
    """Whether the records of the tenant are exactly these."""
    found = {
        stored.key[1:].decode(): (stored.metadata["batch"], stored.text)
        for stored in tenant._enter().store.records()
    }
    return found == {key: (number, f"batch {number}") for key, (number, _) in records.held.items()}


def check_counters(tenant: Tenant, records: Records) -> None:
    store = tenant._enter().store
    recount = sum(stored.storage for stored in store.records())
    usage = tenant.usage()
    found = store.counters().vectors, usage.vectors.used, tenant.count()
    assert found == (len(records.held),) * 3, f"{found}, there are {len(records.held)}"
    assert store.counters().storage == usage.storage.used == recount
    assert store.counters().documents == usage.documents.used == len(records.documents)


def check_index(tenant: Tenant, records: Records, seed: int) -> None:
    """Answers are those of an exact sweep, with a filter too; every vector finds itself."""
    if not records.held:
        return
    rng = np.random.default_rng(seed)
    keys = list(records.held)
    numbers = np.array([number for number, _ in records.held.values()])
    matrix = np.stack([vector for _, vector in records.held.values()])
    middle = int(np.median(numbers))
    late = {"batch": {"$gte": middle}}
    for query in rng.standard_normal((2, DIM)).astype(np.float32):
        for condition, kept in ((None, numbers > 0), (late, numbers >= middle)):
            best = np.sort(matrix[kept] @ query)[::-1][:10]
            hits = tenant.search(query, k=10, filter=condition)
            np.testing.assert_allclose(
                [hit.score for hit in hits], best, 1e-4, 1e-5, err_msg=f"filter {condition}"
            )
    for i in rng.choice(len(keys), min(3, len(keys)), replace=False):
        assert np.array_equal(tenant.get(keys[i]).vector, matrix[i])
        assert {hit.id for hit in tenant.search(matrix[i], k=2 * len(keys))} == set(keys)


def check_words(tenant: Tenant, records: Records) -> None:
    """Each word finds what has it, and nothing else."""
    by_word: dict[str, set[str]] = {}
    for key, (number, _) in records.held.items():
        by_word.setdefault(str(number), set()).add(key)
    for word, keys in [("batch", set(records.held)), *list(by_word.items())[-3:]]:
        assert {*tenant.retrieve(word, 10_000, mode="lexical").ids} == keys, (
            f"{word!r} finds others"
        )


class _Server:
    """What a writer does; each command's result is its answer."""

    def __init__(self, data: Path, records: Records) -> None:
        self._data = data
        self._records = records
        self._tenant: Tenant | None = None
        self._asks_words = False

    def arm(self, name: str, nth: int) -> bool:
        arm(name, nth)
        return True

    def words(self) -> bool:
        """Ask for words from now on, which opens the lexical index and keeps it in step."""
        self._asks_words = True
        if self._tenant is not None:
            check_words(self._tenant, self._records)
        return True

    def open(self) -> bool:
        self._database = llmspell.open(self._data, lock_timeout=PATIENCE)
        self._tenant = self._database.tenant(CONFIG.id)
        # Asked for once, a payload index is kept in step, and saved.
        self._tenant.search(np.ones(DIM, np.float32), filter={"batch": 0})
        return True

    def find(self, number: int) -> bool:
        """Whether the batch that was under way is there, as a whole; nothing of it else."""
        assert self._tenant is not None
        # LMDB shows the commit of a writer that died behind its last write to none but the next
        # writer, and to all from then on.
        self._tenant._enter().store._env.write(lambda txn: None)
        if holds(self._tenant, self._records):
            return False
        self._records.apply(batch(number))
        assert holds(self._tenant, self._records), f"batch {number} is half there, or more is gone"
        return True

    def note(self, number: int) -> bool:
        self._records.apply(batch(number))
        return True

    def write(self, number: int) -> bool:
        assert self._tenant is not None
        perform(self._tenant, batch(number))
        self.note(number)
        if self._asks_words:
            check_words(self._tenant, self._records)
        return True

    def check(self, counters: bool, seed: int) -> bool:
        assert self._tenant is not None
        assert holds(self._tenant, self._records), "other records than were acknowledged"
        if counters:
            check_counters(self._tenant, self._records)
        check_index(self._tenant, self._records, seed)
        if self._asks_words:
            check_words(self._tenant, self._records)
        return True

    def close(self) -> bool:
        self._database.close()
        return True


def _serve(line: socket.socket, data: Path, records: Records) -> None:
    """Answer until killed; never returns."""
    try:
        server = _Server(data, records)
        with line.makefile("rb") as commands:
            for command in commands:
                name, *given = json.loads(command)
                try:
                    answer = "done", getattr(server, name)(*given)
                except BaseException:
                    answer = "wrong", f"{name} {given}\n{traceback.format_exc()}"
                line.sendall(json.dumps(answer).encode() + b"\n")
    finally:
        os._exit(0)


class Run:
    """What was acknowledged, and who is alive."""

    def __init__(self, data: Path, seed: int) -> None:
        self._data = data
        self._rng = random.Random(seed)
        self._records = Records()
        self._next = 1
        self._doubtful: int | None = None
        self._writers: list[Writer] = []
        self._words_failed = False
        self._takes = 0.004  #: seconds that a batch took of late

    def cycle(self) -> str:
        """Kill one writer; returns how."""
        rng = self._rng
        name = rng.choice([*POINTS, *["moment"] * 8, *["opening moment"] * 3])
        nth = rng.randint(1, POINTS[name].most) if name in POINTS else 0
        wanted = 1 + (rng.random() < 0.7)
        while len(self._writers) < wanted:
            victim = Writer(self._data, deepcopy(self._records))
            self._writers.append(victim)
            if self._words_failed:
                victim.ask("words")
            if len(self._writers) == wanted and name in {*AT_OPENING, "opening moment"}:
                if nth:
                    victim.ask("arm", name, nth)
                if not self._open(victim, PATIENCE if nth else rng.uniform(0, 0.008)):
                    self._bury(victim)
                    return f"{name}: met"
            else:
                assert self._open(victim, PATIENCE), "a writer died that nobody killed"
        victim = self._writers[-1]
        # An index that nobody asks is in no one's way: who comes behind such a kill asks, too.
        self._words_failed = name.startswith("words")
        if self._words_failed:
            victim.ask("words")
        if name in POINTS and name not in AT_OPENING:
            victim.ask("arm", name, nth)
        was_met = self._write_in_turns(victim, name)
        self._bury(victim)
        self._see_to_the_others()
        return f"{name}: {'met' if was_met else 'passed'}"

    def _open(self, writer: Writer, patience: float) -> bool:
        """Let a new writer look at everything; False where it is dead, or is to be killed now."""
        try:
            writer.tell("open")
            if writer.answer(patience) is None or not self._resolve(writer):
                return False
            return bool(writer.ask("check", True, self._next))
        except TimeoutError:
            return False

    def _resolve(self, writer: Writer) -> bool:
        """Settle whether the batch that a killed writer had under way is there."""
        if self._doubtful is None:
            return True
        is_there = writer.ask("find", self._doubtful)
        if is_there is None:
            return False
        if is_there:
            self._records.apply(batch(self._doubtful))
            for other in self._writers:
                if other is not writer:
                    other.ask("note", self._doubtful)
        self._doubtful = None
        return True

    def _write_in_turns(self, victim: Writer, name: str) -> bool:
        """Write until the victim has died, or is in the middle of a batch and to be killed."""
        calm = self._rng.randint(0, 4)
        for turn in range(TURNS):
            for writer in self._writers:
                number, self._next = self._next, self._next + 1
                is_last = writer is victim and turn >= (calm if name == "moment" else TURNS - 1)
                begun = time.monotonic()
                writer.tell("write", number)
                try:
                    patience = self._rng.uniform(0, self._takes) if is_last else PATIENCE
                    done = writer.answer(patience)
                except TimeoutError:
                    self._doubtful = number
                    return name == "moment"
                if done is None:
                    assert writer is victim, "a writer died that nobody killed"
                    self._doubtful = number
                    return True
                self._takes += 0.1 * (time.monotonic() - begun - self._takes)
                self._records.apply(batch(number))
                for other in self._writers:
                    if other is not writer:
                        other.ask("note", number)
        return False

    def _bury(self, writer: Writer) -> None:
        self._writers.remove(writer)
        writer.end()

    def _see_to_the_others(self) -> None:
        """Who is left finds what the dead one did, and goes on; or closes, or is killed as well."""
        for writer in list(self._writers):
            if self._rng.random() < 0.2:
                self._bury(writer)
                continue
            self._resolve(writer)
            writer.ask("write", self._next)
            self._records.apply(batch(self._next))
            self._next += 1
            # What the dead one had reserved is given back when the next process opens.
            writer.ask("check", False, self._next)
            if self._rng.random() < 0.3:
                writer.ask("close")
                self._bury(writer)

    def end(self) -> None:
        for writer in list(self._writers):
            self._bury(writer)


def late(data: Path) -> None:
    """A commit that nobody sees before the next one: it comes with that, as a whole."""
    records = Records()
    survivor, victim = Writer(data, records), Writer(data, records)
    for writer in (survivor, victim):
        writer.ask("open")
    for number in range(1, 4):
        survivor.ask("write", number)
        victim.ask("note", number)
    victim.ask("arm", "commit, behind its last write", 1)
    assert victim.ask("write", 4) is None, "it wasn't killed"
    victim.end()
    survivor.ask("check", False, 0)  # as if there had been no fourth
    survivor.ask("note", 4)
    survivor.ask("write", 5)
    survivor.ask("check", False, 0)
    survivor.end()
    for number in range(1, 6):
        records.apply(batch(number))
    heir = Writer(data, records)
    heir.ask("open")
    heir.ask("check", True, 0)
    heir.end()


def main(data: str, seed: str, cycles: str) -> None:
    # Often, so that kills fall into snapshots and trims as well.
    view.SNAPSHOT_ROWS = 60  # type: ignore[misc]
    run = Run(Path(data), int(seed))
    try:
        for _ in range(int(cycles)):
            print(run.cycle(), flush=True)
    finally:
        run.end()


if __name__ == "__main__":
    if sys.argv[2:] == ["late"]:
        late(Path(sys.argv[1]))
    else:
        main(*sys.argv[1:])

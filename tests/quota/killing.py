"""Processes that reserve and settle with short leases, and are killed at random.

Usage: ``python -m tests.quota.killing LEDGER KEY KILLS RESERVATIONS SEED``; it goes on until there
were as many of both, and prints the reservations and the kills.

What a process settled is told by a file of its own, mapped, so that it outlives it: before each
settlement it writes down what it will have kept with it, and after it that it did. Of a killed one,
the last settlement is known or not; what is not known must be all or nothing, of every quota alike.
The sums that are possible are counted, and what the ledger says must be one of them.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import sys
import time
from pathlib import Path

from llmspell.errors import QuotaExceeded, ReservationExpired
from llmspell.quota import Quota, Slot
from llmspell.quota._native import Ledger

PROCESSES = 4
LIMIT = 100_000
LEASE_S = 0.02
# Words of the file: reservations, kept vectors and tokens, and the same with the next settlement.
# Each is written by one store; struct.pack_into() would clear all of them first, and a death just
# then would lose what was settled.
WORDS = 5
MADE, VECTORS, TOKENS, NEXT_VECTORS, NEXT_TOKENS = range(WORDS)
Record = memoryview


def work(slot: Slot, record: Record, seed: int) -> None:
    """Reserve and settle until killed."""
    rng = random.Random(seed)
    for count in range(1, 1 << 62):
        more, much = rng.randrange(1, 50), rng.randrange(1, 50)
        keeps = rng.randrange(8) == 0
        kept_vectors, kept_tokens = (rng.randrange(more), rng.randrange(much)) if keeps else (0, 0)
        try:
            reservation = slot.reserve(
                documents=1, vectors=more, tokens=much, lease=LEASE_S * rng.random() + 1e-4
            )
        except QuotaExceeded:
            continue
        if rng.randrange(200) == 0:
            time.sleep(LEASE_S)  # its lease passes
        record[MADE] = count
        record[NEXT_VECTORS] = record[VECTORS] + kept_vectors
        record[NEXT_TOKENS] = record[TOKENS] + kept_tokens
        try:
            reservation.settle(documents=0, vectors=kept_vectors, tokens=kept_tokens)
        except ReservationExpired:
            record[NEXT_VECTORS], record[NEXT_TOKENS] = record[VECTORS], record[TOKENS]
        else:
            record[VECTORS], record[TOKENS] = record[NEXT_VECTORS], record[NEXT_TOKENS]


def start(slot: Slot, path: Path, seed: int) -> tuple[int, Record]:
    path.write_bytes(bytes(8 * WORDS))
    with path.open("r+b") as file:
        record = memoryview(mmap.mmap(file.fileno(), 8 * WORDS)).cast("Q")
    child = os.fork()
    if child == 0:
        try:
            work(slot, record, seed)
        finally:
            os._exit(1)
    return child, record


def run(path: Path, key: bytes, kills: int, reservations: int, seed: int) -> tuple[int, int]:
    rng = random.Random(seed)
    slot = Ledger(path).slot(key)
    slot.set_limit(Quota.VECTORS, LIMIT)
    slot.set_limit(Quota.TOKENS, LIMIT)
    running: list[tuple[int, Record]] = []
    killed = made = 0
    sums = {(0, 0)}
    while killed < kills or made < reservations or running:
        more = killed + len(running) < kills or made < reservations
        while more and len(running) < PROCESSES:
            seed += 1
            running.append(start(slot, path.with_name(f"record{seed}"), seed))
        time.sleep(rng.random() * 0.02 * max(1, reservations // 2_000 // max(kills, 1)))
        child, record = running.pop(rng.randrange(len(running)))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        killed += 1
        count, *kept = record
        made += count
        sums = {(v + dv, t + dt) for v, t in sums for dv, dt in (kept[:2], kept[2:])}
    check(path, key, sums)
    return made, killed


def check(path: Path, key: bytes, sums: set[tuple[int, int]]) -> None:
    time.sleep(LEASE_S)
    ledger = Ledger(path)
    slot = ledger.slot(key)
    usage = slot.usage()
    found = usage.vectors.used, usage.tokens.used
    assert usage.documents.used == 0, usage
    assert found in sums, (found, sorted(sums)[:9])
    assert ledger.sweep() == 0
    for quota, used in zip((Quota.VECTORS, Quota.TOKENS), found, strict=True):
        assert used <= LIMIT
        slot.charge(quota, LIMIT - used)
        try:
            slot.charge(quota)
        except QuotaExceeded:
            continue
        raise AssertionError(f"{quota.limit_name} admitted more than {LIMIT}")


if __name__ == "__main__":
    print(*run(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), *map(int, sys.argv[3:])))

"""Threads that use up every quota of one slot, and print what they were admitted of each.

Usage: ``python -m tests.quota.hammer LEDGER TIME ROUNDS``; prints "ready", waits for a line, and
prints a number for each quota.
"""

from __future__ import annotations

import sys
import threading

from llmspell.errors import QuotaExceeded
from llmspell.quota import Quota, Slot
from llmspell.quota._native import Ledger

KEY = b"k" * 16
HELD = [quota for quota in Quota if quota not in (Quota.API_CALLS, Quota.QUERIES)]


def hammer(slot: Slot, at: int, rounds: int, thread: int, admitted: list[int]) -> None:
    for i in range(rounds * len(Quota)):
        quota, amount = Quota((i + thread) % len(Quota)), 1 + i % 3
        keeps = i % 4
        try:
            if quota not in HELD or i % 2:
                slot.charge_at(quota, amount, at)
                if quota not in HELD or keeps:
                    admitted[quota] += amount
                else:
                    slot.refund(quota, amount)
            else:
                name = quota.name.lower()
                kept = min(keeps, amount)
                slot.reserve(**{name: amount}).settle(**{name: kept})
                admitted[quota] += kept
        except QuotaExceeded:
            continue


def main(path: str, at: int, rounds: int) -> None:
    slot = Ledger(path).slot(KEY)
    counts = [[0] * len(Quota) for _ in range(4)]
    threads = [
        threading.Thread(target=hammer, args=(slot, at, rounds, i, mine))
        for i, mine in enumerate(counts)
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*(sum(column) for column in zip(*counts, strict=True)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

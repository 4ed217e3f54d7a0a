"""A host that charges every quota of one tenant, in two threads, and writes down what it was let.

Usage: ``python -m tests.quota.shared_host URL RECORD LEASE LEASE_SECONDS WHEN_AWAY QUOTAS``.
It prints "ready", starts at a line on stdin, and closes its ledger at the next.

RECORD is a file, so that it outlives the host: for each thread and quota, what was admitted.
"""

from __future__ import annotations

import mmap
import random
import sys
import threading
from pathlib import Path
from typing import cast

from llmspell.errors import LedgerUnavailable, QuotaExceeded
from llmspell.quota import Quota, SharedLedger, SharedSlot
from llmspell.quota.shared import WhenAway

KEY = b"k" * 16
THREADS = 2
WORDS = THREADS * len(Quota)


def admitted(record: Path) -> list[int]:
    """What a host was admitted of each quota so far."""
    words = memoryview(record.read_bytes()).cast("Q")
    return [sum(words[quota :: len(Quota)]) for quota in Quota]


def work(
    slot: SharedSlot, words: memoryview, thread: int, quotas: list[Quota], stop: threading.Event
) -> None:
    rng = random.Random(thread)
    while not stop.is_set():
        quota, amount, way = rng.choice(quotas), rng.randrange(1, 4), rng.randrange(6)
        word = thread * len(Quota) + quota
        try:
            if quota < Quota.API_CALLS and way == 0:
                name = quota.name.lower()
                slot.reserve(**{name: amount}).settle(**{name: 1})
                words[word] += 1
            elif quota < Quota.API_CALLS and way == 1:
                slot.charge(quota, amount)
                slot.refund(quota, amount)
            else:
                slot.charge(quota, amount)
                words[word] += amount
        except (QuotaExceeded, LedgerUnavailable):
            stop.wait(0.001)


def main(
    url: str, record: str, lease: int, lease_seconds: float, when_away: str, quotas: str
) -> None:
    path = Path(record)
    path.write_bytes(bytes(8 * WORDS))
    with path.open("r+b") as file:
        words = memoryview(mmap.mmap(file.fileno(), 8 * WORDS)).cast("Q")
    ledger = SharedLedger(
        url, lease=lease, lease_seconds=lease_seconds, when_away=cast(WhenAway, when_away)
    )
    slot, stop = ledger.slot(KEY), threading.Event()
    chosen = [Quota[name] for name in quotas.split(",")]
    threads = [
        threading.Thread(target=work, args=(slot, words, thread, chosen, stop))
        for thread in range(THREADS)
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    ledger.close()


if __name__ == "__main__":
    main(*sys.argv[1:3], int(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:])  # type: ignore[call-arg]

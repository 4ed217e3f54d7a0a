"""Flips bits of a ledger's file, before it is opened and while it is, and uses it.

Usage: ``python -m tests.quota.flipping DIRECTORY FLIPS SEED``. Any error of llmspell will do; a
signal, another error or a count beyond its range won't. Prints the flips, and how many uses went
well.
"""

from __future__ import annotations

import os
import random
import sys
from contextlib import suppress
from pathlib import Path

from llmspell.config import QuotaLimits
from llmspell.errors import LlmspellError
from llmspell.quota import Quota
from llmspell.quota._native import Ledger

KEYS = [bytes([i]) * 16 for i in range(4)]
LIMITS = QuotaLimits(max_queries_per_second=100, max_tokens_per_day=1_000, max_cost_per_month=1.0)
RANGES = dict.fromkeys(Quota, 1 << 48) | dict.fromkeys((Quota.EMBEDDINGS, Quota.TOKENS), 1 << 36)
HEADER = 4_096


def sample(path: Path) -> bytes:
    """A file with use of every quota, open reservations and settled ones."""
    ledger = Ledger(path, 8)
    slots = [ledger.slot(key) for key in KEYS]
    for slot in slots:
        slot.set_limits(LIMITS)
        slot.charge_all(*((quota, 1) for quota in Quota))
        slot.reserve(vectors=2, tokens=3).settle()
    held = [slot.reserve(documents=1, storage=9, tokens=3, cost=2) for slot in slots]
    assert len(held) == len(KEYS)
    return path.read_bytes()


def blocks_in_use(content: bytes) -> list[int]:
    """Where holds and slots begin that aren't empty."""
    return [at for at in range(HEADER, len(content), 256) if any(content[at : at + 256])]


def place(size: int, used: list[int], rng: random.Random) -> int:
    """Anywhere, but mostly where something is."""
    where = rng.random()
    if where < 0.3:
        return rng.randrange(size)
    if where < 0.4:
        return rng.randrange(128)
    return rng.choice(used) + rng.randrange(256)


def use(ledger: Ledger) -> None:
    for key in KEYS:
        slot = ledger.slot(key)
        with suppress(LlmspellError):
            slot.charge_all(*((quota, 1) for quota in Quota))
        with suppress(LlmspellError), slot.reserve(vectors=1, storage=5, tokens=1) as reservation:
            reservation.renew()
        with suppress(LlmspellError):
            slot.reserve(documents=1, cost=1, queries=1, lease=1e-6).cancel()
        slot.refund(Quota.TOKENS, 1)
        for quota in Quota:
            assert 0 <= slot.read(quota)[0] < RANGES[quota], (quota, slot.read(quota))
        slot.publish(slot.log_head)
        slot.set_levels(1, 2, 3, 4)
        slot.set_limits(LIMITS)
    ledger.sweep()


def flip(file: int, at: int, bit: int) -> None:
    os.pwrite(file, bytes([os.pread(file, 1, at)[0] ^ 1 << bit]), at)


def run(directory: Path, flips: int, seed: int) -> tuple[int, int]:
    rng = random.Random(seed)
    content = sample(directory / "sample")
    used = blocks_in_use(content)
    path = directory / "ledger"
    done = uses = 0
    while done < flips:
        path.write_bytes(content)
        with path.open("r+b") as file:
            for _ in range(4):
                flip(file.fileno(), place(len(content), used, rng), rng.randrange(8))
            with suppress(LlmspellError):
                ledger = Ledger(path, 8)
                use(ledger)
                for _ in range(4):
                    flip(file.fileno(), place(len(content), used, rng), rng.randrange(8))
                    use(ledger)
                    uses += 1
        done += 8
    return done, uses


if __name__ == "__main__":
    print(*run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

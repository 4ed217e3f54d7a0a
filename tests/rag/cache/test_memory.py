"""What memory keeps, within its bounds and counted to the byte."""

from __future__ import annotations

import sys

import numpy as np
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.rag.cache.compartment import Compartment
from llmspell.rag.cache.entry import Made
from llmspell.rag.cache.memory import ENTRY_BYTES, MemoryTier
from llmspell.rag.cache.stats import Counters

ACME = Compartment(b"acme", None)


def key(number: int) -> bytes:
    return blake3(b"%d" % number).digest()


def made(number: int, dim: int = 8, at_us: int = 0) -> Made:
    return Made(np.full(dim, number, np.float32), at_us)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from([4, 64, 900]))),
    st.integers(1, 12),
)
def test_what_is_held_is_right_within_bounds_and_counted_to_the_byte(
    steps: list[tuple[bool, int, int]], most: int
) -> None:
    tier = MemoryTier(8_000, most, Counters())
    last: dict[int, Made] = {}
    for is_put, number, dim in steps:
        if is_put:
            last[number] = made(number, dim)
            tier.put(key(number), last[number], ACME)
        else:
            found = tier.get(key(number), -1)
            assert found is None or found is last[number]
        held = [one for n in last if (one := tier.get(key(n), -1)) is not None]
        assert len(tier) == len(held) <= most
        assert tier.size == sum(one.vector.nbytes + ENTRY_BYTES for one in held) <= 8_000


def test_scan_of_new_texts_leaves_those_that_are_asked_for() -> None:
    tier = MemoryTier(1 << 20, 100, Counters())
    for _ in range(20):
        for number in range(50):
            if tier.get(key(number), -1) is None:
                tier.put(key(number), made(number), ACME)
    for number in range(1_000, 6_000):
        tier.put(key(number), made(number), ACME)
    assert sum(tier.get(key(number), -1) is not None for number in range(50)) >= 45


def test_evicted_ones_are_counted() -> None:
    counters = Counters()
    tier = MemoryTier(1 << 20, 10, counters)
    for number in range(100):
        tier.put(key(number), made(number), ACME)
    assert counters.evicted.value == 100 - len(tier)


def test_old_ones_are_dropped() -> None:
    tier = MemoryTier(1 << 20, 10, Counters())
    tier.put(key(1), made(1, at_us=5), ACME)
    assert tier.get(key(1), 5) is not None
    assert tier.get(key(1), 6) is None
    assert (len(tier), tier.size) == (0, 0)


def test_keys_that_begin_alike_are_told_apart() -> None:
    tier = MemoryTier(1 << 20, 10, Counters())
    one, other = b"x" * 8 + b"1" * 24, b"x" * 8 + b"2" * 24
    tier.put(one, made(1), ACME)
    assert tier.get(other, -1) is None
    tier.put(other, made(2), ACME)
    assert tier.get(one, -1) is None
    assert len(tier) == 1


def test_forgotten_compartment_keeps_nothing_and_takes_nothing() -> None:
    tier, acme, other = MemoryTier(1 << 20, 10, Counters()), Compartment(b"a", None), ACME
    tier.put(key(1), made(1), acme)
    tier.put(key(2), made(2), other)
    tier.forget(acme)
    tier.put(key(3), made(3), acme)
    assert [tier.get(key(n), -1) is not None for n in (1, 2, 3)] == [False, True, False]


def test_objects_around_a_vector_are_within_what_is_counted_for_them() -> None:
    numbers = np.ones(8, np.float32)
    one = Made(numbers, 1 << 60)
    around = [numbers.copy(), one, (b"", one, ACME), bytes(32), 1 << 60, 1 << 60]
    beside = sum(map(sys.getsizeof, around)) - numbers.nbytes
    assert beside + 110 <= ENTRY_BYTES  # and its place in the dict, where that has just grown

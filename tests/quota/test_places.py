"""Bounds on what runs at one time: never more than the limit, and no place is lost."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from llmspell.quota import HeldPlaces, Places
from llmspell.tools.threads import begin
from tests.collected import ended_within, left_pending


def test_places_are_never_taken_twice_and_never_lost() -> None:
    places = Places(3)
    inside, most = 0, 0
    lock = threading.Lock()

    def once(number: int) -> bool:
        nonlocal inside, most
        place = places.take(0.0005 if number % 3 else 60)
        if place is None:
            return False
        with lock:
            inside += 1
            most = max(most, inside)
        with lock:
            inside -= 1
        place.give_back()
        place.give_back()
        return True

    with ThreadPoolExecutor(12) as threads:
        done = list(threads.map(once, range(600)))
    assert all(done[::3])
    assert most <= 3
    assert places.taken == 0


def test_a_place_goes_past_a_loop_that_was_closed_with_tasks_in_line() -> None:
    places = Places(1)
    held = places.take(0)
    assert held is not None
    loop = asyncio.new_event_loop()
    left = loop.create_task(places.atake(60))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    async def run() -> None:
        waiting = asyncio.create_task(places.atake(60))
        await asyncio.sleep(0)
        held.give_back()
        place = await waiting
        assert place is not None
        place.give_back()

    asyncio.run(run())
    assert places.taken == 0
    left._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be pending


def test_a_place_of_a_call_that_the_collector_ends_goes_to_who_asks_at_that_moment() -> None:
    places = Places(1)

    class Line(deque[Any]):
        def append(self, waiter: Any) -> None:
            super().append(waiter)
            gc.collect()

    places._waiting = Line()

    async def holds(at: asyncio.Event) -> None:
        place = await places.atake(0)
        assert place is not None
        try:
            at.set()
            await asyncio.Future()
        finally:
            place.give_back()

    with left_pending(holds):
        assert begin(lambda: places.take(20)).result(20) is not None


def test_a_place_that_comes_back_at_any_moment_of_who_stops_waiting_is_not_lost() -> None:
    def is_within(moment: int) -> bool:
        places, held = Places(1), HeldPlaces()
        assert held.take([places], 0)
        found = HeldPlaces()
        is_there = ended_within(lambda: found.take([places], 0), held.give_back, moment)
        held.give_back()
        found.give_back()
        assert not places.taken, moment
        return is_there

    assert sum(1 for _ in itertools.takewhile(is_within, itertools.count())) > 20


def test_a_task_that_is_cancelled_in_line_takes_no_place() -> None:
    async def run() -> None:
        places = Places(1)
        held = await places.atake(0)
        waiting = asyncio.create_task(places.atake(60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert held is not None
        held.give_back()
        assert places.taken == 0
        assert await places.atake(0) is not None
        assert await places.atake(0.01) is None

    asyncio.run(run())


def test_places_of_several_bounds_are_held_all_or_none() -> None:
    bounds = [Places(2), Places(1)]

    async def held_by_a_task() -> bool:
        return await HeldPlaces().atake(bounds, 0.01)

    held = HeldPlaces()
    assert held.take(bounds, 0)
    assert not HeldPlaces().take(bounds, 0.01)
    assert not asyncio.run(held_by_a_task())
    assert [places.taken for places in bounds] == [1, 1]
    held.give_back()
    held.give_back()
    assert [places.taken for places in bounds] == [0, 0]


def test_a_task_that_is_cancelled_at_the_second_bound_leaves_the_first() -> None:
    async def run() -> None:
        bounds = [Places(1), Places(1)]
        other = await bounds[1].atake(0)
        waiting = asyncio.create_task(HeldPlaces().atake(bounds, 60))
        await asyncio.sleep(0)
        assert bounds[0].taken == 1
        waiting.cancel()
        await asyncio.wait([waiting])
        assert bounds[0].taken == 0
        assert other is not None
        other.give_back()
        assert bounds[1].taken == 0

    asyncio.run(run())

"""Call quotas, beside a model that remembers every call; and places, under many threads."""

from __future__ import annotations

import asyncio
import gc

from hypothesis import example, given
from hypothesis import strategies as st

from llmspell.tools.policy import CallQuota
from llmspell.tools.tally import Tallies, Tally
from llmspell.tools.threads import begin
from tests.collected import left_pending


@given(
    st.integers(1, 4),
    st.floats(0.5, 10),
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["a", "b"])), max_size=30),
)
@example(1, 1.7017759449089072, [(2.964609214020889, "a"), (1.7017759449089072, "a")])
def test_never_more_calls_in_any_stretch_than_the_quota(
    calls: int, seconds: float, steps: list[tuple[float, str]]
) -> None:
    quotas = {"a": CallQuota(calls=calls, seconds=seconds), "*": CallQuota(calls=5, seconds=7)}
    now = 0.0
    tally = Tally(lambda: now)
    taken: list[tuple[float, str]] = []
    for pause, tool in steps:
        now += pause
        of_a = [at for at, which in taken if which == "a" and at + seconds > now]
        of_all = [at for at, _ in taken if at + 7 > now]
        fits = len(of_all) < 5 and (tool != "a" or len(of_a) < calls)
        refusal = tally.take(tool, quotas)
        assert (refusal is None) == fits
        if fits:
            taken.append((now, tool))
        else:
            assert refusal is not None
            assert refusal[1] > 0


def test_tenants_that_have_nothing_to_remember_are_forgotten() -> None:
    tallies = Tallies()
    first = tallies.of("t0", 1)
    for number in range(1_100):
        tallies.of(f"t{number}", 1)
    assert tallies.of("t0", 1) is first  # it was asked for a moment ago
    assert tallies.of("t0", 2) is not first


def test_a_tally_is_idle_when_its_quotas_and_places_are_free() -> None:
    now = 0.0
    tally = Tally(lambda: now)
    tally.take("a", {"a": CallQuota(calls=1, seconds=100)})
    place = tally.places(1).take(0)
    assert place is not None
    now = 101.0
    assert not tally.is_idle()
    place.give_back()
    assert tally.is_idle()
    now = 99.0
    assert not tally.is_idle()


def test_a_call_that_the_collector_ends_is_forgotten_while_another_is_counted() -> None:
    def collecting() -> float:
        gc.collect()
        return 2.0

    tally = Tally(collecting)
    quotas = {"*": CallQuota(calls=1, seconds=60)}

    async def calls(at: asyncio.Event) -> None:
        tally.take("a", quotas, 1.0)
        try:
            at.set()
            await asyncio.Future()
        finally:
            tally.give_back("a", quotas, 1.0)

    with left_pending(calls):
        begin(tally.keep).result(20)
    assert tally.take("a", quotas, 2.0) is None


def test_of_calls_that_are_not_made_their_own_time_is_forgotten() -> None:
    tally, quotas = Tally(lambda: 0.0), {"a": CallQuota(calls=2, seconds=10)}
    assert tally.take("a", quotas, 1.0) is None
    assert tally.take("a", quotas, 5.0) is None
    tally.give_back("a", quotas, 1.0)
    assert tally.take("a", quotas, 6.0) is None
    # The one at 5 s counts still.
    assert tally.take("a", quotas, 11.5) == ("a", 3.5)

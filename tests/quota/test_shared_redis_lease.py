"""What a host may charge of a lease: its end, the end of a period, and levels set meanwhile."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from llmspell.quota import Quota
from llmspell.quota.lease import Granted, Items, Leases, Sent
from llmspell.tools.threads import begin
from tests.collected import ended_within, left_pending

START = 1_000_000_000_000
LEASE_NS = 10_000_000_000
END = START + LEASE_NS
TOKENS, VECTORS = Quota.TOKENS, Quota.VECTORS


def report(leases: Leases, now: int = START, *, idle: bool = False) -> list[Sent]:
    return leases.request([], {}, now, idle=idle, leaving=False)


def grant(
    leases: Leases,
    sent: Sequence[Sent],
    units: int = 0,
    *,
    gen: int = 1,
    left_us: int = -1,
    first: bool = False,
) -> None:
    parts = [Granted(gen, units, 0, 0, -1, False, left_us) for _ in Quota]
    leases.receive(sent, parts, START, END, first=first)


@pytest.fixture
def leases() -> Leases:
    """Ten units of every quota in generation 1."""
    leases = Leases(20)
    grant(leases, report(leases), 10, first=True)
    return leases


def test_all_that_is_held_may_be_charged_and_no_more(leases: Leases) -> None:
    assert leases.take([(TOKENS, 6)], START)
    assert not leases.take([(VECTORS, 1), (TOKENS, 5)], START)
    assert leases.take([(VECTORS, 10), (TOKENS, 4)], START)
    assert not leases.take([(TOKENS, 1)], START)


def test_a_lease_that_has_ended_is_not_charged(leases: Leases) -> None:
    assert leases.take([(TOKENS, 1)], END - 1)
    assert not leases.take([(TOKENS, 1)], END)
    assert [sent.keep for sent in report(leases, END)] == [0] * len(Quota)
    assert not leases.take([(TOKENS, 1)], START), "what was told to be let go came back"


def test_a_window_s_lease_ends_with_its_period(leases: Leases) -> None:
    grant(leases, report(leases), left_us=1_000_000)
    period_end = START + 1_000_000_000
    assert leases.take([(TOKENS, 1)], period_end - 1)
    assert not leases.take([(TOKENS, 1)], period_end)


def test_use_of_a_window_doesn_t_go_over_into_the_next(leases: Leases) -> None:
    leases.take([(TOKENS, 3)], START)
    leases.take([(TOKENS, 2)], START, reserve=True)
    gens = leases.gens()
    grant(leases, report(leases), 4, gen=2)
    items: Items = [(TOKENS, 2)]
    leases.settle(items, {TOKENS: 2}, gens, START, covered=True)
    now = report(leases)[TOKENS]
    assert (now.gen, now.used, now.keep) == (2, 0, 4)


def test_what_is_charged_while_a_level_is_set_is_reported_on_top(leases: Leases) -> None:
    leases.take([(VECTORS, 3)], START)
    sent = report(leases)
    leases.take([(VECTORS, 2)], START)  # the request is under way
    grant(leases, sent, gen=2)
    now = report(leases)[VECTORS]
    assert (now.gen, now.used, now.keep) == (2, 2, 5)


def test_what_was_put_aside_in_a_period_is_not_charged_in_the_next(leases: Leases) -> None:
    items: Items = [(TOKENS, 15)]
    aside = leases.put_aside(items, START)
    sent = leases.request(items, aside, START, idle=False, leaving=False)
    assert (sent[TOKENS].want, sent[TOKENS].asked, sent[TOKENS].keep) == (5, 15, 10)
    grant(leases, sent, 5, gen=2)
    assert not leases.finish(items, aside, START, reserve=False)
    leases.end_aside(aside, START)
    now = report(leases)[TOKENS]
    assert (now.used, now.keep) == (0, 5)


def test_what_is_held_and_used_is_what_was_granted_whatever_is_done(leases: Leases) -> None:
    leases.take([(TOKENS, 5)], START)
    leases.refund(TOKENS, 2, START)
    leases.take([(TOKENS, 4)], START, reserve=True)
    leases.settle([(TOKENS, 4)], {TOKENS: 1}, leases.gens(), START, covered=True)
    now = report(leases)[TOKENS]
    assert (now.used, now.keep) == (4, 6)


def test_a_refund_of_more_than_the_lease_is_not_held_on_to(leases: Leases) -> None:
    leases.refund(VECTORS, 1_000, START)
    now = report(leases)[VECTORS]
    assert (now.used, now.keep) == (-1_000, 20)


def test_what_is_not_touched_between_two_beats_is_returned(leases: Leases) -> None:
    leases.take([(TOKENS, 1)], START)
    sent = report(leases, idle=True)
    assert (sent[TOKENS].keep, sent[VECTORS].keep) == (9, 0)
    grant(leases, sent)
    assert report(leases, idle=True)[TOKENS].keep == 0


def test_a_host_that_begins_again_charges_nothing_it_held_and_reports_what_is_new(
    leases: Leases,
) -> None:
    leases.take([(TOKENS, 3)], START)
    grant(leases, report(leases))
    leases.take([(TOKENS, 2)], START)
    leases.begin_again()
    assert not leases.take([(TOKENS, 1)], START)
    now = report(leases)[TOKENS]
    assert (now.used, now.keep) == (2, 0)


def test_a_refund_of_yesterday_opens_nothing_today(leases: Leases) -> None:
    leases.take([(TOKENS, 10)], START)
    grant(leases, report(leases), 4, gen=2)
    leases.take([(TOKENS, 1)], START)
    leases.refund(TOKENS, 10, START)
    now = report(leases)[TOKENS]
    assert (now.used, now.keep) == (0, 4)


def test_what_was_used_is_needed_until_its_period_ends(leases: Leases) -> None:
    period_end = START + 1_000_000_000
    grant(leases, report(leases), left_us=1_000_000)
    assert leases.is_needed(END), "units are out"
    leases.take([(TOKENS, 3)], START)
    for _ in range(2):  # nothing was touched between two beats
        sent = report(leases, idle=True)
        grant(leases, sent, left_us=1_000_000)
    assert leases.is_needed(period_end - 1)
    assert not leases.is_needed(period_end)
    leases.refund(VECTORS, 1, END)
    grant(leases, report(leases, END), left_us=1_000_000)
    assert leases.is_needed(period_end), "a level has no period"


def test_a_reservation_that_the_collector_ends_is_settled_while_the_server_is_told(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert leases.take([(TOKENS, 4)], START, reserve=True)

    async def calls(at: asyncio.Event) -> None:
        try:
            at.set()
            await asyncio.Future()
        finally:
            leases.settle([(TOKENS, 4)], {TOKENS: 1}, leases.gens(), START, covered=True)

    def collecting(*counts: Any) -> Sent:
        gc.collect()
        return Sent(*counts)

    with left_pending(calls):
        monkeypatch.setattr("llmspell.quota.lease.Sent", collecting)
        begin(lambda: report(leases)).result(20)
    monkeypatch.undo()
    assert report(leases)[TOKENS][1:3] == (1, 9)


@pytest.mark.parametrize(
    "call",
    [
        lambda leases: leases.settle(
            [(VECTORS, 3)], {VECTORS: 1}, leases.gens(), START, covered=True
        ),
        lambda leases: leases.refund(VECTORS, 2, START),
        lambda leases: leases.take([(VECTORS, 1)], START),
        lambda leases: report(leases, idle=True),
    ],
)
def test_a_reservation_that_ends_at_any_moment_of_another_call_is_counted_whole(
    call: Callable[[Leases], object],
) -> None:
    def outcome(moment: int) -> tuple[bool, Sent]:
        leases = Leases(9)
        grant(leases, report(leases), 9, first=True)
        assert leases.take([(VECTORS, 2)], START)
        assert leases.take([(VECTORS, 3)], START, reserve=True)
        assert leases.take([(VECTORS, 3)], START, reserve=True)
        items, gens = [(VECTORS, 3)], leases.gens()

        def end() -> None:
            leases.settle(items, {VECTORS: 1}, gens, START, covered=True)

        is_within = ended_within(lambda: call(leases), end, moment)
        if not is_within:
            end()
        return is_within, report(leases)[VECTORS]

    behind = outcome(sys.maxsize)[1]
    for moment in itertools.count():
        is_within, told = outcome(moment)
        assert told == behind, moment
        if not is_within:
            break
    assert moment > 5


def test_what_is_told_is_all_that_is_held_wherever_a_refund_comes_between() -> None:
    def is_within(moment: int) -> bool:
        leases, told = Leases(8), list[Sent]()
        grant(leases, report(leases), 8, first=True)
        assert leases.take([(VECTORS, 4)], START)
        is_there = ended_within(
            lambda: told.extend(report(leases)), lambda: leases.refund(VECTORS, 4, START), moment
        )
        assert told[VECTORS].used + told[VECTORS].keep == 8, moment
        return is_there

    assert sum(1 for _ in itertools.takewhile(is_within, itertools.count())) > 20

"""Several models as one, over servers that fail as their scripts say."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from llmspell import errors
from llmspell.providers import (
    Breaker,
    CallLimits,
    ChatModel,
    ChatResponse,
    OpenAIChat,
    ProviderPool,
    Retry,
    TextDelta,
    deadline,
)
from llmspell.providers.bill import most_usage
from llmspell.providers.breaker import Circuit
from llmspell.providers.gate import Gate
from llmspell.testing import Fault, Reply, Script, ScriptedChatServer
from llmspell.tools.threads import begin
from tests.clock import Clock
from tests.collected import left_pending
from tests.providers.models import ask

SOON = Retry(base=0.001)
BUSY = Fault("status", status=529)


class Rig:
    """Models over servers of their own."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.servers: list[ScriptedChatServer] = []

    def pool(self, *scripts: Script, **given: Any) -> ProviderPool:
        models = []
        for number, script in enumerate(scripts):
            server = self._stack.enter_context(ScriptedChatServer(script))
            self.servers.append(server)
            models.append(
                OpenAIChat("m", api_key="k", base_url=server.openai_url, provider=f"p{number}")
            )
        return self._stack.enter_context(ProviderPool(models, **{"retry": SOON} | given))

    @property
    def asked(self) -> list[int]:
        return [len(server.asked) for server in self.servers]


@pytest.fixture
def rig() -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(stack)


def test_a_pool_is_a_model(rig: Rig) -> None:
    pool = rig.pool("x")
    assert isinstance(pool, ChatModel)
    assert (pool.provider, pool.model_id, pool.complete(ask()).text) == ("p0", "m", "x")


@pytest.mark.parametrize("status", [429, 503, 529])
def test_what_was_refused_is_asked_again(rig: Rig, status: int) -> None:
    fault = Fault("status", status=status)
    pool = rig.pool([fault, fault, fault, "at last"])
    assert pool.complete(ask()).text == "at last"
    (stats,) = pool.stats()
    assert (stats.calls, stats.retries, sum(stats.failures.values())) == (4, 3, 3)


def test_there_are_three_retries_and_no_more(rig: Rig) -> None:
    with pytest.raises(errors.ProviderOverloaded):
        rig.pool(BUSY).complete(ask())
    assert rig.asked == [4]


@pytest.mark.parametrize("fault", [Fault("drop"), Fault("status", status=500), Fault("garbage")])
def test_what_may_have_been_billed_is_asked_again_only_by_choice(rig: Rig, fault: Fault) -> None:
    with pytest.raises(errors.ProviderError) as caught:
        rig.pool([fault, "no"], ["nor this"]).complete(ask())
    assert caught.value.is_sent and rig.asked == [1, 0]
    chosen = rig.pool([fault, "yes"], retry=Retry(base=0.001, sent=True))
    assert chosen.complete(ask()).text == "yes"


@pytest.mark.parametrize("status", [400, 401])
def test_a_refusal_of_the_request_or_the_key_is_not_retried(rig: Rig, status: int) -> None:
    with pytest.raises(errors.ProviderError):
        rig.pool([Fault("status", status=status), "no"]).complete(ask())
    assert rig.asked == [1]


def test_retry_after_is_waited_for_and_one_that_is_too_long_ends_it(rig: Rig) -> None:
    error = errors.ProviderRateLimited("x", retry_after=3.0)
    waits = [SOON.wait(error, 0) for _ in range(20)]
    assert all(wait is not None and 3.0 <= wait <= 3.01 for wait in waits)
    slow = Fault("status", status=429, retry_after="3600")
    with pytest.raises(errors.ProviderRateLimited) as caught:
        rig.pool([slow, "no"]).complete(ask())
    assert caught.value.retry_after == 3600 and rig.asked == [1]


def test_a_model_is_left_alone_for_as_long_as_it_asks(rig: Rig) -> None:
    pool = rig.pool([Fault("status", status=429, retry_after="0.2"), "yes"])
    started = time.monotonic()
    assert pool.complete(ask()).text == "yes"
    assert time.monotonic() - started >= 0.2  # no earlier; how much later is the machine's affair


def test_waits_double_with_full_jitter() -> None:
    retry = Retry()
    error = errors.ProviderUnreachable("x")
    for number in range(3):
        waits = [retry.wait(error, number) or 0.0 for _ in range(500)]
        assert 0 <= min(waits) < 0.02 * 2**number
        assert 0.08 * 2**number < max(waits) <= 0.1 * 2**number
    assert retry.wait(error, 3) is None


def test_a_retry_beyond_the_deadline_is_not_waited_for(rig: Rig) -> None:
    slow = Fault("status", status=429, retry_after="3600")
    pool = rig.pool([slow, "no"], retry=Retry(longest=7_200))
    with deadline(600), pytest.raises(errors.ProviderRateLimited):
        pool.complete(ask())


def test_others_are_asked_where_the_first_cannot_answer(rig: Rig) -> None:
    pool = rig.pool(Fault("status", status=401), BUSY, "third")
    answer = pool.complete(ask())
    assert (answer.text, answer.provider) == ("third", "p2")
    assert rig.asked == [1, 4, 1]


def test_where_none_answers_the_error_tells_of_all(rig: Rig) -> None:
    with pytest.raises(errors.ProviderRateLimited) as caught:
        rig.pool(BUSY, Fault("status", status=429), retry=Retry(retries=0)).complete(ask())
    assert "p0/m: ProviderOverloaded" in "".join(caught.value.__notes__)


def test_a_model_that_fails_again_and_again_rests_and_is_tried_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("llmspell.providers.member.Circuit", partial(Circuit, clock=lambda: now))
    script = [BUSY] * 2 + [Fault("status", status=503), "well", "well"]
    breaker = Breaker(failures=2, rest=10)
    pool = rig.pool(script, retry=Retry(retries=0), breaker=breaker)
    for _ in range(2):
        with pytest.raises(errors.ProviderOverloaded):
            pool.complete(ask())
    with pytest.raises(errors.CircuitOpen) as caught:
        pool.complete(ask())
    assert caught.value.retry_after and pool.stats()[0].circuit == "open" and rig.asked == [2]
    now = 10.0
    assert pool.stats()[0].circuit == "half-open"
    with pytest.raises(errors.ProviderOverloaded):  # the one that tries
        pool.complete(ask())
    with pytest.raises(errors.CircuitOpen):
        pool.complete(ask())
    now = 20.0
    assert pool.complete(ask()).text == "well"
    assert pool.stats()[0].circuit == "closed"


def test_refusals_do_not_open_the_circuit(rig: Rig) -> None:
    pool = rig.pool(Fault("status", status=400), breaker=Breaker(failures=1))
    for _ in range(3):
        with pytest.raises(errors.ProviderRefused):
            pool.complete(ask())
    assert pool.stats()[0].circuit == "closed"


def test_a_slow_answer_is_overtaken_by_a_hedge(rig: Rig) -> None:
    pool = rig.pool([Reply("slow", after=30)], "quick", hedge_after=0.05)
    assert pool.complete(ask()).text == "quick"
    first, second = pool.stats()
    assert (first.calls, second.calls, second.hedges) == (1, 1, 1)
    assert first.failures == {"CancelledError": 1} and first.running == 0


def test_a_stream_that_is_late_is_overtaken_by_a_hedge(rig: Rig) -> None:
    pool = rig.pool([Reply("slow", after=30)], "quick", hedge_after=0.05, hedge_streams=True)
    *texts, whole = _streamed(pool)
    assert isinstance(whole, ChatResponse) and whole.text == "quick"
    assert "".join(text.text for text in texts if isinstance(text, TextDelta)) == "quick"
    first, second = pool.stats()
    assert (first.calls, second.calls, second.hedges) == (1, 1, 1)
    assert first.running == second.running == 0


def test_a_stream_whose_hedge_fails_is_waited_for_and_none_is_hedged_unasked(rig: Rig) -> None:
    def late(_: object) -> Reply:
        while rig.asked[1] == 0:  # until the hedge was sent
            threading.Event().wait(0.01)
        return Reply("late", after=0.2)  # and has failed

    pool = rig.pool(late, Fault("drop"), hedge_after=0.05, hedge_streams=True)
    *_, whole = _streamed(pool)
    assert isinstance(whole, ChatResponse) and whole.text == "late" and rig.asked == [1, 1]
    plain = rig.pool([Reply("late", after=0.2)], "never", hedge_after=0.05)
    *_, whole = _streamed(plain)
    assert isinstance(whole, ChatResponse) and whole.text == "late" and rig.asked[2:] == [1, 0]


def test_a_quick_answer_is_not_hedged(rig: Rig) -> None:
    pool = rig.pool("quick", "never", hedge_after=20)
    assert pool.complete(ask()).text == "quick" and rig.asked == [1, 0]


def test_no_more_calls_run_side_by_side_than_the_limit(rig: Rig) -> None:
    running, most, lock = 0, 0, threading.Lock()
    first = threading.Barrier(3)
    numbers = itertools.count()

    def script(_: object) -> Reply:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            number = next(numbers)
        if number < 3:
            first.wait(20)
        threading.Event().wait(0.01)
        with lock:
            running -= 1
        return Reply("x")

    pool = rig.pool(script, limits=CallLimits(concurrency=3))

    async def run() -> None:
        await asyncio.gather(*(pool.acomplete(ask()) for _ in range(20)))
        await pool.aclose()

    asyncio.run(run())
    assert most == 3 and pool.stats()[0].running == 0


def test_who_waits_too_long_for_a_turn_is_told(rig: Rig) -> None:
    told = threading.Event()

    def slow(_: object) -> Reply:
        told.wait(60)
        return Reply("slow")

    pool = rig.pool(slow, limits=CallLimits(concurrency=1, max_wait=0.05), retry=Retry(retries=0))

    async def run() -> None:
        try:
            first = asyncio.create_task(pool.acomplete(ask()))
            while rig.asked == [0]:
                await asyncio.sleep(0.01)
            with pytest.raises(errors.ProviderBusy):
                await pool.acomplete(ask())
            told.set()
            assert (await first).text == "slow"
        finally:
            await pool.aclose()

    asyncio.run(run())
    assert rig.asked == [1]


def test_a_rate_that_is_used_up_refuses_what_would_wait_too_long(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_time_passes = partial(Gate, clock=lambda: 0.0)
    monkeypatch.setattr("llmspell.providers.pool.Gate", no_time_passes)
    pool = rig.pool("x", limits=CallLimits(requests_per_minute=20, max_wait=0.5))
    assert [pool.complete(ask()).text for _ in range(2)] == ["x", "x"]
    with pytest.raises(errors.ProviderBusy) as caught:
        pool.complete(ask())
    assert caught.value.retry_after == pytest.approx(3)
    assert rig.asked == [2]


def test_calls_begin_in_the_order_in_which_they_came_for_their_rate(clock: Clock) -> None:
    limits = CallLimits(requests_per_minute=60, max_wait=600)
    gate = Gate(limits, "m", clock=lambda: clock.ahead)
    begun: list[str] = []

    async def call(name: str) -> None:
        async with gate.turn(0):
            begun.append(name)

    async def main() -> None:
        for number in range(6):  # a tenth of a minute's
            await call(str(number))
        a, b, c = (asyncio.create_task(call(name)) for name in "abc")
        await asyncio.sleep(0)
        c.cancel()  # another may come in its place
        await asyncio.wait([c])
        clock.ahead += 1
        late = asyncio.create_task(call("late"))
        await asyncio.sleep(0)  # it asks before those that wait have seen the time
        with deadline(2.5), pytest.raises(errors.ProviderBusy) as caught:
            await call("never")
        assert caught.value.retry_after == pytest.approx(3)
        await clock.run_out(asyncio.gather(a, b, late))

    clock.run(main())
    assert begun[6:] == ["a", "b", "late"]


def test_those_behind_a_call_that_is_cancelled_move_up(clock: Clock) -> None:
    gate = Gate(CallLimits(tokens_per_minute=600, max_wait=60), "m", clock=lambda: clock.ahead)
    begun: list[str] = []

    async def call(name: str, tokens: int) -> None:
        async with gate.turn(tokens):
            begun.append(name)

    async def main() -> None:
        await call("first", 300)
        large, small = (asyncio.create_task(call(str(most), most)) for most in (300, 10))
        await asyncio.sleep(0)
        with pytest.raises(errors.ProviderBusy) as caught:
            await call("never", 300)
        assert caught.value.retry_after == pytest.approx(30 + 30 + 1)  # all three before it
        large.cancel()
        await asyncio.wait([large])
        late = asyncio.create_task(call("late", 10))
        await clock.run_out(asyncio.gather(small, late))

    clock.run(main())
    assert begun == ["first", "10", "late"]


def test_what_a_pool_does_unless_told_otherwise_is_as_the_reference_says() -> None:
    assert Breaker() == Breaker(failures=5, rest=30)
    assert Retry() == Retry(retries=3, base=0.1, longest=20, sent=False)
    assert CallLimits() == CallLimits(
        concurrency=None, requests_per_minute=None, tokens_per_minute=None, max_wait=30
    )


def test_tokens_of_a_minute_are_counted_by_what_a_call_may_take(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.providers.pool.Gate", partial(Gate, clock=lambda: 0.0))
    most = most_usage(ask(max_tokens=100)).total
    # A tenth of a minute's is two calls; the third would wait for three seconds.
    pool = rig.pool("x", limits=CallLimits(tokens_per_minute=20 * most, max_wait=0.5))
    assert [pool.complete(ask(max_tokens=100)).text for _ in range(2)] == ["x", "x"]
    with pytest.raises(errors.ProviderBusy, match="its rate is used up") as caught:
        pool.complete(ask(max_tokens=100))
    assert caught.value.retry_after == pytest.approx(3)
    assert rig.asked == [2]


def _streamed(pool: ProviderPool) -> list[TextDelta | ChatResponse]:
    async def run() -> list[TextDelta | ChatResponse]:
        try:
            return [event async for event in pool.astream(ask())]
        finally:
            await pool.aclose()

    return asyncio.run(run())


def test_a_stream_falls_back_until_it_has_begun(rig: Rig) -> None:
    *_, whole = _streamed(rig.pool(BUSY, Reply("from the second")))
    assert isinstance(whole, ChatResponse) and whole.text == "from the second"


def test_a_stream_that_breaks_off_is_not_begun_again(rig: Rig) -> None:
    fault = Fault("truncate", reply=Reply("a text that is long enough to be cut in two"))
    pool = rig.pool(fault, "never", retry=Retry(base=0.001, sent=True))
    with pytest.raises(errors.ProviderInterrupted):
        _streamed(pool)
    assert rig.asked == [1, 0] and pool.stats()[0].running == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": ()},
        {"models": ("gpt",)},
        {"hedge_after": 0},
        {"hedge_streams": True},
        {"limits": {"nobody": CallLimits()}},
        {"limits": {"openai": 3}},
        *({"models": OpenAIChat("m", api_key="k")}, {"limits": 3}, {"retry": 3}, {"breaker": 3}),
    ],
)
def test_settings_of_a_pool_are_checked(wrong: dict[str, Any]) -> None:
    models = wrong.pop("models", (OpenAIChat("m", api_key="k"),))
    with pytest.raises(errors.ConfigError):
        ProviderPool(models, **wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(retries=-1),
        lambda: Retry(base=0),
        lambda: Breaker(failures=0),
        lambda: Breaker(rest=float("inf")),
        lambda: CallLimits(concurrency=0),
        lambda: CallLimits(requests_per_minute=0),
    ],
)
def test_settings_are_checked(make: Any) -> None:
    with pytest.raises(errors.ConfigError):
        make()


def test_models_of_a_provider_share_its_limits() -> None:
    with ScriptedChatServer([BUSY, "never"]) as server:
        models = [
            OpenAIChat(name, api_key="k", base_url=server.openai_url, provider="p")
            for name in ("large", "small")
        ]
        limits = {"p": CallLimits(requests_per_minute=1, max_wait=0.1)}
        with (
            ProviderPool(models, retry=Retry(retries=0), limits=limits) as pool,
            pytest.raises(errors.ProviderBusy, match="p: its rate"),
        ):
            pool.complete(ask())
        assert [asked.body["model"] for asked in server.asked] == ["large"]


def test_a_hedge_that_may_be_billed_ends_the_chain(rig: Rig) -> None:
    def late(_: object) -> Fault:
        while rig.asked[1] == 0:  # until the hedge was sent
            threading.Event().wait(0.01)
        threading.Event().wait(0.2)  # and has failed
        return Fault("status", status=429)

    pool = rig.pool(late, Fault("drop"), "never", hedge_after=0.05, retry=Retry(retries=0))
    with pytest.raises(errors.ProviderInterrupted):
        pool.complete(ask())
    assert rig.asked == [1, 1, 0]


def test_only_the_call_that_tries_closes_a_circuit_again() -> None:
    now = 0.0
    circuit = Circuit(Breaker(failures=2, rest=10), "m", clock=lambda: now)
    failure, quota = errors.ProviderOverloaded("x"), errors.InputError("x")
    slow = circuit.enter()
    for _ in range(2):
        circuit.leave(failure, is_probe=circuit.enter())
    circuit.leave(None, is_probe=slow)  # begun before it opened
    assert circuit.state == "open"
    now = 10.0
    for said_nothing in (quota, asyncio.CancelledError()):
        circuit.leave(said_nothing, is_probe=circuit.enter())
        assert circuit.state == "half-open"
    probe = circuit.enter()
    circuit.leave(None, is_probe=slow)
    with pytest.raises(errors.CircuitOpen):
        circuit.enter()
    circuit.leave(errors.ProviderRateLimited("it works"), is_probe=probe)
    assert circuit.state == "closed"


def test_call_that_the_collector_ends_holds_up_no_other_one() -> None:
    def collecting() -> float:
        gc.collect()
        return time.monotonic()

    circuit = Circuit(Breaker(failures=1), "model", clock=collecting)

    async def calls(at: asyncio.Event) -> None:
        is_probe = circuit.enter()
        try:
            at.set()
            await asyncio.Future()
        except BaseException as error:
            circuit.leave(error, is_probe=is_probe)
            raise

    with left_pending(calls):
        failed = errors.ProviderUnreachable("gone")
        begin(lambda: circuit.leave(failed, is_probe=False)).result(20)
    assert circuit.state == "open"

"""Calls within a tenant's operation are paid before they are made, and settled after."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace

import pytest

import llmspell
from llmspell import QuotaLimits, TenantConfig, errors
from llmspell.providers import ChatResponse, Price, deadline
from llmspell.testing import Fault, Reply
from tests.providers.models import ask, kinds, scripted

PRICE = Price(input=100.0, output=1_000.0)


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[llmspell.Tenant]:
    quotas = QuotaLimits(max_tokens_per_day=2_000, max_cost_per_month=1.0)
    with llmspell.open(tmp_path) as database:
        yield database.create_tenant(TenantConfig(id="acme", quotas=quotas))


def _used(tenant: llmspell.Tenant) -> tuple[int, int]:
    usage = tenant.usage()
    return usage.tokens.used, usage.cost.used


@kinds
def test_what_the_provider_says_is_what_is_charged(kind: str, tenant: llmspell.Tenant) -> None:
    reply = Reply("x", input_tokens=30, output_tokens=12)
    with scripted(kind, reply, price=PRICE) as (model, _), tenant.operation():
        model.complete(ask(max_tokens=500))
        model.complete(ask(max_tokens=500))
    assert _used(tenant) == (84, 30_000)


@kinds
def test_a_stream_is_charged_too(kind: str, tenant: llmspell.Tenant) -> None:
    async def run() -> None:
        try:
            async for event in model.astream(ask(max_tokens=500)):
                assert isinstance(event, ChatResponse) or _used(tenant)[0] >= 500
        finally:
            await model.aclose()

    with (
        scripted(kind, Reply("some text", output_tokens=4), price=PRICE) as (model, _),
        tenant.operation(),
    ):
        asyncio.run(run())
    assert _used(tenant)[0] == 14


@kinds
@pytest.mark.parametrize("most", [{"max_tokens": 2_001}, {"max_tokens": 1_500}])
def test_a_call_that_could_cost_more_than_is_left_is_not_made(
    kind: str, most: dict[str, int], tenant: llmspell.Tenant
) -> None:
    with scripted(kind, "x", price=PRICE) as (model, server):
        with tenant.operation(), pytest.raises(errors.QuotaExceeded):
            model.complete(ask(**most))
        assert server.asked == []
    assert _used(tenant) == (0, 0)


@kinds
@pytest.mark.parametrize("price, most, each", [(None, 2_000, 42), (PRICE, 1_000, 15)])
def test_an_answer_is_shortened_to_what_is_left_where_it_may_be(
    kind: str, price: Price | None, most: int, each: int, tenant: llmspell.Tenant
) -> None:
    reply = Reply("x", input_tokens=30, output_tokens=12)
    with scripted(kind, reply, price=price) as (model, server), tenant.operation():
        for number in range(3):
            model.complete(ask(max_tokens=3_000, min_tokens=100))
            body = server.asked[number].body
            sent = body.get("max_tokens") or body["max_completion_tokens"]
            left = most - each * number
            assert left - 100 < sent < left
        with pytest.raises(errors.QuotaExceeded):
            model.complete(ask(max_tokens=3_000, min_tokens=1_950))
        assert len(server.asked) == 3
    assert _used(tenant)[0] == 126


@kinds
def test_a_prompt_is_priced_by_the_bytes_that_tokens_are_said_to_have(
    kind: str, tenant: llmspell.Tenant
) -> None:
    long = ask("a word " * 600, max_tokens=100)
    reply = Reply("x", input_tokens=1_200, output_tokens=12)
    with scripted(kind, reply) as (model, server), tenant.operation():
        with pytest.raises(errors.QuotaExceeded):
            model.complete(long)
        assert server.asked == []
    with scripted(kind, reply, bytes_per_token=3) as (model, server), tenant.operation():
        model.complete(long)
    assert _used(tenant)[0] == 1_212
    with scripted(kind, "x") as (_, _), pytest.raises(errors.ConfigError, match="bytes_per_token"):
        type(model)("m", api_key="sk-x", bytes_per_token=0.5)


@kinds
def test_a_refused_call_costs_nothing_and_a_lost_one_all(
    kind: str, tenant: llmspell.Tenant
) -> None:
    with (
        scripted(kind, [Fault("status", status=429), Fault("drop")]) as (model, _),
        tenant.operation(),
    ):
        with pytest.raises(errors.ProviderRateLimited):
            model.complete(ask(max_tokens=300))
        assert _used(tenant)[0] == 0
        with pytest.raises(errors.ProviderInterrupted):
            model.complete(ask(max_tokens=300))
    assert 300 < _used(tenant)[0] < 400


@kinds
def test_outside_of_an_operation_nobody_is_charged(kind: str, tenant: llmspell.Tenant) -> None:
    with scripted(kind, "x", price=PRICE) as (model, _):
        model.complete(ask())
    assert _used(tenant) == (0, 0)


@kinds
def test_what_fails_before_it_is_sent_costs_nothing(kind: str, tenant: llmspell.Tenant) -> None:
    with scripted(kind, "x", price=PRICE) as (model, _):
        model.close()
        with tenant.operation(), pytest.raises(errors.ClosedError):
            model.complete(ask(max_tokens=100))
    assert _used(tenant) == (0, 0)


@kinds
def test_a_stream_that_the_deadline_ends_while_it_is_read_costs_all(
    kind: str, tenant: llmspell.Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        with deadline(60) as limit:
            async with aclosing(model.astream(ask(max_tokens=300))) as events:
                await anext(events)
                # Its clock goes on while the answer is read.
                clock = SimpleNamespace(monotonic=lambda: limit.at + 1)
                monkeypatch.setattr(sys.modules["llmspell.remote.deadline"], "time", clock)
                with pytest.raises(errors.ProviderTimeout) as caught:
                    await anext(events)
                assert caught.value.is_sent
        await model.aclose()

    reply = Reply("a text of several parts")
    with scripted(kind, reply) as (model, _), tenant.operation():
        model.complete(ask(max_tokens=300))  # imports the SDK
        before = _used(tenant)[0]
        asyncio.run(run())
    assert _used(tenant)[0] - before > 300


def test_a_stream_that_is_left_costs_all_though_its_operation_ends_before_it_is_closed(
    tenant: llmspell.Tenant,
) -> None:
    async def run() -> None:
        events = model.astream(ask(max_tokens=300))
        with tenant.operation():
            await anext(events)
        await events.aclose()
        await model.aclose()

    with scripted("openai", Reply("a text of several parts")) as (model, _):
        asyncio.run(run())
    assert 300 < _used(tenant)[0] < 400


def test_a_call_that_is_cancelled_while_it_is_paid_holds_nothing(tenant: llmspell.Tenant) -> None:
    async def run() -> None:
        with operation._lock:  # what pays waits for it
            task = asyncio.create_task(model.acomplete(ask(max_tokens=1_900)))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        while _used(tenant)[0]:
            await asyncio.sleep(0.01)
        await model.aclose()

    with scripted("openai", "x") as (model, server), tenant.operation() as operation:
        asyncio.run(asyncio.wait_for(run(), 60))
        assert server.asked == []

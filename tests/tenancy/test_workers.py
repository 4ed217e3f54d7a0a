"""Calls in threads, for those who await them."""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context

import pytest

from llmspell.errors import ClosedError
from llmspell.tenancy.workers import Workers
from llmspell.tools.threads import begin


def test_a_call_that_raises_stop_iteration_is_not_awaited_without_end() -> None:
    async def main() -> None:
        workers = Workers(1)
        try:
            async with asyncio.timeout(60):
                await workers.run(next, iter(()))
        finally:
            await workers.close(lambda: None)

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(main())


def test_a_call_as_another_thread_closes_them_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(1)

    def closed_meanwhile() -> Context:
        begin(lambda: asyncio.run(workers.close(lambda: None))).result(20)
        return copy_context()

    monkeypatch.setattr("llmspell.tenancy.workers.copy_context", closed_meanwhile)
    with pytest.raises(ClosedError):
        asyncio.run(workers.run(len, ()))

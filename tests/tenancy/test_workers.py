"""Calls in threads, for those who await them."""

from __future__ import annotations

import asyncio

import pytest

from llmspell.tenancy.workers import Workers


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

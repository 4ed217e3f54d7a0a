"""Coroutines that run in a loop of their own, for callers of any thread or loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from llmspell import errors
from llmspell.remote import current_deadline, deadline
from llmspell.remote.background import await_in_background, run_in_background


async def _where() -> tuple[str, bool]:
    await asyncio.sleep(0)
    return threading.current_thread().name, current_deadline() is not None


def test_it_runs_in_one_thread_and_sees_the_deadline_of_its_caller() -> None:
    async def main() -> tuple[str, bool]:
        with deadline(60):
            return await await_in_background(_where())

    with deadline(60):
        from_a_thread = run_in_background(_where())
    assert asyncio.run(main()) == from_a_thread == ("llmspell-remote", True)
    assert run_in_background(_where()) == ("llmspell-remote", False)


def test_cancelling_it_waits_until_it_has_cleaned_up() -> None:
    done: list[str] = []
    begun = threading.Event()

    async def slow() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)
            done.append("cleaned up")

    async def main() -> None:
        task = asyncio.create_task(await_in_background(slow()))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == ["cleaned up"]

    asyncio.run(main())


def test_it_is_refused_where_it_would_wait_for_itself() -> None:
    async def inside() -> None:
        run_in_background(_where(), holds_up=True)

    with pytest.raises(errors.InputError, match="await the async form"):
        run_in_background(inside())
    with pytest.raises(ZeroDivisionError):
        run_in_background(_failing())


async def _failing() -> None:
    raise ZeroDivisionError

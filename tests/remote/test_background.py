"""Coroutines that run in a loop of their own, for callers of any thread or loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import Future

import pytest

from llmspell import errors
from llmspell.remote import background, current_deadline, deadline
from llmspell.remote.background import await_in_background, run_in_background
from llmspell.tools.threads import begin


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


def test_code_that_exits_ends_its_own_call_and_no_other() -> None:
    async def exits() -> None:
        sys.exit(3)

    may_go_on = threading.Event()
    other = Future[object]()

    async def waits() -> str:
        await asyncio.to_thread(may_go_on.wait, 20)
        return "done"

    thread = threading.Thread(target=lambda: other.set_result(run_in_background(waits())))
    thread.start()
    # In a thread: it would wait for ever where the loop had ended.
    ended = begin(lambda: run_in_background(exits()))
    assert isinstance(ended.exception(20), SystemExit)
    may_go_on.set()
    assert other.result(20) == "done"
    thread.join()


def test_a_thread_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_loop", None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _cannot_start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            run_in_background(_where())
    assert begin(lambda: run_in_background(_where())).result(20) == ("llmspell-remote", False)


def _cannot_start(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")

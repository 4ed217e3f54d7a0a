"""Bounds on what is read of a response, beside a model that sees it as a whole."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import ProviderResponseTooLarge
from llmspell.providers.bounded import bounding


class _Parts(httpx2.AsyncByteStream):
    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


async def _read(parts: list[bytes], total: int, event: int) -> bytes | None:
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    response = httpx2.Response(200, headers=headers, stream=_Parts(parts))
    await bounding(total=total, event=event)(response)
    try:
        return b"".join([part async for part in response.aiter_raw()])
    except ProviderResponseTooLarge:
        return None


_event = st.tuples(st.integers(1, 12), st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]))


@settings(max_examples=80, deadline=None)
@given(st.lists(_event, max_size=8), st.lists(st.integers(1, 9), min_size=1), st.integers(4, 16))
def test_a_stream_is_read_as_long_as_each_of_its_events_is_short(
    events: list[tuple[int, bytes]], cuts: list[int], most: int
) -> None:
    whole = b"".join(b"x" * size + end for size, end in events)
    parts, place = [], 0
    while place < len(whole):
        size = cuts[len(parts) % len(cuts)]
        parts.append(whole[place : place + size])
        place += size
    longest = max((len(found) for found in re.findall(rb"x+[\r\n]+", whole)), default=0)
    expected = whole if longest <= most else None
    assert asyncio.run(_read(parts, 10_000, most)) == expected
    assert asyncio.run(_read(parts, len(whole), 10_000)) == whole
    if whole:
        assert asyncio.run(_read(parts, len(whole) - 1, 10_000)) is None

"""Responses that end at a bound of bytes, however long a server goes on sending."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import httpx2

from llmspell.errors import BadProviderResponse, ProviderResponseTooLarge

__all__ = ["bounding"]

# An empty line ends an event (WHATWG HTML, 9.2.5).
_END_OF_EVENT: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LONGEST_END: Final = 4


def bounding(*, total: int, event: int) -> Callable[[httpx2.Response], Awaitable[None]]:
    """A hook for the responses of a client, which bounds what is read of each.

    Args:
        total: bytes of a response, head excluded.
        event: bytes of an event, of responses that are a stream of these.

    The hook raises:
        BadProviderResponse: it is compressed, against the request, so that bytes say nothing of
            what they become.
    """

    async def bound(response: httpx2.Response) -> None:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise BadProviderResponse(
                f"the response is compressed ({encoding!r:.40}), which was not asked for",
                status=response.status_code,
            )
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        response.stream = _Bounded(
            response.stream, total, event if kind == "text/event-stream" else total
        )

    return bound


class _Bounded(httpx2.AsyncByteStream):
    """A stream that raises where it goes on beyond its bounds."""

    def __init__(self, stream: Any, total: int, event: int) -> None:
        self._stream = stream
        self._total = total
        self._event = event

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = run = 0
        tail = b""
        async for part in self._stream:
            size += len(part)
            if size > self._total:
                raise ProviderResponseTooLarge(
                    f"the response has more than {self._total:,} bytes, the max_response_bytes of "
                    "its ConnectionSettings"
                )
            if self._event < self._total:
                seen = tail + part
                run = self._checked(seen, run - len(tail))
                tail = seen[-(_LONGEST_END - 1) :]
            yield part

    def _checked(self, seen: bytes, run: int) -> int:
        """Bytes of the event that is under way; before ``seen`` it had ``run``."""
        begin = 0
        for end in _END_OF_EVENT.finditer(seen):
            self._check(run + end.end() - begin)
            run, begin = 0, end.end()
        run += len(seen) - begin
        self._check(run)
        return run

    def _check(self, run: int) -> None:
        if run > self._event:
            raise ProviderResponseTooLarge(
                f"an event of the stream has more than {self._event:,} bytes, the max_event_bytes "
                "of its ConnectionSettings"
            )

    async def aclose(self) -> None:
        await self._stream.aclose()

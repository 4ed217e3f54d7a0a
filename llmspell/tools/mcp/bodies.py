"""What a response of an MCP server may take of memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

__all__ = ["MAX_BODY", "bound_body"]

#: Of one that isn't a stream of events, of which the SDK bounds each.
MAX_BODY: Final = 64 << 20


def bound_body(response: Any, at_break: Callable[[], None], at_end: Callable[[], None]) -> None:
    """Let a response of httpx2 be read up to :data:`MAX_BODY`, and none that is packed.

    Reading beyond raises ``httpx2.StreamError``, of which the SDK makes the call's failure, and so
    does a connection that ends too early, which would end the whole session. What is packed could
    be a thousand times as large as what was sent, and nobody asked for it.

    Args:
        response: whose body hasn't been read.
        at_break: called where the connection ends too early.
        at_end: called where a stream of events is read to its end; who finds an answer in it
            doesn't read on.
    """
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        """The body, as it comes."""

        def __init__(self, body: Any) -> None:
            self._body = body

        async def __aiter__(self) -> AsyncIterator[bytes]:
            if is_packed:
                raise httpx2.StreamError("the response is compressed, which wasn't asked for")
            left = MAX_BODY
            try:
                async for piece in self._body:
                    left -= len(piece)
                    if left < 0 and not is_events:
                        raise httpx2.StreamError(f"a response of more than {MAX_BODY:,} bytes")
                    yield piece
            except httpx2.TransportError as error:
                at_break()
                raise httpx2.StreamError(f"the response broke off: {error}") from error
            if is_events:
                at_end()

        async def aclose(self) -> None:
            await self._body.aclose()

    is_packed = response.headers.get("content-encoding", "identity").lower() != "identity"
    is_events = response.headers.get("content-type", "").lower().startswith("text/event-stream")
    response.stream = Bounded(response.stream)

"""What a call of a model may cost its tenant: set aside before, settled after."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from llmspell.errors import ClosedError, ProviderError, QuotaExceeded
from llmspell.providers.chat import ChatRequest
from llmspell.providers.price import Price, Usage
from llmspell.quota import Quota
from llmspell.tenancy import Hold, Operation, current_operation

__all__ = ["Bill", "billed", "most_usage"]

# Marks around a message, its role and the names of its fields: 4 to 8 tokens in the known formats.
_MESSAGE_TOKENS: Final = 16
# A provider puts instructions of its own before tools: 346 tokens is the most that one names.
_TOOLS_TOKENS: Final = 512


def most_usage(request: ChatRequest, bytes_per_token: float = 1.0) -> Usage:
    """More tokens than a call can take.

    The vocabularies of chat models fall back to bytes, so that no text has more tokens than its
    UTF-8 has bytes. Where it is known that a token has more of them, it is an estimate by that.
    """
    size = 0
    for message in request.messages:
        size += _MESSAGE_TOKENS + len(message.text.encode("utf-8", "replace"))
        for thought in message.thoughts:
            size += _MESSAGE_TOKENS + len(thought.signature)
            size += len(thought.text.encode("utf-8", "replace"))
        for call in message.tool_calls:
            size += (
                _MESSAGE_TOKENS + len(call.name) + len(call.arguments.encode("utf-8", "replace"))
            )
    if request.tools or request.output is not None:
        size += _TOOLS_TOKENS
    for tool in request.tools:
        described = tool.name + tool.description + json.dumps(dict(tool.schema))
        size += _MESSAGE_TOKENS + len(described.encode("utf-8", "replace"))
    if request.output is not None:
        size += len(json.dumps(dict(request.output.schema)))
    return Usage(math.ceil(size / bytes_per_token), request.max_tokens)


def _shortened(request: ChatRequest, refusal: QuotaExceeded, price: Price | None) -> ChatRequest:
    """The request with an answer no longer than what is left pays for; raises the refusal."""
    missing = refusal.requested - max(0, refusal.limit - refusal.used)
    if refusal.quota == Quota.COST.limit_name and price is not None and price.output:
        # A price of a million tokens is, in the quota's millionths, that of one.
        missing = math.ceil(missing / price.output)
    elif refusal.quota != Quota.TOKENS.limit_name:
        raise refusal
    left = request.max_tokens - missing
    if request.min_tokens is None or left < request.min_tokens or missing < 1:
        raise refusal
    return replace(request, max_tokens=left)


class Bill:
    """What one call has set aside; nothing where it is no tenant's.

    Attributes:
        request: to send, whose ``max_tokens`` may be lower than what was asked for.
        is_begun: whether it has gone out.
    """

    __slots__ = ("_hold", "_is_settled", "_price", "is_begun", "request")

    def __init__(self, request: ChatRequest, hold: Hold | None, price: Price | None) -> None:
        self.request = request
        self._hold = hold
        self._price = price
        self.is_begun = False
        self._is_settled = False

    def begin(self) -> None:
        """The request goes out from here on: what fails before costs nothing.

        Raises:
            ClosedError: the operation that is to pay has ended.
        """
        if self._hold is not None and not self.is_begun:
            self._hold.begin()
        self.is_begun = True

    def settle(self, usage: Usage) -> None:
        """Count what was used; of a provider that doesn't say, all that was set aside."""
        self._is_settled = True
        if self._hold is None:
            return
        if not usage.total:
            self._hold.settle()
            return
        cost = None if self._price is None else self._price.cost(usage)
        self._hold.settle(tokens=usage.total, cost=cost)

    def _end(self, error: BaseException) -> None:
        """After a failure: nothing where the provider did nothing, otherwise everything."""
        if self._is_settled or self._hold is None:
            return
        is_unsent = isinstance(error, ProviderError) and not error.is_sent
        if is_unsent or not self.is_begun:
            self._hold.release()
        else:
            with suppress(ClosedError):  # its operation has ended: why the call failed says more
                self._hold.settle()


@asynccontextmanager
async def billed(
    request: ChatRequest, price: Price | None, bytes_per_token: float = 1.0
) -> AsyncIterator[Bill]:
    """Set aside the most that a call may use, of the tenant whose operation it is in.

    Where the tenant has less, and the request says ``min_tokens``, its answer is to be shorter.

    Raises:
        QuotaExceeded: the tenant hasn't so much; nothing was sent.
    """
    operation = current_operation()
    if operation is None:
        yield Bill(request, None, price)
        return
    request, hold = await _held(operation, request, price, bytes_per_token)
    bill = Bill(request, hold, price)
    try:
        yield bill
    except BaseException as error:
        bill._end(error)
        raise


async def _held(
    operation: Operation[Any], request: ChatRequest, price: Price | None, bytes_per_token: float
) -> tuple[ChatRequest, Hold]:
    while True:
        most = most_usage(request, bytes_per_token)
        cost = 0.0 if price is None else price.most(most)
        # Where quotas are shared by hosts, it asks their server.
        holding = asyncio.ensure_future(
            asyncio.to_thread(operation.hold, tokens=most.total, cost=cost)
        )
        try:
            return request, await asyncio.shield(holding)
        except asyncio.CancelledError:
            holding.add_done_callback(_release)  # the thread goes on, and may get it all the same
            raise
        except QuotaExceeded as refusal:
            request = _shortened(request, refusal, price)


def _release(holding: asyncio.Future[Hold]) -> None:
    if holding.cancelled() or holding.exception() is not None:
        return
    holding.result().release()

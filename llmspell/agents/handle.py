"""A tenant's handle, sync or async, as a run uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from llmspell.state import AsyncState
from llmspell.tenancy import AsyncTenant, Operation, Tenant, async_handle, current_operation

__all__ = ["Handle", "operation_of", "state_of"]

Handle: TypeAlias = Tenant | AsyncTenant


def state_of(handle: Handle) -> AsyncState:
    """The tenant's state, to await."""
    return async_handle(handle).state


@asynccontextmanager
async def operation_of(
    handle: Handle, *, tokens: int, cost: float, seconds: float
) -> AsyncIterator[Operation[Any]]:
    """The operation of the tenant that this code runs in, or one of its own that reserves."""
    outer = current_operation()
    if outer is not None and outer.is_of(handle):
        yield outer
        return
    given: dict[str, Any] = {"tokens": tokens, "cost": cost, "lease": seconds}
    if isinstance(handle, AsyncTenant):
        async with handle.operation(**given) as operation:
            yield _begun(operation)
        return
    with handle.operation(**given) as operation:
        yield _begun(operation)


def _begun(operation: Operation[Any]) -> Operation[Any]:
    # Of what isn't reported all would count as used.
    operation.use(tokens=0, cost=0.0)
    return operation

"""Which operation code runs in: begun, seen by what it starts, and ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic

from llmspell import observability
from llmspell.errors import ClosedError, QuotaExceeded, TenantSuspended
from llmspell.tenancy.operation import Allowance, HandleT, Operation

if TYPE_CHECKING:
    from llmspell.tenancy.aio import AsyncTenant
    from llmspell.tenancy.tenant import Tenant
    from llmspell.tenancy.tenant_handle import TenantHandle

__all__ = ["begin", "begin_async", "current_operation", "within"]

_CURRENT: ContextVar[Operation[Any] | None] = ContextVar("llmspell_operation", default=None)


def current_operation() -> Operation[Any] | None:
    """The innermost operation that this code runs in; None outside of any.

    Tasks that it starts see it for as long as it lasts, and so do calls that ``asyncio.to_thread``
    or an :class:`llmspell.AsyncTenant` runs; other tasks and threads don't.
    """
    operation = _CURRENT.get()
    while operation is not None and not operation.is_open:
        operation = operation._outer
    return operation


class _Entered(Generic[HandleT]):
    """An operation that is the current one in the ``with``."""

    __slots__ = ("_operation", "_token")

    def __init__(self, operation: Operation[HandleT]) -> None:
        self._operation = operation

    def __enter__(self) -> Operation[HandleT]:
        self._operation._outer = current_operation()
        self._token = _CURRENT.set(self._operation)
        return self._operation

    def __exit__(self, *exc: object) -> None:
        _CURRENT.reset(self._token)


@contextmanager
def begin(
    tenant: Tenant, allowance: Allowance, instrument: observability.Operation
) -> Iterator[Operation[Tenant]]:
    """See :meth:`llmspell.Tenant.operation`."""
    with tenant._span("operation"), instrument.timed():
        try:
            operation = Operation(tenant, tenant, allowance)
            is_done = False
            try:
                with _Entered(operation):
                    yield operation
                is_done = True
            finally:
                operation._end(is_done=is_done)
        except (QuotaExceeded, TenantSuspended) as refusal:
            tenant._residence.refused("operation", refusal)
            raise


@asynccontextmanager
async def begin_async(
    handle: AsyncTenant, allowance: Allowance, instrument: observability.Operation
) -> AsyncIterator[Operation[AsyncTenant]]:
    """See :meth:`llmspell.Tenant.operation`; what may wait for a disk or a server runs aside."""
    run = handle._workers.run
    with handle._tenant._span("operation"), instrument.timed():
        try:
            operation = await run(Operation, handle, handle._tenant, allowance)
            is_done = False
            try:
                with _Entered(operation):
                    yield operation
                is_done = True
            finally:
                # Settling is local. Only what has come too late may have to ask the server.
                late = operation._settle(is_done=is_done)
                if late:
                    try:
                        await run(operation._charge_late, late, is_done=is_done)
                    except ClosedError:  # the database, and with it what runs such calls
                        operation._charge_late(late, is_done=is_done)
        except (QuotaExceeded, TenantSuspended) as refusal:
            await run(handle._tenant._residence.refused, "operation", refusal)
            raise


@contextmanager
def within(tenant: TenantHandle) -> Iterator[None]:
    """Let what runs inside know the tenant, and report what it uses; reserves nothing."""
    outer = current_operation()
    if outer is not None and outer._residence is tenant._residence:
        yield
        return
    operation = Operation(tenant, tenant, None)
    try:
        with _Entered(operation):
            yield
    finally:
        operation._end(is_done=True)

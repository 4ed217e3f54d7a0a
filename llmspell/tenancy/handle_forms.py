"""A tenant's handle in either form, sync or async, whichever of both there is."""

from __future__ import annotations

from typing import Final

from llmspell.observability import Instruments
from llmspell.tenancy.aio import AsyncTenant
from llmspell.tenancy.tenant import Tenant
from llmspell.tenancy.workers import Workers

__all__ = ["async_handle", "instruments_of", "sync_handle"]

_OF_THE_LOOP: Final = Workers(None)


def sync_handle(handle: Tenant | AsyncTenant) -> Tenant:
    """The handle whose calls block."""
    return handle if isinstance(handle, Tenant) else handle._tenant


def async_handle(handle: Tenant | AsyncTenant) -> AsyncTenant:
    """The handle whose calls are awaited; those of a sync one run in threads of the event loop."""
    return handle if isinstance(handle, AsyncTenant) else AsyncTenant(handle, _OF_THE_LOOP)


def instruments_of(handle: Tenant | AsyncTenant) -> Instruments:
    """Those of the database that a handle is of."""
    return sync_handle(handle)._instruments

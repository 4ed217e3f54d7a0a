"""The same tenant's handle, to call or to await."""

from __future__ import annotations

from typing import Final

from llmspell.tenancy.aio import AsyncTenant
from llmspell.tenancy.tenant import Tenant
from llmspell.tenancy.workers import Workers

__all__ = ["to_await", "to_call"]

_OF_THE_LOOP: Final = Workers(None)


def to_call(tenant: Tenant | AsyncTenant) -> Tenant:
    """The handle whose calls block."""
    return tenant if isinstance(tenant, Tenant) else tenant._tenant


def to_await(tenant: Tenant | AsyncTenant) -> AsyncTenant:
    """The handle whose calls are awaited; those of a sync one run in threads of the event loop."""
    return tenant if isinstance(tenant, AsyncTenant) else AsyncTenant(tenant, _OF_THE_LOOP)

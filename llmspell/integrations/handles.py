"""The handle that an adapter works by, of whatever kind it was given."""

from __future__ import annotations

from llmspell.errors import ConfigError
from llmspell.tenancy import AsyncTenant, Tenant, sync_handle

__all__ = ["as_tenant"]


def as_tenant(tenant: object) -> Tenant:
    """The tenant's sync handle: what a framework awaits runs in threads.

    Raises:
        ConfigError: it is no handle.
    """
    if isinstance(tenant, Tenant | AsyncTenant):
        return sync_handle(tenant)
    raise ConfigError(
        f"tenant must be a handle, as Database.tenant gives one, got {type(tenant).__name__}"
    )

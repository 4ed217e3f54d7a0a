"""What a client of MCP is told of an error, and what it isn't."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from llmspell.errors import IdNotFound, InputError, QuotaExceeded, TenantSuspended
from llmspell.tools.client import CallAgain

__all__ = ["busy", "invalid", "told"]

_log: Final = logging.getLogger(__name__)
#: Of the specification before 2026-07-28.
_NOT_FOUND: Final = -32002


@contextmanager
def told(name: str, context: Any) -> Iterator[None]:
    """Make an error of the protocol of whatever is raised within.

    What a client asked wrongly and what its tenant's quotas refuse is told; the rest is for the
    operator, and logged.

    Args:
        name: of what was asked for, such as a resource's URI.
        context: of the request, of the SDK.
    """
    from mcp import MCPError, types
    from mcp.types import version

    try:
        yield
    except (MCPError, CallAgain):
        raise
    except IdNotFound as error:
        is_modern = context.protocol_version in version.MODERN_PROTOCOL_VERSIONS
        code = types.INVALID_PARAMS if is_modern else _NOT_FOUND
        raise MCPError(code, str(error.args[0])[:1_000], {"uri": name}) from error
    except InputError as error:
        raise invalid(str(error)) from error
    except (QuotaExceeded, TenantSuspended) as error:
        raise MCPError(types.INTERNAL_ERROR, f"refused: {error}") from error
    except Exception as error:
        _log.error("%r can't be given", name, exc_info=error)
        raise MCPError(types.INTERNAL_ERROR, "it can't be given now") from error


def invalid(message: str) -> Exception:
    """What was asked for can't be."""
    from mcp import MCPError, types

    return MCPError(types.INVALID_PARAMS, message[:1_000])


def busy(message: str) -> Exception:
    """There is no place for it now."""
    from mcp import MCPError, types

    return MCPError(types.INTERNAL_ERROR, f"refused: {message}")

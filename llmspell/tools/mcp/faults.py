"""What a client of MCP is told of an error, and what it isn't."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from llmspell.errors import IdNotFound, InputError, QuotaExceeded, TenantSuspended

__all__ = ["invalid", "not_found", "told"]

_log: Final = logging.getLogger(__name__)
#: Of the specification.
_NOT_FOUND: Final = -32002


@contextmanager
def told(name: str) -> Iterator[None]:
    """Make an error of the protocol of whatever is raised within.

    What a client asked wrongly and what its tenant's quotas refuse is told; the rest is for the
    operator, and logged.

    Args:
        name: of what was asked for.
    """
    from mcp import MCPError, types

    try:
        yield
    except MCPError:
        raise
    except IdNotFound as error:
        raise not_found(str(error.args[0])) from error
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


def not_found(message: str) -> Exception:
    """A resource isn't there."""
    from mcp import MCPError

    return MCPError(_NOT_FOUND, message[:1_000])

"""Whose entries they are: a tenant's, or those of the tenants that share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["SHARED_SCOPE", "Compartment"]

#: No tenant's key: those have 16 bytes.
SHARED_SCOPE: Final = b"shared"


class Compartment:
    """Entries that nobody else sees.

    Attributes:
        scope: in all of its keys; another one for each tenant that there ever was.
        directory: of its entries on disk; None without any.
        is_gone: set with the lock of :class:`MemoryTier`, for good.
    """

    __slots__ = ("directory", "is_gone", "scope")

    def __init__(self, scope: bytes, directory: Path | None) -> None:
        self.scope = scope
        self.directory = directory
        self.is_gone = False

"""Whose entries they are: a tenant's, or those of the tenants that share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from llmspell.rag.cache.keys import key_prefix, text_keys
from llmspell.tenancy.ports import EmbeddingModel

__all__ = ["SHARED_SCOPE", "Compartment"]

#: No tenant's key: those have 16 bytes.
SHARED_SCOPE: Final = b"shared"


class Compartment:
    """Entries that nobody else sees.

    Attributes:
        scope: in all of its keys; another one for each tenant that there ever was.
        directory: of its entries on disk; None without any.
        remote: what its names on a server of several hosts begin with; empty without any.
        is_gone: whether its tenant was dropped; set with the lock of :class:`MemoryTier`, for good.
    """

    __slots__ = ("__weakref__", "_prefixes", "directory", "is_gone", "remote", "scope")

    def __init__(self, scope: bytes, directory: Path | None, remote: bytes = b"") -> None:
        self.scope = scope
        self.remote = remote
        self.directory = directory
        self.is_gone = False
        self._prefixes: dict[tuple[EmbeddingModel, str], bytes] = {}

    def prefix(self, model: EmbeddingModel, task: str) -> bytes:
        """As :func:`key_prefix`, made once for each of the few models that a process has."""
        prefix = self._prefixes.get((model, task))
        if prefix is None:
            prefix = self._prefixes[model, task] = key_prefix(self.scope, model, task)
        return prefix

    def remote_names(self, model: EmbeddingModel, task: str, texts: Sequence[str]) -> list[bytes]:
        """What texts are known by on a server: as their keys, but the same on all hosts."""
        prefix = key_prefix(self.remote, model, task)
        return [self.remote + key.hex().encode() for key in text_keys(prefix, texts)]

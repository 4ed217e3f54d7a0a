"""A tenant's state as LangChain's store of bytes under keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from llmspell.integrations.handles import as_tenant
from llmspell.integrations.langchain.framework import BaseStore
from llmspell.state import Delete, Set
from llmspell.tenancy import AsyncTenant, Tenant

__all__ = ["LlmspellByteStore"]

#: Values may have 8 MiB, and a page is in memory as a whole.
PAGE: Final = 100


class LlmspellByteStore(BaseStore[str, bytes]):
    """Bytes under keys, as ``CacheBackedEmbeddings`` wants them. Thread-safe.

    A key is a str of 1 to some 430 bytes in UTF-8, a value has up to 8 MiB; see
    docs/reference/state.md. Each key that is read is charged as one API call, and each write.

    Args:
        tenant: whose state they lie in, under ``("langchain", "store", name)``; a handle, sync or
            async.
        name: tells it from other stores of the tenant.

    Raises:
        ConfigError: ``tenant`` is no handle.
    """

    def __init__(self, tenant: Tenant | AsyncTenant, *, name: str = "default") -> None:
        self._state = as_tenant(tenant).state
        self._prefix = ("langchain", "store", name)

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Values in the order of their keys; None where there is none."""
        return [self._state.get((*self._prefix, key)) for key in keys]

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Set values, all of them or none.

        Raises:
            InvalidStateKey, InvalidStateValue: a key or a value that can't be kept.
        """
        if key_value_pairs:
            self._state.write([Set((*self._prefix, k), bytes(v)) for k, v in key_value_pairs])

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove keys, all of them or none; those that aren't there are passed over."""
        if keys:
            self._state.write([Delete((*self._prefix, key)) for key in keys])

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """Keys that begin with ``prefix``, in order; those that come meanwhile may be missed."""
        after = None
        while True:
            page = self._state.scan(self._prefix, after=after, limit=PAGE)
            for item in page.items:
                key = str(item.key[-1])
                if key.startswith(prefix or ""):
                    yield key
            after = page.after
            if after is None:
                return

"""The handles to one tenant, as its residence knows them: none is kept by being known."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmspell.tenancy.tenant_handle import TenantHandle

    _Ref = weakref.ref[TenantHandle]
else:
    _Ref = weakref.ref

__all__ = ["HandleRef", "Handles"]


class HandleRef(_Ref):
    """A weak reference to a handle, which still tells whose it was when that is gone."""

    __slots__ = ("key",)

    key: bytes


class Handles(tuple[HandleRef, ...]):
    """Those that were given out and not closed. It never changes: another one takes its place.

    So it may be read without a lock. It is no larger than the references in it: many tenants may
    have handles that nobody uses.
    """

    __slots__ = ()

    @property
    def any_live(self) -> bool:
        """Whether there is one that was not collected."""
        return any(reference() is not None for reference in self)

    def has(self, handle: TenantHandle) -> bool:
        """Whether it is one of them."""
        return any(reference() is handle for reference in self)

    def and_also(
        self, handle: TenantHandle, key: bytes, forget: Callable[[HandleRef], object]
    ) -> Handles:
        """These and another one.

        Args:
            handle: to come.
            key: of its tenant.
            forget: is told when it is collected, while any lock may be held.
        """
        reference = HandleRef(handle, forget)
        reference.key = key
        return Handles((*self._live(), reference))

    def without(self, handle: TenantHandle) -> Handles:
        """These, but for one that is closed."""
        return Handles(reference for reference in self._live() if reference() is not handle)

    def let_go(self) -> None:
        """Take the room back from all of them."""
        for reference in self:
            handle = reference()
            if handle is not None:
                handle._let_go()

    def _live(self) -> list[HandleRef]:
        return [reference for reference in self if reference() is not None]


#: One for all tenants without any.
NO_HANDLES = Handles()

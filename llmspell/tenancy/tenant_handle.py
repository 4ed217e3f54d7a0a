"""What a handle to a tenant is, apart from its calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, ParamSpec, SupportsIndex, TypeVar

from llmspell.config import TenantConfig
from llmspell.errors import ClosedError, QuotaExceeded, TenantSuspended
from llmspell.observability import NO_SPAN, OpenSpan, is_traced, span
from llmspell.quota import Quota

if TYPE_CHECKING:
    from llmspell._hot import SearchDoor
    from llmspell.storage import Room
    from llmspell.tenancy.residence import Residence

__all__ = ["API_CALLS", "TenantHandle", "until_the_end"]

API_CALLS = int(Quota.API_CALLS)

_P = ParamSpec("_P")
_R = TypeVar("_R")


def until_the_end(operation: Callable[_P, _R]) -> Callable[_P, _R]:
    """Keep the room open for an operation, and report the end of its tenant as that end.

    It is a span, where the program traces.
    """
    name = operation.__name__.lstrip("_")

    @functools.wraps(operation)
    def run(*given: _P.args, **named: _P.kwargs) -> _R:
        residence: Residence = given[0]._residence  # type: ignore[attr-defined]
        residence.is_recent = True
        try:
            with residence.uses:
                if not is_traced():
                    return operation(*given, **named)
                with given[0]._span(name):  # type: ignore[attr-defined]
                    return operation(*given, **named)
        except ClosedError:
            residence.check()
            raise
        except (QuotaExceeded, TenantSuspended) as refusal:
            residence.refused(name, refusal)
            raise
        finally:
            residence.keep_within_budget()

    return run


class TenantHandle:
    """What all calls of :class:`llmspell.Tenant` go by: its residence, and its room while open."""

    __slots__ = (
        "__weakref__",
        "_door",
        "_instruments",
        "_residence",
        "_room",
        "_slot",
    )

    def __init__(self, residence: Residence) -> None:
        self._residence = residence
        self._room: Room | None = None
        self._door: SearchDoor | None = None
        self._slot = residence.slot
        self._instruments = residence.house.instruments
        residence.admit(self)

    def __repr__(self) -> str:
        return f"Tenant(id={self.id!r})"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        # A copy would keep the room past the end of the handle, and of the tenant.
        raise TypeError("a handle can't be copied or pickled; ask a database for another")

    @property
    def id(self) -> str:
        """Id of the tenant."""
        return self._residence.entry.config.id

    @property
    def config(self) -> TenantConfig:
        """What the tenant was created with."""
        return self._residence.entry.config

    @property
    def generation(self) -> int:
        """Tells it from former tenants of the same id."""
        return self._residence.entry.generation

    def _span(self, call: str) -> OpenSpan:
        """For the ``with`` around a call, where the program traces."""
        if not is_traced():
            return NO_SPAN
        return span(f"tenant {call}", {"llmspell.tenant.id": self.id})

    def _charge(self, quota: int, amount: int) -> None:
        self._slot.charge(quota, amount)

    def _take(self, room: Room, door: SearchDoor | None) -> None:
        """Called by the residence, which has opened the room."""
        self._room, self._door = room, door

    def _let_go(self) -> None:
        """Called by the residence: the next use opens the room again, where that may be."""
        self._room = self._door = None

    def _enter(self) -> Room:
        return self._room or self._residence.open(self)

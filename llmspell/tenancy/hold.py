"""What part of an operation has set aside, until it is known what it used."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llmspell.errors import ClosedError, ReservationExpired
from llmspell.quota import Quota

if TYPE_CHECKING:
    from llmspell.tenancy.operation import Operation

__all__ = ["Hold"]


class Hold:
    """Tokens and money that are set aside for one step of an operation. Thread-safe.

    Made by :meth:`llmspell.Operation.hold`. What the operation had reserved and not yet used is
    taken first; only what goes beyond is reserved of the tenant's quotas.
    """

    __slots__ = ("_is_begun", "_is_open", "_operation", "_reservation", "_reserved", "_within")

    def __init__(
        self, operation: Operation[Any], within: dict[Quota, int], reserved: dict[Quota, int]
    ) -> None:
        """Reserve what goes beyond; the caller has set aside ``within`` of the operation's."""
        self._operation = operation
        self._within = within
        self._reserved = reserved
        self._is_open = True
        self._is_begun = False
        self._reservation = None
        if any(reserved.values()):
            named = {quota.name.lower(): amount for quota, amount in reserved.items()}
            self._reservation = operation._slot.reserve(
                tokens=named.get("tokens", 0), cost=named.get("cost", 0), lease=operation._lease
            )

    def begin(self) -> None:
        """Say that it is being used from now on, as when a request goes out.

        Where the operation ends before it is settled, all of it counts as used.

        Raises:
            ClosedError: it was settled before, or the operation has ended: don't use it.
        """
        self._operation._begin_hold(self)

    def settle(self, *, tokens: int | None = None, cost: float | None = None) -> None:
        """Report what was used, and give back the rest.

        Args:
            tokens: of language models; None for all that was held.
            cost: money; None for all that was held.

        Raises:
            ClosedError: it was settled before, or the operation has ended.
            QuotaExceeded: more than was held was used, and a quota has no more; all that it has
                counts as used.
            TenantNotFound: meanwhile, and more than was held was used.
        """
        self._operation._settle_hold(self, tokens, cost)

    def release(self) -> None:
        """Give back everything: nothing was used.

        Does nothing where it was settled, or where its operation has ended and given it back.
        """
        if self._is_open:
            with suppress(ClosedError):  # meanwhile
                self.settle(tokens=0, cost=0.0)

    def _give_back(self) -> None:
        """End it without use, as its operation has ended; under the operation's lock."""
        if not self._is_open:
            return
        self._is_open = False
        if self._reservation is not None:
            self._reservation.cancel()

    def _close(self, used: Mapping[Quota, int | None]) -> dict[Quota, int]:
        """End it; of each quota, how much of what it used the operation is to count.

        The rest stays with its own reservation. A quota of which nothing was held, and nothing
        said, isn't counted.
        """
        if not self._is_open:
            raise ClosedError("what was held has been settled already")
        self._is_open = False
        kept: dict[Quota, int] = {}
        counted: dict[Quota, int] = {}
        for quota, given in used.items():
            within, reserved = self._within[quota], self._reserved[quota]
            amount = within + reserved if given is None else given
            kept[quota] = min(max(0, amount - within), reserved)
            if given is not None or amount:
                counted[quota] = amount - kept[quota]
        if self._reservation is not None:
            try:
                self._reservation.settle(tokens=kept[Quota.TOKENS], cost=kept[Quota.COST])
            except ReservationExpired:
                for quota, amount in kept.items():
                    counted[quota] = counted.get(quota, 0) + amount
        return counted

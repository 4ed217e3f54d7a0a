"""What the texts that a service embeds cost the tenant whose operation they are embedded in."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from llmspell.errors import ClosedError
from llmspell.tenancy.current import current_operation

if TYPE_CHECKING:
    from llmspell.tenancy import Hold

__all__ = ["charge_tokens", "hold_tokens"]


def _cost(tokens: int, price: float) -> float:
    return tokens * price / 1e6


def hold_tokens(tokens: int, *, price: float) -> Hold | None:
    """Set aside tokens of a tenant that has them, and the money for them; None of nobody.

    Args:
        tokens: that a call may take, as they were counted or guessed.
        price: of a million tokens.

    Raises:
        QuotaExceeded: the tenant hasn't as much left.
    """
    operation = current_operation()
    if operation is None or not tokens:
        return None
    return operation.hold(tokens=tokens, cost=_cost(tokens, price))


def charge_tokens(tokens: int, hold: Hold | None, *, price: float) -> None:
    """Charge tokens that were used, out of a hold where there is one; may ask a server.

    Args:
        tokens: that the answers report, or as they were counted or guessed.
        hold: what :func:`hold_tokens` set aside for them.
        price: of a million tokens.

    Raises:
        QuotaExceeded: more was used than the tenant had; all that it had counts as used.
    """
    operation = current_operation()
    if operation is None:
        return
    cost = _cost(tokens, price) if price else None
    with ExitStack() as last:
        if tokens:
            counted = tokens if hold is None else None
            last.callback(operation.use, tokens=counted, cost=cost, already=True)
        if hold is not None:
            try:
                # By the sum of an operation money is rounded once, and not for each call.
                hold.settle(tokens=tokens, cost=0.0)
            except ClosedError:  # with its operation, which has counted all of it
                last.pop_all()

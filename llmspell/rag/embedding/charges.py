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


def hold_tokens(tokens: int, *, price: float, is_exact: bool) -> Hold | None:
    """Set aside tokens of a tenant that has them, and the money for them; None of nobody.

    Args:
        tokens: that a call may take.
        price: of a million tokens.
        is_exact: whether a tokenizer counted them. Otherwise they are given back at once, and None
            is returned: what the call takes is told by the answers.

    Raises:
        QuotaExceeded: the tenant hasn't as much left.
    """
    operation = current_operation()
    if operation is None or not tokens:
        return None
    # By the sum of an operation money is rounded once, and not for each of many small calls.
    operation.hold(cost=_cost(tokens, price)).release()
    hold = operation.hold(tokens=tokens)
    if not is_exact:
        hold.release()
        return None
    return hold


def charge_tokens(tokens: int, hold: Hold | None, *, price: float) -> None:
    """Charge tokens that were used, out of a hold where there is one; may ask a server.

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
                hold.settle(tokens=tokens)
            except ClosedError:  # with its operation, which has counted all of it
                last.pop_all()

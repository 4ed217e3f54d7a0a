"""What is told of each access to a secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmspell.security.secrets.ref import SecretRef

__all__ = ["AccessOutcome", "SecretAccess"]

AccessOutcome = Literal["read", "stale", "missing", "denied", "unavailable", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretAccess:
    """One access to a secret, and what came of it; never the value.

    Args:
        ref: what was asked for.
        tenant: whose handle asked; None for the deployment's.
        outcome: ``read``; ``stale``, past its expiry while its backend was unavailable;
            ``missing``; ``denied``, to this handle or by the backend to us; ``unavailable``;
            ``failed`` for another reason, as a file that others can read.
        place: where it was found; None where it wasn't.
        is_cached: nothing was asked of a backend for this access alone.
    """

    ref: SecretRef
    tenant: str | None
    outcome: AccessOutcome
    place: SecretRef | None = None
    is_cached: bool = False

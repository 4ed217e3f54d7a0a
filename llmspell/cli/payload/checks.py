"""What is printed of checks: ``llmspell doctor`` and ``llmspell scrub``."""

from __future__ import annotations

from typing import TypedDict

__all__ = [
    "CheckPayload",
    "DamagePayload",
    "DoctorPayload",
    "ScrubPayload",
    "ScrubbedTenantPayload",
]


class DamagePayload(TypedDict):
    """One damage that ``llmspell scrub`` found."""

    where: str
    what: str
    repaired: bool


class ScrubbedTenantPayload(TypedDict):
    """A tenant in ``llmspell scrub``; records include the chunks of documents."""

    tenant: str
    records: int
    vectors: int
    documents: int
    state_entries: int
    log_entries: int
    snapshots: int
    bytes: int
    seconds: float
    recounted: bool
    damages: list[DamagePayload]


class ScrubPayload(TypedDict):
    """``llmspell scrub``; ``damages`` are those of the catalog and the ledger."""

    sound: bool
    bytes: int
    seconds: float
    damages: list[DamagePayload]
    tenants: list[ScrubbedTenantPayload]


class CheckPayload(TypedDict):
    """One line of ``llmspell doctor``; ``status`` is "ok", "warning" or "broken"."""

    name: str
    status: str
    detail: str


class DoctorPayload(TypedDict):
    """``llmspell doctor``; ``healthy`` is false where a check is "broken"."""

    healthy: bool
    checks: list[CheckPayload]

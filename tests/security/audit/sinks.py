"""Sinks that aren't logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from llmspell.errors import AuditFailed


class Kept(NamedTuple):
    """What a sink was given."""

    kind: str
    subject: str
    outcome: str
    tenant: str | None
    details: dict[str, Any]


class Keeping:
    """Keeps what it is given.

    Args:
        failing: the outcomes that it fails to record.
    """

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.kept: list[Kept] = []

    def append(
        self,
        kind: str,
        *,
        subject: str,
        outcome: str = "done",
        tenant: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        if outcome in self.failing:
            raise AuditFailed("the disk is full")
        self.kept.append(Kept(kind, subject, outcome, tenant, dict(details or {})))

    def steps(self) -> list[tuple[str, str]]:
        """Kinds and outcomes, in order."""
        return [(one.kind, one.outcome) for one in self.kept]

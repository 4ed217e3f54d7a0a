"""What the audit log is told: steps in the life of tenants, and operations that were refused."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from llmspell.config import MAX_TENANT_ID_CHARS
from llmspell.errors import QuotaExceeded, TenantSuspended
from llmspell.security.denials import check_sink

if TYPE_CHECKING:
    from llmspell.security.audit import AuditLog, AuditSink

__all__ = ["Auditor", "open_sink"]


def open_sink(
    given: AuditSink | str | os.PathLike[str] | None,
) -> tuple[AuditSink | None, AuditLog | None]:
    """The sink that ``llmspell.open`` was given, and the log that was opened for it.

    Raises:
        AuditDamaged, AuditFailed: the log of a path can't be opened.
        ConfigError: it is neither a sink nor a path.
    """
    if isinstance(given, (str, os.PathLike)):
        from llmspell.security.audit import AuditLog

        log = AuditLog.open(given)
        return log, log
    return check_sink(given), None


class Auditor:
    """Tells a sink, if there is one. Thread-safe as the sink is."""

    __slots__ = ("_sink",)

    def __init__(self, sink: AuditSink | None) -> None:
        self._sink = sink

    def step(
        self, kind: str, tenant_id: str | None, subject: str | None = None, **details: Any
    ) -> AbstractContextManager[dict[str, Any]]:
        """:func:`llmspell.security.audited`, of a step in the life of a tenant."""
        if self._sink is None:
            return nullcontext({})
        from llmspell.security.audit import audited

        # What can be no tenant is refused by the step itself.
        is_id = isinstance(tenant_id, str) and 1 <= len(tenant_id) <= MAX_TENANT_ID_CHARS
        return audited(
            self._sink,
            kind,
            subject=subject or (str(tenant_id) if tenant_id else "(unnamed)"),
            tenant=tenant_id if is_id else None,
            details=details,
        )

    @contextmanager
    def creation(self, tenant_ids: Sequence[str]) -> Iterator[None]:
        """As :meth:`step`, of tenants that are made together, each of which has a record then."""
        sink = self._sink
        if len(tenant_ids) == 1 or sink is None:
            with self.step("tenant.create", tenant_ids[0] if tenant_ids else None):
                yield
            return
        with self.step("tenant.create", None, f"{len(tenant_ids)} tenants"):
            yield
        from llmspell.security.audit import AuditLog, Event, step_is_done

        with step_is_done():
            if isinstance(sink, AuditLog):
                sink.append_many(
                    Event("tenant.create", id_, "done", id_, None) for id_ in tenant_ids
                )
            else:
                for id_ in tenant_ids:
                    sink.append("tenant.create", subject=id_, tenant=id_)

    def refused(
        self, tenant_id: str, operation: str, refusal: QuotaExceeded | TenantSuspended
    ) -> None:
        """Tell of an operation that was refused, once however many calls it passes through."""
        if self._sink is None or getattr(refusal, "is_audited", False):
            return
        from llmspell.security.audit import note_denial

        refusal.is_audited = True  # type: ignore[union-attr]
        details: dict[str, Any] = {"operation": operation}
        kind, subject = "tenant.use", operation
        if isinstance(refusal, QuotaExceeded):
            kind, subject = "quota.charge", refusal.quota
            details |= {
                "limit": refusal.limit,
                "used": refusal.used,
                "requested": refusal.requested,
            }
        note_denial(self._sink, refusal, kind, subject=subject, tenant=tenant_id, details=details)

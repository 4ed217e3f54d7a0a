"""Steps that begin only once that is on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llmspell.security.audit.event import AuditSink

__all__ = ["audited", "step_is_done"]


@contextmanager
def audited(
    sink: AuditSink | None,
    kind: str,
    *,
    subject: str,
    tenant: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Around a step: it begins only if that is recorded, and so is how it ends.

    Gives a dict for details of its end, and for ``tenant`` where only the step tells the id.
    Records ``begun``, then ``done``, or ``failed`` with the name of the error. A log counts equal
    records of all kinds but an operator's steps. Without a sink it does nothing.

    Raises:
        AuditDamaged, AuditFailed: nothing was done; or, with a note, it was. Where it is the
            record of a failure that fails, the step's own error is raised, with a note.
    """
    more: dict[str, Any] = {}
    if sink is None:
        yield more
        return
    sink.append(kind, subject=subject, outcome="begun", tenant=tenant, details=details)
    try:
        yield more
    except BaseException as error:
        more["error"] = type(error).__name__
        tenant = more.pop("tenant", tenant)
        try:
            sink.append(kind, subject=subject, outcome="failed", tenant=tenant, details=more)
        except Exception as failure:  # the step's own error is what there is to know
            error.add_note(f"not in the audit log: {failure}")
        raise
    tenant = more.pop("tenant", tenant)
    with step_is_done():
        sink.append(kind, subject=subject, outcome="done", tenant=tenant, details=more)


@contextmanager
def step_is_done() -> Iterator[None]:
    """Around what is recorded of a step behind it: an error says that the step is done."""
    try:
        yield
    except Exception as failure:
        failure.add_note("the step is done; that it began is in the audit log")
        raise

"""What the hooks of secrets and of the broker tell of, as records.

Each raises what the sink raises. The hook then gives no value, or no response: what can't be
recorded doesn't take place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from llmspell.security.audit.event import AuditKind, AuditSink
from llmspell.security.audit.record import AuditOutcome

if TYPE_CHECKING:
    from llmspell.security.broker.attempt import Attempt
    from llmspell.security.secrets.access import SecretAccess

__all__ = ["record_accesses", "record_attempts"]

_OF_ACCESSES: Final[dict[str, AuditOutcome]] = {"read": "done", "stale": "done", "denied": "denied"}
_OF_ATTEMPTS: Final[dict[str, AuditOutcome]] = {"answered": "done", "refused": "denied"}


def record_accesses(sink: AuditSink) -> Callable[[SecretAccess], None]:
    """An ``on_access`` of a :class:`SecretStore` that records each as ``secret.access``.

    The subject is the reference; the value is in no record. As thread-safe as the sink.
    """

    def record(access: SecretAccess) -> None:
        sink.append(
            AuditKind.SECRET_ACCESS,
            subject=str(access.ref),
            outcome=_OF_ACCESSES.get(access.outcome, "failed"),
            tenant=access.tenant,
            details={
                "result": access.outcome,
                "place": None if access.place is None else str(access.place),
                "is_cached": access.is_cached,
            },
        )

    return record


def record_attempts(sink: AuditSink) -> Callable[[Attempt], None]:
    """An ``on_attempt`` of a :class:`Broker` that records each as ``network.access``.

    The subject is ``host:port``; no path, no query, no header and no body are in any record. As
    thread-safe as the sink.
    """
    from llmspell.security.urls.url import endpoint

    def record(attempt: Attempt) -> None:
        sink.append(
            AuditKind.NETWORK_ACCESS,
            subject=endpoint(attempt.host, attempt.port) if attempt.host else "(no host)",
            outcome=_OF_ATTEMPTS.get(attempt.outcome, "failed"),
            tenant=attempt.tenant,
            details={
                "method": attempt.method,
                "scheme": attempt.scheme,
                "address": attempt.address,
                "reason": attempt.reason,
                "status": attempt.status,
                "hops": attempt.hops,
                "sent_bytes": attempt.sent_bytes,
                "received_bytes": attempt.received_bytes,
                "seconds": round(attempt.seconds, 3),
            },
        )

    return record

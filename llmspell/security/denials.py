"""Where the guards of this layer tell of what they deny."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from llmspell.errors import ConfigError, SecurityError
from llmspell.security.secrets.ref import check_tenant

if TYPE_CHECKING:
    from llmspell.security.audit import AuditSink

__all__ = ["Denials", "check_sink"]

DenialT = TypeVar("DenialT", bound=SecurityError)


class Denials:
    """Those of one guard, of one kind and on one tenant's behalf. As thread-safe as the sink.

    Args:
        sink: takes the records; None for none.
        kind: of the records.
        tenant: id of the tenant on whose behalf the guard is asked; None for the operator.

    Raises:
        ConfigError: no sink, or no id of a tenant.
    """

    __slots__ = ("_kind", "_sink", "_tenant")

    def __init__(self, sink: AuditSink | None, kind: str, tenant: str | None) -> None:
        self._sink = check_sink(sink)
        self._kind = kind
        self._tenant = None if tenant is None else check_tenant(tenant)

    def noted(self, denial: DenialT, subject: str, **details: Any) -> DenialT:
        """The denial, to be raised; it stands whether it can be recorded or not."""
        if self._sink is not None:
            # Not above: who has no log loads none of it.
            from llmspell.security.audit import note_denial

            note_denial(
                self._sink,
                denial,
                self._kind,
                subject=subject,
                tenant=self._tenant,
                details=details,
            )
        return denial


def check_sink(given: AuditSink | None) -> AuditSink | None:
    """What records are given to. Raises ConfigError where it takes none."""
    if given is not None and not callable(getattr(given, "append", None)):
        raise ConfigError(
            f"audit is an AuditLog or another AuditSink, of llmspell.open a path too; got {given!r}"
        )
    return given

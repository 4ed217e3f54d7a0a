"""What is to be recorded: its kinds, its bounds, and the sink that takes it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Final, Protocol, get_args

from llmspell.errors import InputError
from llmspell.security.audit.record import MAX_NAME_CHARS, AuditOutcome, Details, is_kind
from llmspell.security.redaction import Redactor, redact_attributes
from llmspell.security.secrets.secret import Secret

__all__ = [
    "LOOKED_AT",
    "MAX_INT",
    "AuditKind",
    "AuditSink",
    "Event",
    "clean_name",
    "clean_value",
    "note_denial",
]

_LOG = logging.getLogger("llmspell")

# Bytes as they are in a line, where a character may take twelve.
_SUBJECT_BYTES: Final = 512
_VALUE_BYTES: Final = 512
_DETAILS_BYTES: Final = 3072
_MAX_DETAILS: Final = 32
_MAX_LIST: Final = 16
_MAX_DEPTH: Final = 4
_MAX_TENANT_CHARS: Final = 128
#: Of a text only so much is looked at; what a secret at its end begins with is left out, too.
LOOKED_AT: Final = 4096
_CUT: Final = "[cut]"
#: Of the integers that a record holds as such.
MAX_INT: Final = (1 << 63) - 1
_REDACTOR: Final = Redactor()


class AuditKind(StrEnum):
    """What llmspell records; a kind of your own has the same form, ``noun.verb``."""

    TENANT_CREATE = "tenant.create"
    TENANT_RESTORE = "tenant.restore"
    TENANT_CLONE = "tenant.clone"
    TENANT_UPDATE = "tenant.update"
    TENANT_SUSPEND = "tenant.suspend"
    TENANT_RESUME = "tenant.resume"
    TENANT_DROP = "tenant.drop"
    TENANT_PURGE = "tenant.purge"
    TENANT_SNAPSHOT = "tenant.snapshot"
    TENANT_EXPORT = "tenant.export"
    TENANT_IMPORT = "tenant.import"
    TENANT_USE = "tenant.use"
    QUOTA_CHARGE = "quota.charge"
    SECRET_ACCESS = "secret.access"
    SECRET_CHANGE = "secret.change"
    KEY_CHANGE = "key.change"
    TOOL_RUN = "tool.run"
    TOOL_RUN_UNSANDBOXED = "tool.run_unsandboxed"
    NETWORK_ACCESS = "network.access"
    FILE_ACCESS = "file.access"
    COMMAND_RUN = "command.run"
    LOG_TORN = "log.torn"


#: Details that make attempts different in kind: equal events have the same. Their values are words
#: of llmspell's own, so that who causes events can't make up many of them.
_APART: Final = ("method", "reason", "result", "error")
_APART_CHARS: Final = 64

#: Steps of an operator: each has its record. Of all others equal ones are counted.
_EACH: Final = frozenset(
    {
        AuditKind.TENANT_CREATE,
        AuditKind.TENANT_RESTORE,
        AuditKind.TENANT_CLONE,
        AuditKind.TENANT_UPDATE,
        AuditKind.TENANT_SUSPEND,
        AuditKind.TENANT_RESUME,
        AuditKind.TENANT_DROP,
        AuditKind.TENANT_PURGE,
        AuditKind.SECRET_CHANGE,
        AuditKind.KEY_CHANGE,
        AuditKind.LOG_TORN,
    }
)


class AuditSink(Protocol):
    """Takes what is to be recorded; :class:`AuditLog` is one, and so may be what you have."""

    def append(
        self,
        kind: str,
        *,
        subject: str,
        outcome: AuditOutcome = "done",
        tenant: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> object:
        """Record something, durably, before it returns.

        Raises:
            AuditDamaged, AuditFailed: it isn't recorded.
        """


def note_denial(
    sink: AuditSink | None,
    denial: BaseException,
    kind: str,
    *,
    subject: str,
    tenant: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Record a denial that is about to be raised, and let it stand whatever becomes of the record.

    Where it can't be recorded, that is logged, and a note at the denial says so.
    """
    if sink is None:
        return
    known = {"error": type(denial).__name__, **(details or {})}
    try:
        sink.append(kind, subject=subject, outcome="denied", tenant=tenant, details=known)
    except Exception as error:  # also of another sink, or of what a detail's text is asked of
        denial.add_note(f"not in the audit log: {error}")
        _LOG.error("a denial of %s isn't in the audit log: %s", kind, error)


@dataclass(frozen=True, slots=True)
class Event:
    """What a caller asks to have recorded, as it was given; checked, and not redacted yet.

    Raises:
        InputError: a kind or a tenant that can't be one, an unknown outcome, no text for a subject.
    """

    kind: str
    subject: str
    outcome: AuditOutcome
    tenant: str | None
    details: Mapping[str, Any] | None

    def __post_init__(self) -> None:
        kind, tenant = self.kind, self.tenant
        if not isinstance(kind, str) or not is_kind(kind):
            raise InputError(f"a kind is noun.verb in lower case, {MAX_NAME_CHARS} at most")
        if self.outcome not in get_args(AuditOutcome):
            raise InputError(f"an outcome is one of {get_args(AuditOutcome)}, got {self.outcome!r}")
        if tenant is not None and not (
            isinstance(tenant, str) and 1 <= len(tenant) <= _MAX_TENANT_CHARS
        ):
            raise InputError(f"a tenant is an id of 1 to {_MAX_TENANT_CHARS} characters, or None")
        if not isinstance(self.subject, str):
            raise InputError(f"a subject is a str, not {type(self.subject).__name__}")
        if self.details is not None and not isinstance(self.details, Mapping):
            raise InputError(f"details are a mapping, not {type(self.details).__name__}")

    @property
    def is_countable(self) -> bool:
        """Whether equal ones within an interval are counted: what a tenant can cause in a loop."""
        return self.kind not in _EACH

    @property
    def apart(self) -> tuple[str, ...]:
        """What tells it apart from others of its kind, subject and outcome; "" where it isn't."""
        details = self.details or {}
        values = (details.get(name) for name in _APART)
        return tuple(v[:_APART_CHARS] if isinstance(v, str) else "" for v in values)

    def clean_subject(self) -> str:
        """The subject as it is recorded."""
        return _text(self.subject, _SUBJECT_BYTES)

    def clean_details(self) -> Details:
        """The details as they are recorded: redacted, flat, ordered by name, and bounded."""
        taken: dict[str, Any] = {}
        room = _DETAILS_BYTES
        for name, value in _flat(self.details or {}):
            if len(taken) == _MAX_DETAILS:
                taken[_CUT] = True
                break
            # Two long names may have the same beginning: the first stays.
            room -= len(json.dumps({name: value}))
            if room < 0:
                taken[_CUT] = True
                break
            taken.setdefault(name, value)
        return dict(sorted(taken.items()))


def _flat(details: Mapping[Any, Any], above: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in details.items():
        name = clean_name(f"{above}{key}")
        if isinstance(value, Mapping) and depth < _MAX_DEPTH:
            yield from _flat(value, f"{name}.", depth + 1)
        elif isinstance(value, (list, tuple, set, frozenset)):
            items = [clean_value(item, name) for item in islice(value, _MAX_LIST)]
            yield name, items if len(value) <= _MAX_LIST else [*items, _CUT]
        else:
            yield name, clean_value(value, name)


def clean_name(name: str) -> str:
    """The name of a detail as it is recorded."""
    return _text(name[: MAX_NAME_CHARS * 2], MAX_NAME_CHARS)


def clean_value(value: Any, name: str, limit: int = _VALUE_BYTES) -> Any:
    """The value of a detail as it is recorded: redacted, a text of at most so many bytes."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        # Without a length, for str() of a huge one takes long, or raises.
        return (
            int(value) if -MAX_INT <= value <= MAX_INT else f"an int of {value.bit_length()} bits"
        )
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, (bytes, bytearray, memoryview, Mapping)):
        return f"{type(value).__name__} of length {len(value)}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"{type(value).__name__} of length {len(value)}"
    return _text(str(value), limit, name)


def _text(text: str, limit: int, name: str = "") -> str:
    """A text redacted, as the value of its name too, and cut to so many bytes of a line."""
    if len(text) <= LOOKED_AT:
        return _fit(str(redact_attributes({name: text}, _REDACTOR)[name]), limit)
    # What is undecided at the cut may be the beginning of a secret: it is not asked for.
    head = f'{name}="' if name else ""
    decided = _REDACTOR.stream().feed(head + text[:LOOKED_AT])
    shown = decided[len(head) :] if decided.startswith(head) else ""
    return _fit(shown, limit - len(_CUT)).removesuffix(_CUT) + _CUT


def _fit(text: str, limit: int) -> str:
    if len(text) <= limit and len(json.dumps(text)) - 2 <= limit:
        return text
    text = text[:limit]
    limit -= len(_CUT)
    while (size := len(json.dumps(text)) - 2) > limit:
        text = text[: min(len(text) * limit // size, len(text) - 1)]
    return text + _CUT

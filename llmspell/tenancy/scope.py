"""State scopes, and which of them is a tenant's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self, TypeAlias, get_args

from llmspell.config import MAX_TENANT_ID_CHARS
from llmspell.errors import InputError

__all__ = ["ScopeKind", "StateScope", "tenant_id_of"]

ScopeKind: TypeAlias = Literal["global", "agent", "workflow", "step", "session", "custom"]

MAX_NAME_CHARS = 256
_TENANT = "tenant:"
# A step's text has two names, so the first mustn't hold the sign that parts them.
_ESCAPES = str.maketrans({"%": "%25", ":": "%3A"})


@dataclass(frozen=True, slots=True)
class StateScope:
    """Whose a piece of state is. Equal scopes are one room; no other two are.

    ``custom("tenant:ID")`` is the room of the tenant ID, whatever characters the id has: see
    :meth:`Database.scope`. Names are taken as they are, without trimming or normalising:
    ``tenant:acme`` and ``tenant:acme-corp`` have no more in common than any two.

    Args:
        kind: "global", "agent", "workflow", "step", "session" or "custom".
        name: what it belongs to, 1 to 256 characters without NUL; of a step its workflow; empty
            for "global".
        step: of a step, its name; otherwise empty.

    Raises:
        InputError: a name that there can't be.
    """

    kind: ScopeKind
    name: str = ""
    step: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScopeKind):
            kinds = ", ".join(get_args(ScopeKind))
            raise InputError(f"a scope's kind must be one of {kinds}, got {self.kind!r}")
        _check_name("name", self.name, is_wanted=self.kind != "global")
        _check_name("step", self.step, is_wanted=self.kind == "step")
        tenant_id = self.tenant_id
        if tenant_id is not None and not 1 <= len(tenant_id) <= MAX_TENANT_ID_CHARS:
            raise InputError(
                f"a tenant's id must have 1 to {MAX_TENANT_ID_CHARS} characters, "
                f"got {len(tenant_id)} behind {_TENANT!r}"
            )

    @classmethod
    def custom(cls, name: str) -> Self:
        """A scope of your own; ``custom("tenant:ID")`` is that of a tenant."""
        return cls("custom", name)

    @classmethod
    def tenant(cls, tenant_id: str) -> Self:
        """The scope of a tenant: ``custom("tenant:ID")``."""
        if not isinstance(tenant_id, str):
            raise InputError(f"a tenant's id is a str, got {type(tenant_id).__name__}")
        return cls("custom", _TENANT + tenant_id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The scope that ``str(scope)`` wrote, as ``"custom:tenant:acme"``; raises InputError."""
        if not isinstance(text, str):
            raise InputError(f"a scope's text is a str, got {type(text).__name__}")
        kind, _, name = text.partition(":")
        if kind == "step":
            workflow, _, step = name.partition(":")
            scope = cls("step", workflow.replace("%3A", ":").replace("%25", "%"), step)
        else:
            scope = cls(kind, name)  # type: ignore[arg-type]
        if str(scope) != text:
            raise InputError(f"{text!r} is no scope; did you mean {str(scope)!r}?")
        return scope

    @property
    def tenant_id(self) -> str | None:
        """Id of the tenant whose room it is; None of another scope."""
        if self.kind != "custom" or not self.name.startswith(_TENANT):
            return None
        return self.name[len(_TENANT) :]

    def __str__(self) -> str:
        if self.kind == "global":
            return "global"
        if self.kind == "step":
            return f"step:{self.name.translate(_ESCAPES)}:{self.step}"
        return f"{self.kind}:{self.name}"


def tenant_id_of(scope: StateScope) -> str:
    """Id of the tenant whose scope it is; raises InputError."""
    if not isinstance(scope, StateScope):
        raise InputError(f"a scope is a StateScope, got {type(scope).__name__}; see parse")
    if scope.tenant_id is None:
        raise InputError(f"scope {str(scope)!r} is no tenant's; that is custom('tenant:ID')")
    return scope.tenant_id


def _check_name(field: str, value: object, *, is_wanted: bool) -> None:
    if not isinstance(value, str):
        raise InputError(f"a scope's {field} must be a str, got {type(value).__name__}")
    if not is_wanted:
        if value:
            raise InputError(f"a scope of this kind has no {field}, got {value!r}")
        return
    if not 1 <= len(value) <= MAX_NAME_CHARS:
        raise InputError(
            f"a scope's {field} must have 1 to {MAX_NAME_CHARS} characters, got {len(value)}"
        )
    if "\0" in value or any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise InputError(f"a scope's {field} must not hold NUL or unpaired surrogates")

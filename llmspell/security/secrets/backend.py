"""What a place that keeps secrets offers, and how what it keeps becomes a secret."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Final, Generic, Protocol, TypeVar

from llmspell.errors import SecretNotFound, UnreadableSecret
from llmspell.security.secrets.ref import SecretRef
from llmspell.security.secrets.secret import Secret

__all__ = [
    "MAX_SECRET_BYTES",
    "EnvironmentBackend",
    "PerProcess",
    "SecretBackend",
    "field_of",
    "held",
    "text_of",
]

MAX_SECRET_BYTES: Final = 64 * 1024

T = TypeVar("T")


class SecretBackend(Protocol):
    """A place that keeps secrets. Called by several threads at once, and again after a fork."""

    @property
    def scheme(self) -> str:
        """Of the references that it reads."""

    def ref_for(self, name: str, tenant: str | None) -> SecretRef | None:
        """Where it keeps a name of a tenant, or of the deployment; None where it keeps none such.

        Different for each pair of tenant and name.
        """

    def read(self, ref: SecretRef) -> Secret[str] | None:
        """The value; None where there is none.

        Raises:
            SecretDenied: we may not read it.
            SecretUnavailable: it can't be told now.
            SecurityError: another reason.
        """


class EnvironmentBackend:
    """Environment variables: of the deployment alone, since a process has but one set of them.

    Args:
        environ: in place of the process's own, as it is at each read.
    """

    scheme = "env"

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def __repr__(self) -> str:
        return "EnvironmentBackend()"

    def ref_for(self, name: str, tenant: str | None) -> SecretRef | None:
        """``env:OPENAI_API_KEY`` for ``openai``."""
        variable = f"{name.upper().replace('-', '_')}_API_KEY"
        if tenant is not None or variable[0].isdigit():
            return None
        return SecretRef("env", variable)

    def read(self, ref: SecretRef) -> Secret[str] | None:
        """The variable's value; one that is empty counts as none."""
        found = held(self._environ.get(ref.path))
        return None if found is None else text_of(found, ref)


# Numbers of processes are taken again, and each namespace of them begins with 1.
_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class PerProcess(Generic[T]):
    """Something that a forked child needs anew: locks that may be held, connections in use.

    A child lets go of its parent's when it first asks for its own.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[tuple[int, int], T] = {(os.getpid(), _forks): make()}

    def get(self) -> T:
        """This process's; thread-safe."""
        here = (os.getpid(), _forks)
        made = self._made.get(here)
        if made is None:
            # One thread's wins; all others get that.
            made = self._made.setdefault(here, self._make())
            for other in list(self._made):
                if other != here:
                    self._made.pop(other, None)
        return made


def held(value: str | None) -> Secret[str] | None:
    """A value as a secret; None for none, and for an empty one."""
    return Secret(value) if value else None


# These take a Secret and hold its value in no frame that raises: a traceback that is recorded with
# its locals would show it.


def text_of(raw: Secret[bytes] | Secret[str], ref: SecretRef) -> Secret[str]:
    """UTF-8 as text, without the one line end that editors put at the end of a file.

    Raises:
        UnreadableSecret: not UTF-8, nothing, or longer than 64 KiB.
    """
    text = _decoded(raw)
    if text is None:
        raise UnreadableSecret(
            f"{ref} holds no text in UTF-8 of 1 to {MAX_SECRET_BYTES} bytes; encode what is "
            "binary, as with base64"
        )
    return text


def _decoded(raw: Secret[bytes] | Secret[str]) -> Secret[str] | None:
    value = raw.reveal()
    try:
        encoded = value if isinstance(value, bytes) else value.encode()
        text = encoded.decode()
    except UnicodeError:
        return None
    text = text.removesuffix("\n").removesuffix("\r")
    return Secret(text) if text and len(encoded) <= MAX_SECRET_BYTES else None


def field_of(document: Secret[str], ref: SecretRef) -> Secret[str]:
    """A field of a JSON object, by the reference's key.

    Raises:
        SecretNotFound: there is no such field.
        UnreadableSecret: it is no object, or the field is no text.
    """
    found = _field(document, ref.key or "")
    if found is None:
        raise SecretNotFound(f"{ref}: there is no such field in the secret")
    if not isinstance(found, Secret):
        raise UnreadableSecret(f"{ref} is no text in a field of a JSON object")
    return text_of(found, ref)


def _field(document: Secret[str], key: str) -> Secret[str] | bool | None:
    try:
        fields = json.loads(document.reveal())
    except (ValueError, RecursionError):
        return False
    if not isinstance(fields, dict):
        return False
    value = fields.get(key)
    if value is None:
        return None
    return Secret(value) if isinstance(value, str) and value else False

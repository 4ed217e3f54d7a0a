"""Where a secret is: a text that may be written down anywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Final, Self, final

from llmspell.errors import ConfigError, InvalidSecretRef

__all__ = ["NAME", "SecretRef", "check_tenant", "component", "place"]

MAX_CHARS: Final = 1024
MAX_TENANT_CHARS: Final = 128
# As long as AWS lets a name be, with room for the prefix and the name in it.
MAX_COMPONENT: Final = 200

_SCHEME: Final = re.compile(r"[a-z][a-z0-9]{0,31}")
#: Names of secrets: one component of a path, the same in every backend and on every file system.
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Nothing that a URL, a file system or a shell reads as more than itself.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._=+@:-]+")
_KEY: Final = re.compile(r"[A-Za-z0-9._=+@:/-]{1,256}")

_WITHOUT_KEYS: Final = {"name", "env"}


@final
@total_ordering
@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is kept: ``scheme:path`` or ``scheme:path#key``. Holds no value.

    ``name:openai`` is looked for in the environment (``OPENAI_API_KEY``) and then in each backend;
    every other scheme is that of one place: ``env:OPENAI_API_KEY``, ``file:openai``,
    ``local:openai``, ``vault:secret/data/team#key``, ``aws:team/openai#key``. Frozen, ordered and
    hashable; ``SecretRef.parse(str(ref)) == ref``.

    Args:
        scheme: ``name``, ``env`` or the scheme of a backend.
        path: components of ``[A-Za-z0-9._=+@:-]`` with ``/`` between them, none of them empty,
            ``.`` or ``..``; of ``name:``, one of ``[a-z0-9_-]`` of up to 64 characters.
        key: the field, where there are several in one place; None for the whole.

    Raises:
        InvalidSecretRef: it is none. The message doesn't repeat it, for it may be a secret that
            was given in place of a reference.
    """

    scheme: str
    path: str
    key: str | None = None

    def __post_init__(self) -> None:
        for part in (self.scheme, self.path, "" if self.key is None else self.key):
            if not isinstance(part, str):
                raise InvalidSecretRef(f"a part of a reference is a str, not {type(part).__name__}")
        if not _SCHEME.fullmatch(self.scheme):
            raise InvalidSecretRef(
                "the scheme of a reference is a lower-case word, as in env:OPENAI_API_KEY"
            )
        if len(self.path) > MAX_CHARS:
            raise InvalidSecretRef(f"the path of a reference is longer than {MAX_CHARS} characters")
        if self.scheme == "name" and not NAME.fullmatch(self.path):
            raise InvalidSecretRef(
                "a name of a secret is of a-z, 0-9, _ and -, begins with a letter or a digit and "
                "has at most 64 characters"
            )
        if self.scheme == "env" and not _VARIABLE.fullmatch(self.path):
            raise InvalidSecretRef("env: takes the name of an environment variable")
        for segment in self.path.split("/"):
            if segment in {".", ".."} or not _SEGMENT.fullmatch(segment):
                raise InvalidSecretRef(
                    f"the path of a reference of {self.scheme}: has components of letters, digits "
                    "and . _ = + @ : - with / between them; none is empty, '.' or '..'"
                )
        if self.key is not None and (self.scheme in _WITHOUT_KEYS or not _KEY.fullmatch(self.key)):
            raise InvalidSecretRef(f"what follows # is no key that {self.scheme}: can have")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reference that a text is, as ``vault:secret/data/team#key``.

        Raises:
            InvalidSecretRef: it is none, or has no scheme.
        """
        if not isinstance(text, str):
            raise InvalidSecretRef(f"a reference is a str, not {type(text).__name__}")
        scheme, colon, rest = text.partition(":")
        if not colon:
            raise InvalidSecretRef(
                "a reference begins with its scheme: name:openai, env:OPENAI_API_KEY, "
                "vault:secret/data/team#key; was a value given in its place?"
            )
        path, sharp, key = rest.partition("#")
        return cls(scheme, path, key if sharp else None)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, SecretRef):
            return NotImplemented
        mine, others = (self.scheme, self.path), (other.scheme, other.path)
        # No key is the empty text, which none is.
        return (mine, self.key or "") < (others, other.key or "")

    def __str__(self) -> str:
        return f"{self.scheme}:{self.path}" + ("" if self.key is None else f"#{self.key}")


def check_tenant(tenant_id: str) -> str:
    """The id of a tenant, of which a :class:`llmspell.TenantConfig` could be made.

    Raises:
        ConfigError: it is none.
    """
    is_id = isinstance(tenant_id, str) and 1 <= len(tenant_id) <= MAX_TENANT_CHARS
    if not is_id or any(0xD800 <= ord(c) <= 0xDFFF or c == "\0" for c in tenant_id):
        raise ConfigError(f"a tenant's id is a str of 1 to {MAX_TENANT_CHARS} characters")
    return tenant_id


def component(text: str) -> str:
    """Any text as one component of a path, different for different texts.

    What isn't ``a-z``, ``0-9``, ``_`` or ``-`` is ``=`` and its bytes in hexadecimal: upper case
    too, for file systems that don't tell ``Acme`` from ``acme``; and not with ``%``, which a
    server of HTTP would turn back. What gets too long is a digest, marked by ``+``.
    """
    raw = text.encode()
    plain = b"abcdefghijklmnopqrstuvwxyz0123456789_-"
    escaped = "".join(chr(byte) if byte in plain else f"={byte:02x}" for byte in raw)
    if len(escaped) <= MAX_COMPONENT:
        return escaped
    from hashlib import sha256

    return f"+{sha256(raw).hexdigest()}"


def place(name: str, tenant: str | None) -> str:
    """The path of a name within a backend; no two pairs of tenant and name have the same.

    A name has no ``/``, so one of the deployment never looks like one of a tenant.
    """
    return name if tenant is None else f"tenants/{component(tenant)}/{name}"

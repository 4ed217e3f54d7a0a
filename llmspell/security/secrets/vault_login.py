"""Ways to log in to Vault or OpenBao, and what a login gives: a token with a lease."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmspell.security.secrets.secret import Secret

__all__ = [
    "AppRole",
    "Nonsense",
    "VaultToken",
    "given",
    "log_in_by_role",
    "look_up_token",
    "renew",
]

Given = Secret[str] | Callable[[], Secret[str]]


@dataclass(frozen=True, slots=True)
class VaultToken:
    """A token, which is renewed while its lease lasts.

    Args:
        token: the token, or what gives it: called again whenever the last one has ended, as for one
            that an agent keeps in a file.
    """

    token: Given


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRole:
    """A role that logs in by an id and a secret id, again when its token has ended.

    Args:
        role_id: of the role.
        secret_id: its secret id, or what gives it: called at each login.
        mount: of the method.
    """

    role_id: str
    secret_id: Given
    mount: str = "approle"


class Nonsense(Exception):
    """An answer that isn't of the form of Vault's."""


def given(what: Given) -> Secret[str]:
    """The secret, asked for where it is a function that gives it."""
    return what if isinstance(what, Secret) else what()


def log_in_by_role(client: Any, auth: AppRole, secret_id: Secret[str]) -> tuple[float, bool]:
    """Have the client hold a new token; its lease in seconds, and whether it can be renewed."""
    answer = client.auth.approle.login(
        role_id=auth.role_id,
        secret_id=secret_id.reveal(),
        use_token=True,
        mount_point=auth.mount,
    )
    return _lease(answer, "auth", "lease_duration")


def look_up_token(client: Any, token: Secret[str]) -> tuple[float, bool]:
    """Have the client hold this token; what is left of its lease, and whether it can be renewed."""
    client.token = token.reveal()
    return _lease(client.auth.token.lookup_self(), "data", "ttl")


def renew(client: Any) -> tuple[float, bool]:
    """Renew the token that the client holds; its new lease, as of a login."""
    return _lease(client.auth.token.renew_self(), "auth", "lease_duration")


def _lease(answer: Any, part: str, seconds: str) -> tuple[float, bool]:
    try:
        lease, is_renewable = float(answer[part][seconds]), bool(answer[part]["renewable"])
    except (TypeError, KeyError, ValueError, OverflowError):
        raise Nonsense from None
    if not 0 <= lease < math.inf:  # JSON as Python reads it has NaN too
        raise Nonsense
    return lease, is_renewable

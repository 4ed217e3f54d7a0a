"""Secrets in HashiCorp Vault or OpenBao: KV version 2."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from llmspell.errors import (
    ConfigError,
    InvalidSecretRef,
    MissingDependency,
    SecretDenied,
    SecretUnavailable,
    SecurityError,
    UnreadableSecret,
)
from llmspell.security.secrets.backend import PerProcess, text_of
from llmspell.security.secrets.cache import elapsed
from llmspell.security.secrets.ref import SecretRef, place
from llmspell.security.secrets.secret import Secret
from llmspell.security.secrets.vault_login import (
    AppRole,
    Nonsense,
    VaultToken,
    given,
    log_in_by_role,
    look_up_token,
    renew,
)

__all__ = ["VaultBackend"]

# A token is renewed when this much of its lease has passed, as Vault's own agent does.
_RENEW_AT: Final = 2 / 3
_RETRY_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Session:
    """One process's client; its token, where it has one, is good until ``ends``."""

    client: Any
    lock: threading.Lock = field(default_factory=threading.Lock)
    has_token: bool = False
    logins: int = 0
    is_renewable: bool = False
    renew_at: float = 0.0
    ends: float = 0.0


class VaultBackend:
    """Vault or OpenBao, KV version 2: ``vault:secret/data/team#key``. Needs the extra ``vault``.

    A reference's path is that of the HTTP interface, ``MOUNT/data/PATH``, and its key the field;
    without a key it is ``value``. Names are fields ``value`` at ``MOUNT/data/PREFIX/NAME`` and
    ``MOUNT/data/PREFIX/tenants/TENANT/NAME``, so that policies can be written for them.

    Thread-safe, and usable after a fork. Redirects aren't followed, lest the token go with them.

    Args:
        url: as ``https://vault.example.org:8200``; http only to the same machine.
        auth: a :class:`VaultToken` or an :class:`AppRole`.
        mount: of the KV engine that names are in.
        prefix: of names.
        namespace: of Vault Enterprise and OpenBao.
        verify: check the server's certificate, by the system's authorities or those in this file.
        timeout: seconds for each request.
        clock: in seconds, for tests.

    Raises:
        ConfigError: no URL of a server, a mount or a prefix that isn't one, or a time that isn't
            positive.
    """

    scheme = "vault"

    def __init__(
        self,
        url: str,
        auth: VaultToken | AppRole,
        *,
        mount: str = "secret",
        prefix: str = "llmspell",
        namespace: str | None = None,
        verify: bool | str = True,
        timeout: float = 5.0,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        if not 0 < timeout <= 60:
            raise ConfigError(f"timeout must be more than 0 and at most 60 seconds, got {timeout}")
        if not _is_confidential(url):
            raise ConfigError(
                "url must be https with a host, or http with localhost or an address of loopback, "
                "since the token goes with every request; and without a user in it"
            )
        self._url = url
        self._auth = auth
        self._base = f"{mount}/data/{prefix}"
        try:
            SecretRef(self.scheme, self._base)
        except InvalidSecretRef as error:
            raise ConfigError(f"mount or prefix is no path: {error}") from None
        self._namespace = namespace
        self._verify = verify
        self._timeout = timeout
        self._clock = clock
        self._session = PerProcess(self._connect)

    def __repr__(self) -> str:
        return f"VaultBackend({self._url!r}, {type(self._auth).__name__})"

    def _connect(self) -> _Session:
        try:
            import hvac
        except ImportError as error:
            raise MissingDependency("vault", "hvac") from error
        # A token of "" keeps hvac from taking one out of the environment or the home directory.
        client = hvac.Client(
            self._url,
            token="",
            namespace=self._namespace,
            verify=self._verify,
            timeout=self._timeout,
            allow_redirects=False,
        )
        return _Session(client)

    def ref_for(self, name: str, tenant: str | None) -> SecretRef:
        """``vault:MOUNT/data/PREFIX/NAME#value``, of a tenant ``.../tenants/TENANT/NAME#value``."""
        return SecretRef(self.scheme, f"{self._base}/{place(name, tenant)}", "value")

    def read(self, ref: SecretRef) -> Secret[str] | None:
        """A field of the newest version; None where there is none, or it is deleted.

        Raises:
            SecretDenied: the policy doesn't allow it, or there is no way to log in.
            SecretUnavailable: the server can't be asked, is sealed, or answers nonsense.
            UnreadableSecret: the field is no text.
        """
        if "/data/" not in ref.path:
            raise InvalidSecretRef(f"{ref}: a path of KV version 2 is MOUNT/data/PATH")
        session = self._session.get()
        token = self._logged_in(session)
        found = self._asked(lambda: _field(session.client, ref), f"reading {ref}")
        if isinstance(found, SecretDenied):
            found = self._after_denial(session, token, ref, found)
        if isinstance(found, SecurityError):
            raise found
        if found is False:
            raise UnreadableSecret(f"{ref} is no text in a field")
        return None if found is None else text_of(found, ref)

    def _after_denial(
        self, session: _Session, token: int, ref: SecretRef, denied: SecretDenied
    ) -> Any:
        """What a token that lives is denied, it is by policy; one that was revoked is replaced."""
        with session.lock:
            if session.logins == token:
                lives = self._asked(session.client.auth.token.lookup_self, "looking up the token")
                if not isinstance(lives, SecretDenied):
                    return lives if isinstance(lives, SecurityError) else denied
                session.has_token = False
        self._logged_in(session)
        return self._asked(lambda: _field(session.client, ref), f"reading {ref}")

    def _logged_in(self, session: _Session) -> int:
        """Make sure of a token that lasts; says which one it is."""
        with session.lock:
            now = self._clock()
            if session.has_token and now >= session.renew_at:
                if now >= session.ends:
                    session.has_token = False
                elif session.is_renewable:
                    self._renew(session, now)
            if not session.has_token:
                self._log_in(session, now)
            return session.logins

    def _renew(self, session: _Session, now: float) -> None:
        lease = self._asked(lambda: renew(session.client), "renewing the token")
        if isinstance(lease, SecretUnavailable):
            # It is good until its end; not every access until then need wait for the server.
            session.renew_at = min(session.ends, now + _RETRY_SECONDS)
            return
        if isinstance(lease, SecurityError):
            session.has_token = False
            return
        self._note(session, lease, now)

    def _log_in(self, session: _Session, now: float) -> None:
        auth = self._auth
        if isinstance(auth, AppRole):
            secret_id = given(auth.secret_id)
            lease = self._asked(
                lambda: log_in_by_role(session.client, auth, secret_id), "logging in by AppRole"
            )
        else:
            token = given(auth.token)
            lease = self._asked(
                lambda: look_up_token(session.client, token), "looking up the token"
            )
        if isinstance(lease, SecurityError):
            raise lease
        session.logins += 1
        self._note(session, lease, now)

    def _note(self, session: _Session, lease: tuple[float, bool], now: float) -> None:
        seconds, session.is_renewable = lease
        session.has_token = True
        # A lease of 0 is one without an end, as a root token's.
        session.ends = now + seconds if seconds else float("inf")
        session.renew_at = now + seconds * _RENEW_AT if seconds else float("inf")

    def _asked(self, ask: Callable[[], Any], what: str) -> Any:
        """What ``ask`` returns, or the error to raise.

        That is made outside of the handler: the client's frames, which hold the token and the
        answer, would go along as its context.
        """
        from hvac import exceptions as vault

        try:
            return ask()
        except (vault.Forbidden, vault.Unauthorized, vault.InvalidRequest) as error:
            kind: type[SecurityError] = SecretDenied
            reason = type(error).__name__
        except Exception as error:
            # Whatever hvac makes of an odd answer, its frames hold the token.
            kind, reason = SecretUnavailable, type(error).__name__
        return kind(f"{self._url}: {what} ended with {reason}")


def _is_confidential(url: str) -> bool:
    """Whether what is sent there is read by nobody on the way."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return parts.username is None and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(host) and parts.username is None


def _field(client: Any, ref: SecretRef) -> Secret[str] | bool | None:
    """None where there is none; False where it is no text."""
    answer = client.read(ref.path)
    if answer is None:
        return None
    try:
        data = answer["data"]
        fields = data["data"]
        data["metadata"]["version"]
    except (TypeError, KeyError):
        raise Nonsense from None
    if fields is None:
        return None
    value = fields.get(ref.key or "value") if isinstance(fields, dict) else False
    if value is None:
        return None
    return Secret(value) if isinstance(value, str) and value else False

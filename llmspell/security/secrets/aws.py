"""Secrets in AWS Secrets Manager."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from llmspell.errors import (
    ConfigError,
    InvalidSecretRef,
    MissingDependency,
    SecretDenied,
    SecretUnavailable,
    SecurityError,
    UnreadableSecret,
)
from llmspell.security.secrets.backend import PerProcess, field_of, text_of
from llmspell.security.secrets.ref import SecretRef, place
from llmspell.security.secrets.secret import Secret

__all__ = ["AwsBackend"]

# InvalidRequest is what a secret that is scheduled for deletion answers.
_MISSING: Final = {"ResourceNotFoundException", "InvalidRequestException"}
_DENIED: Final = {
    "AccessDenied",
    "AccessDeniedException",
    "DecryptionFailure",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "UnrecognizedClientException",
}

# At level DEBUG these log answers, with the secret, and requests, with the token of a session.
_TALKATIVE: Final = ("botocore.auth", "botocore.endpoint", "botocore.parsers")
_IS_READING: Final = ContextVar("_IS_READING", default=False)


def _may_log(_: logging.LogRecord) -> bool:
    """A filter of these loggers: requests of others in the same process stay as they are."""
    return not _IS_READING.get()


class AwsBackend:
    """AWS Secrets Manager: ``aws:team/openai``, ``aws:team/openai#key``. Needs the extra ``aws``.

    A reference's path is the secret's name or ARN, and its key a field where the secret is a JSON
    object. Names are secrets ``PREFIX/NAME`` and ``PREFIX/tenants/TENANT/NAME``, so that policies
    can be written for them. The stage ``AWSCURRENT`` is read. Credentials are found as boto3 finds
    them. Thread-safe, and usable after a fork.

    Args:
        region: None for that of the environment.
        prefix: of names.
        endpoint_url: of another server than AWS's own.
        timeout: seconds to connect, and to read; each request is tried twice.

    Raises:
        ConfigError: a prefix that isn't one, or a time that isn't positive.
        MissingDependency: no boto3.
        SecretUnavailable: no region is known.
    """

    scheme = "aws"

    def __init__(
        self,
        *,
        region: str | None = None,
        prefix: str = "llmspell",
        endpoint_url: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        if not 0 < timeout <= 15:
            raise ConfigError(f"timeout must be more than 0 and at most 15 seconds, got {timeout}")
        try:
            SecretRef(self.scheme, prefix)
        except InvalidSecretRef as error:
            raise ConfigError(f"prefix is no path: {error}") from None
        self._region = region
        self._prefix = prefix
        self._endpoint_url = endpoint_url
        self._timeout = timeout
        self._client = PerProcess(self._connect)

    def __repr__(self) -> str:
        return f"AwsBackend(region={self._region!r}, prefix={self._prefix!r})"

    def _connect(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise MissingDependency("aws", "boto3") from error
        for name in _TALKATIVE:
            logging.getLogger(name).addFilter(_may_log)
        config = Config(
            connect_timeout=self._timeout,
            read_timeout=self._timeout,
            retries={"mode": "standard", "total_max_attempts": 2},
        )
        try:
            # A session of its own: the default one isn't safe to share between threads.
            return boto3.session.Session(region_name=self._region).client(
                "secretsmanager", endpoint_url=self._endpoint_url, config=config
            )
        except BotoCoreError as error:
            raise SecretUnavailable(f"AWS Secrets Manager: {error}") from None

    def ref_for(self, name: str, tenant: str | None) -> SecretRef:
        """``aws:PREFIX/NAME``, or ``aws:PREFIX/tenants/TENANT/NAME``."""
        return SecretRef(self.scheme, f"{self._prefix}/{place(name, tenant)}")

    def read(self, ref: SecretRef) -> Secret[str] | None:
        """The secret, or a field of it; None where there is none, or it is to be deleted.

        Raises:
            SecretDenied: the policy doesn't allow it, or the credentials aren't taken.
            SecretNotFound: the secret has no such field.
            SecretUnavailable: the service can't be asked.
            UnreadableSecret: it is binary, or no JSON object where a field is asked for.
        """
        found = self._asked(ref)
        if isinstance(found, SecurityError):
            raise found
        if found is False:
            raise UnreadableSecret(f"{ref} is binary; keep it as text, as with base64")
        if found is None:
            return None
        return field_of(found, ref) if ref.key is not None else text_of(found, ref)

    def _asked(self, ref: SecretRef) -> Any:
        """The secret, or the error to raise, without boto3's frames: they may hold the secret."""
        from botocore.exceptions import ClientError, NoCredentialsError

        client = self._client.get()
        kind: type[SecurityError] = SecretUnavailable
        try:
            with _unlogged():
                return _text(client.get_secret_value(SecretId=ref.path))
        except NoCredentialsError as error:
            kind, reason = SecretDenied, type(error).__name__
        except ClientError as error:
            reason = str(error.response.get("Error", {}).get("Code", "an unknown error"))
            if reason in _MISSING:
                return None
            if reason in _DENIED:
                kind = SecretDenied
        except Exception as error:
            # Whatever else is made of an odd answer, its frames hold the secret.
            reason = type(error).__name__
        return kind(f"AWS Secrets Manager: reading {ref} ended with {reason}")


@contextmanager
def _unlogged() -> Iterator[None]:
    before = _IS_READING.set(True)
    try:
        yield
    finally:
        _IS_READING.reset(before)


def _text(answer: dict[str, Any]) -> Secret[str] | bool:
    value = answer.get("SecretString")
    return Secret(value) if value else False

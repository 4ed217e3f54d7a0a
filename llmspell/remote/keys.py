"""Keys of services: given, looked up, or made, and read anew for each request."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from llmspell.errors import ConfigError
from llmspell.security import Secret, SecretRef

__all__ = ["KeyReader", "KeySource", "SecretReader"]

KeySource: TypeAlias = "Secret[str] | SecretRef | Callable[[], Secret[str]]"
"""A key, where one is kept, or what gives it, as ``lambda: store.api_key("openai")``."""

# What a header may hold; an HTTP library would repeat another in its error.
_KEY: Final = re.compile(r"[!-~]+")


class SecretReader(Protocol):
    """What reads references: a :class:`llmspell.security.SecretStore`, or a tenant's view of it."""

    def get(self, ref: SecretRef, /) -> Secret[str]:
        """The secret of a reference."""


class KeyReader:
    """Gives a service's key when a request is made. Thread-safe.

    Args:
        source: of it.
        owner: whose key it is, for errors.
        secrets: reads a :class:`llmspell.security.SecretRef`; a store of the process's environment
            where None.

    Raises:
        ConfigError: the source is none.
    """

    def __init__(self, source: KeySource, owner: str, secrets: SecretReader | None = None) -> None:
        if not (isinstance(source, (Secret, SecretRef)) or callable(source)):
            raise ConfigError(
                "api_key must be a llmspell.security.Secret, a SecretRef, or a function that gives "
                "a Secret; wrap a str: Secret(...)"
            )
        self._source = source
        self._owner = owner
        self._secrets = secrets
        if secrets is None and isinstance(source, SecretRef):
            from llmspell.security import SecretStore

            self._secrets = SecretStore()

    def read(self) -> Secret[str]:
        """The key as it is now; it may wait for the place where it is kept.

        Raises:
            ConfigError: it has characters that no header takes.
            SecurityError: as the store of secrets.
        """
        source = self._source
        if isinstance(source, SecretRef):
            assert self._secrets is not None
            key = self._secrets.get(source)
        else:
            key = source if isinstance(source, Secret) else source()
        if not isinstance(key, Secret) or not _KEY.fullmatch(key.reveal()):
            raise ConfigError(
                f"the api_key of {self._owner} is no Secret, or has white space or characters "
                "beyond ASCII in it, which no header takes: it isn't shown here; strip it where it "
                "is read"
            )
        return key

    async def aread(self) -> Secret[str]:
        """As :meth:`read`, without holding up the event loop."""
        if isinstance(self._source, Secret):
            return self.read()
        import asyncio  # embedders are imported where there is no event loop

        return await asyncio.to_thread(self.read)

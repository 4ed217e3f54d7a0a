"""Keys that an encrypted store is sealed by, and where they are kept."""

from __future__ import annotations

import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol, Self

from llmspell.errors import ConfigError, MissingDependency, SecretUnavailable, WrongKey
from llmspell.security.files.lock_file import locked
from llmspell.security.secrets.backend import held
from llmspell.security.secrets.encrypted.derived import derived
from llmspell.security.secrets.secret import Secret
from llmspell.security.secrets.strict_files import absolute, read_strict, replace_strict

__all__ = ["MAX_KEYS", "KeyFile", "KeySource", "KeyVariable", "KeyringEntry", "MasterKey"]

KEY_BYTES: Final = 32
#: That one source holds.
MAX_KEYS: Final = 16
_MAX_FILE: Final = 4096


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A key of 256 random bits; ``id`` names it and says nothing about it.

    Written as 44 characters of URL-safe base64.
    """

    id: str
    value: Secret[bytes]

    @classmethod
    def draw(cls) -> Self:
        """A new one, from the system's generator."""
        return cls.of(Secret(secrets.token_bytes(KEY_BYTES)))

    @classmethod
    def of(cls, value: Secret[bytes]) -> Self:
        """That of these 32 bytes. Raises WrongKey where there are more or fewer."""
        if len(value.reveal()) != KEY_BYTES:
            raise WrongKey(f"a key has {KEY_BYTES} bytes")
        return cls(derived(value, b"key id").reveal()[:8].hex(), value)

    def text(self) -> Secret[str]:
        """As it is written."""
        return Secret(urlsafe_b64encode(self.value.reveal()).decode())


class KeySource(Protocol):
    """Where keys are kept: the first seals, the others still open what they sealed.

    Several stores may share one.
    """

    @property
    def is_writable(self) -> bool:
        """Whether :meth:`save` can change them."""

    def load(self) -> tuple[MasterKey, ...]:
        """The keys as they are now; none where nothing is kept there yet."""

    def save(self, keys: Sequence[MasterKey]) -> None:
        """Keep these in place of those that are there."""

    def lock(self) -> AbstractContextManager[None]:
        """Within it no other thread or process changes the keys, or seals a file by one of them."""


class KeyVariable:
    """An environment variable with one key, or several with blanks between them, newest first.

    Args:
        variable: its name.
        environ: in place of the process's environment.
    """

    is_writable = False

    def __init__(
        self,
        variable: str = "LLMSPELL_SECRETS_KEY",
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.variable = variable
        self._environ = os.environ if environ is None else environ

    def __repr__(self) -> str:
        return f"KeyVariable({self.variable!r})"

    def load(self) -> tuple[MasterKey, ...]:
        """Raises WrongKey where it holds no keys."""
        return _parsed(held(self._environ.get(self.variable)), f"the variable {self.variable}")

    def save(self, keys: Sequence[MasterKey]) -> None:
        """Raises ConfigError: who sets the variable changes it."""
        raise ConfigError(
            f"the variable {self.variable} is set from outside: put a new key before the old one "
            "there, rotate, then take the old one out"
        )

    def lock(self) -> AbstractContextManager[None]:
        """Nothing: what is set from outside is locked there, if at all."""
        return nullcontext()


class KeyFile:
    """A file with a key a line, newest first, that nobody else may read.

    Args:
        path: absolute.
    """

    is_writable = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = absolute(path)

    def __repr__(self) -> str:
        return f"KeyFile({str(self.path)!r})"

    def load(self) -> tuple[MasterKey, ...]:
        """Raises InsecureFile, SecretUnavailable, or WrongKey where it holds no keys."""
        found = read_strict(self.path.parent, (self.path.name,), limit=_MAX_FILE)
        return _parsed(found, str(self.path))

    def save(self, keys: Sequence[MasterKey]) -> None:
        """As a whole or not at all, also after a power cut. Raises InsecureFile or OSError."""
        replace_strict(self.path, _lines(keys))

    def lock(self) -> AbstractContextManager[None]:
        """That of ``.NAME.lock`` beside it; none where that can't be made, nor then the file."""
        above = self.path.parent
        if not os.access(above, os.W_OK):  # as of a mounted secret, which others replace
            return nullcontext()
        return locked(above / f".{self.path.name}.lock")


class KeyringEntry:
    """An entry of the system's keyring: Keychain, Secret Service, KWallet, Credential Locker.

    Needs the extra ``keyring``.

    Args:
        service, account: as the keyring calls them.
    """

    is_writable = True

    def __init__(self, service: str = "llmspell", account: str = "secrets-key") -> None:
        self.service = service
        self.account = account

    def __repr__(self) -> str:
        return f"KeyringEntry({self.service!r}, {self.account!r})"

    def load(self) -> tuple[MasterKey, ...]:
        """Raises SecretUnavailable, WrongKey where it holds no keys, or MissingDependency."""
        return _parsed(held(self._asked(None)), repr(self))

    def save(self, keys: Sequence[MasterKey]) -> None:
        """Raises SecretUnavailable or MissingDependency."""
        self._asked(_written(keys, " "))

    def lock(self) -> AbstractContextManager[None]:
        """That of a file in ``$XDG_STATE_HOME/llmspell``, or ``~/.local/state/llmspell``."""
        configured = os.environ.get("XDG_STATE_HOME", "")
        state = Path(configured) if os.path.isabs(configured) else Path.home() / ".local/state"
        name = sha256(f"{self.service}\0{self.account}".encode()).hexdigest()[:32]
        folder = state / "llmspell"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return locked(folder / f"keyring-{name}.lock")

    def _asked(self, new: Secret[str] | None) -> str | None:
        try:
            import keyring
        except ImportError as error:
            raise MissingDependency("keyring", "keyring") from error
        # Outside of the handler, lest the keyring's frames go along with what they hold.
        reason = ""
        try:
            if new is None:
                found: str | None = keyring.get_password(self.service, self.account)
                return found
            keyring.set_password(self.service, self.account, new.reveal())
        except Exception as error:  # of a bus or a service too, whose errors keyring lets through
            reason = type(error).__name__
        if reason:
            raise SecretUnavailable(
                f"the system's keyring can't be used: {reason}; unlock it, or keep the key in a "
                "file or a variable"
            )
        return None


def _written(keys: Sequence[MasterKey], between: str) -> Secret[str]:
    return Secret(between.join(key.text().reveal() for key in keys))


def _lines(keys: Sequence[MasterKey]) -> Secret[bytes]:
    return Secret((_written(keys, "\n").reveal() + "\n").encode())


def _parsed(text: Secret[str] | Secret[bytes] | None, where: str) -> tuple[MasterKey, ...]:
    """The keys in a text; WrongKey where a word of it is none."""
    found = () if text is None else _keys(text)
    if found is None:
        raise WrongKey(
            f"{where} holds something else than 1 to {MAX_KEYS} keys, each of {KEY_BYTES} bytes in "
            "URL-safe base64"
        )
    return found


def _keys(text: Secret[str] | Secret[bytes]) -> tuple[MasterKey, ...] | None:
    revealed = text.reveal()
    words = (
        revealed if isinstance(revealed, bytes) else revealed.encode("utf-8", "replace")
    ).split()
    if len(words) > MAX_KEYS:
        return None
    keys = []
    for word in words:
        try:
            raw = urlsafe_b64decode(word)
        except ValueError:
            return None
        # The decoder passes over what it doesn't know.
        if len(raw) != KEY_BYTES or urlsafe_b64encode(raw) != word:
            return None
        keys.append(MasterKey.of(Secret(raw)))
    return tuple(keys)

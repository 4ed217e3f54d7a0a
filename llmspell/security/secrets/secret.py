"""A value that is held without being shown."""

from __future__ import annotations

import hmac
import os
from hashlib import blake2b
from typing import Any, Generic, NoReturn, TypeVar, final

from llmspell.errors import InputError, SecretExposed

__all__ = ["Secret"]

# Digests of this process alone: what a secret hashes to says nothing elsewhere.
_KEY = os.urandom(32)
_MASK = "***"

T = TypeVar("T", str, bytes)


@final
class Secret(Generic[T]):
    """A string, or bytes, that shows nowhere but where :meth:`reveal` is called.

    ``repr``, ``str`` and ``format`` give a mask of fixed length; so do logs, f-strings and the
    locals of a traceback. Pickling raises :class:`~llmspell.errors.SecretExposed`; json and msgpack
    refuse the type, and give the mask with ``default=str``. A copy, also a deep one and that of
    ``dataclasses.asdict``, is the secret itself. There is no length, no iteration and no order.

    Two secrets are equal if their values are, compared in constant time; the hash is a digest under
    a key that is drawn per process. Immutable, and safe to share between threads.

    Raises:
        InputError: the value is neither str nor bytes, or it is empty.
    """

    __slots__ = ("__value",)
    __value: T

    def __init__(self, value: T):
        if not isinstance(value, (str, bytes)):
            raise InputError(f"a secret is a str or bytes, not {type(value).__name__}")
        if not value:
            raise InputError("a secret can't be empty: was the setting that it comes from given?")
        object.__setattr__(self, "_Secret__value", value)

    def reveal(self) -> T:
        """The value itself. What becomes of it from here is the caller's to look after."""
        return self.__value

    def _digest(self) -> bytes:
        value: str | bytes = self.__value
        kind = b"s" if isinstance(value, str) else b"b"
        raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return blake2b(kind + raw, key=_KEY, digest_size=32).digest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # Of digests, so that not even the lengths are told apart by time.
        return hmac.compare_digest(self._digest(), other._digest())

    def __hash__(self) -> int:
        return int.from_bytes(self._digest()[:8], "little", signed=True)

    def __repr__(self) -> str:
        return f"Secret('{_MASK}')"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __copy__(self) -> Secret[T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret[T]:
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a secret is immutable: {name} can't be set; make another")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a secret is immutable: {name} can't be deleted")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise SecretExposed(
            "a secret can't be pickled: give its name to the other side and look it up there, or "
            "call reveal() and look after the value"
        )

    def __reduce__(self) -> NoReturn:
        self.__reduce_ex__(None)

    # The default would return the slots.
    def __getstate__(self) -> NoReturn:
        self.__reduce_ex__(None)

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Secret can't be subclassed: a subclass could show the value")

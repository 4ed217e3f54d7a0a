"""What binds the records of a log to each other: its header, its hash, and anchors."""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, Self

from llmspell.errors import AuditDamaged, ConfigError, InputError
from llmspell.security.secrets.secret import Secret

__all__ = ["HEADER_BYTES", "MIN_KEY_BYTES", "Anchor", "Chain", "as_key"]

FORMAT: Final = 1
#: A header is some 130 bytes; one that is longer is none.
HEADER_BYTES: Final = 1024
MIN_KEY_BYTES: Final = 16

_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_KEY_ID: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_ANCHOR: Final = re.compile(r"([0-9a-f]{32}):(0|[1-9][0-9]{0,18}):([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A record of a log, known by its hash; kept elsewhere, it holds all that came before it.

    Its text, ``str(anchor)``, is ``LOG:SEQ:HASH`` and gives it back by :meth:`parse`.

    Args:
        log: id of the log.
        seq: number of the record; 0 for the beginning of a log without any.
        hash: of the record, 64 hexadecimal digits.
    """

    log: str
    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.log}:{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The anchor that a text stands for.

        Raises:
            InputError: it is not of the form ``LOG:SEQ:HASH``.
        """
        match = _ANCHOR.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise InputError(
                "an anchor is LOG:SEQ:HASH, 32 hexadecimal digits, a number and 64 digits, as "
                "`llmspell audit verify` prints it"
            )
        return cls(match[1], int(match[2]), match[3])


@dataclass(frozen=True, slots=True)
class Chain:
    """How a log hashes its records.

    Args:
        log: id of the log, drawn when it was made.
        key: of HMAC-SHA-256; None for SHA-256, which needs none.
        is_keyed: whether the log has a key, given here or not.
        header: bytes of the log's header, on which the first record builds.
    """

    log: str
    key: Secret[bytes] | None
    is_keyed: bool
    header: bytes

    @classmethod
    def make(cls, log: str, key: Secret[bytes] | None) -> Self:
        """That of a new log."""
        fields = {
            "format": FORMAT,
            "hash": "sha256" if key is None else "hmac-sha256",
            "key": None if key is None else _key_id(key),
            "log": log,
        }
        header = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
        return cls(log, key, key is not None, header)

    @classmethod
    def read(cls, header: bytes, key: Secret[bytes] | None, *, must_have_key: bool) -> Self:
        """That of a log which is there.

        Raises:
            AuditDamaged: the header is none of this release.
            ConfigError: the log has another key, no key, or one that isn't given.
        """
        log, hashed, key_id = _fields(header)
        is_keyed = hashed == "hmac-sha256"
        if key is not None and not is_keyed:
            raise ConfigError(
                "a key is given, and the log says that it has none: if it had one, it was replaced"
            )
        if key is None and is_keyed and must_have_key:
            raise ConfigError(f"the log is keyed (key id {key_id}): give its key")
        if key is not None and not hmac.compare_digest(_key_id(key), str(key_id)):
            raise ConfigError(f"the log has another key than the one given (key id {key_id})")
        return cls(log, key, is_keyed, header)

    @property
    def seed(self) -> str:
        """What the first record has for the hash of the one before it."""
        return sha256(self.header).hexdigest()

    @property
    def can_hash(self) -> bool:
        """Whether hashes can be checked: the log has no key, or it is here."""
        return self.key is not None or not self.is_keyed

    def digest(self, body: bytes) -> str:
        """The hash of a record's bytes."""
        if self.key is not None:
            return hmac.digest(self.key.reveal(), body, "sha256").hex()
        return sha256(body).hexdigest()


def as_key(key: Secret[bytes] | Secret[str] | bytes | None) -> Secret[bytes] | None:
    """A key as callers give it, which stays hidden; raises ConfigError."""
    raw = key.reveal() if isinstance(key, Secret) else key
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "surrogatepass")
    if raw is None:
        return None
    if isinstance(raw, bytes) and len(raw) >= MIN_KEY_BYTES:
        return Secret(raw)
    raise ConfigError(f"the key of an audit log is a Secret or bytes, {MIN_KEY_BYTES} at least")


def _key_id(key: Secret[bytes]) -> str:
    # Tells a wrong key from a damaged log, and of the key nothing that could be used.
    return hmac.digest(key.reveal(), b"llmspell audit key", "sha256")[:8].hex()


def _fields(header: bytes) -> tuple[str, Literal["sha256", "hmac-sha256"], str | None]:
    try:
        fields = json.loads(header) if len(header) <= HEADER_BYTES else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or list(fields) != ["format", "hash", "key", "log"]:
        raise AuditDamaged("the header of the audit log is damaged", reason="header")
    if fields["format"] != FORMAT:
        raise AuditDamaged(
            f"the audit log has format {str(fields['format'])[:20]}; this release reads {FORMAT}",
            reason="header",
        )
    log, hashed, key_id = fields["log"], fields["hash"], fields["key"]
    is_sound = isinstance(log, str) and _ID.fullmatch(log) and hashed in ("sha256", "hmac-sha256")
    is_id = isinstance(key_id, str) and _KEY_ID.fullmatch(key_id)
    if not is_sound or not (key_id is None if hashed == "sha256" else is_id):
        raise AuditDamaged("the header of the audit log is damaged", reason="header")
    return log, hashed, key_id

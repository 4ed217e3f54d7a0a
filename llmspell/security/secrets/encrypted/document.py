"""The encrypted store as a document: entries sealed one by one, and all of them together.

An entry is sealed by AES-256-GCM under a key derived from the master key and the store's id. Its
associated data are the store, the key, the tenant and the name, so that it opens nowhere but in its
place. The document's seal authenticates all entries as they are written, so that none of them can
be left out, or put back as it was, by who hasn't the key. An older document as a whole is as valid
as it was.
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmspell.errors import MissingDependency, SecretsDamaged, UnsupportedFormat, WrongKey
from llmspell.security.secrets.encrypted.derived import derived, fields
from llmspell.security.secrets.encrypted.keys import MasterKey
from llmspell.security.secrets.secret import Secret

__all__ = ["Document", "EntryName", "parsed", "sealed"]

FORMAT: Final = "llmspell secrets"
VERSION: Final = 1
_STORE: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_KEY_ID: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_NONCE: Final = 12
_TAG: Final = 16

#: A tenant, or None for the deployment, and a name.
EntryName = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class Document:
    """What is in the file. Nothing of it is believed before :meth:`open` has checked the seal."""

    store: str
    key_id: str
    entries: Mapping[EntryName, bytes]
    seal: bytes

    def open(self, keys: Iterable[MasterKey]) -> OpenDocument:
        """Check it as a whole.

        Raises:
            WrongKey: none of the keys sealed it.
            SecretsDamaged: it isn't as it was sealed.
        """
        key = next((key for key in keys if key.id == self.key_id), None)
        if key is None:
            raise WrongKey(f"the store is sealed by the key {self.key_id}, which isn't given")
        own = derived(key.value, b"seal", self.store.encode())
        if _opened(own, self.seal, _whole(self)) is None:
            raise SecretsDamaged("the store isn't as it was sealed: damaged, or changed")
        return OpenDocument(self, own)


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """A document whose seal holds."""

    document: Document
    key: Secret[bytes]

    def value(self, entry: EntryName) -> Secret[str] | None:
        """An entry's value; None where there is none.

        Raises:
            SecretsDamaged: it isn't what was sealed under this name.
        """
        held = self.document.entries.get(entry)
        if held is None:
            return None
        opened = _opened(self.key, held, _associated(self.document, entry))
        if opened is None:
            raise SecretsDamaged(f"the entry {entry!r} isn't what was sealed under this name")
        return Secret(opened.decode())


def sealed(
    values: Mapping[EntryName, Secret[str]], key: MasterKey, store: str | None = None
) -> bytes:
    """A document of these values, each under a nonce of its own. A new store where None is named.

    Random nonces of 96 bits: some 2**32 seals under one key of one store are safe (NIST SP
    800-38D, 8.3).
    """
    store = store or secrets.token_hex(16)
    own = derived(key.value, b"seal", store.encode())
    cipher = _cipher(own)
    bare = Document(store, key.id, {}, b"")
    entries = {
        entry: _sealed(cipher, values[entry].reveal().encode(), _associated(bare, entry))
        for entry in sorted(values, key=lambda entry: fields(*entry))
    }
    whole = Document(store, key.id, entries, b"")
    written: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "store": store,
        "key": key.id,
        "entries": [
            [tenant, name, b64encode(held).decode()] for (tenant, name), held in entries.items()
        ],
        "seal": b64encode(_sealed(cipher, b"", _whole(whole))).decode(),
    }
    return json.dumps(written, indent=1).encode()


def parsed(raw: bytes) -> Document:
    """The document that bytes from a file are.

    Raises:
        SecretsDamaged: they are none.
        UnsupportedFormat: of a later version.
    """
    try:
        read = json.loads(raw)
        if read["format"] != FORMAT:
            raise ValueError
        if read["version"] != VERSION:
            raise UnsupportedFormat(
                f"the store is of version {read['version']!r:.20}; this release reads {VERSION}"
            )
        entries: dict[EntryName, bytes] = {}
        for tenant, name, held in read["entries"]:
            if not isinstance(name, str) or not (tenant is None or isinstance(tenant, str)):
                raise ValueError
            fields(tenant, name)  # no lone surrogates
            if (tenant, name) in entries:
                raise ValueError
            entries[tenant, name] = b64decode(held, validate=True)
        store, key_id = read["store"], read["key"]
        if not _STORE.fullmatch(store) or not _KEY_ID.fullmatch(key_id):
            raise ValueError
        return Document(store, key_id, entries, b64decode(read["seal"], validate=True))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SecretsDamaged("the file is no encrypted store, or damaged") from error


def _associated(document: Document, entry: EntryName) -> bytes:
    return fields("entry", document.store, document.key_id, *entry)


def _whole(document: Document) -> bytes:
    entries = (fields(tenant, name, held) for (tenant, name), held in document.entries.items())
    return fields("document", document.store, document.key_id, b"".join(entries))


def _cipher(key: Secret[bytes]) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise MissingDependency("security", "cryptography") from error
    return AESGCM(key.reveal())


def _sealed(cipher: Any, value: bytes, associated: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + bytes(cipher.encrypt(nonce, value, associated))


def _opened(key: Secret[bytes], held: bytes, associated: bytes) -> bytes | None:
    """None where it isn't what was sealed."""
    if len(held) < _NONCE + _TAG:
        return None
    cipher = _cipher(key)
    from cryptography.exceptions import InvalidTag

    try:
        return bytes(cipher.decrypt(held[:_NONCE], held[_NONCE:], associated))
    except InvalidTag:
        return None

"""An encrypted file of secrets, as a backend and as something to write to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from llmspell.errors import (
    ConfigError,
    InputError,
    InvalidSecretRef,
    SecretNotFound,
    UnreadableSecret,
    WrongKey,
)
from llmspell.security.audit import AuditKind, AuditSink, audited
from llmspell.security.denials import check_sink
from llmspell.security.files.lock_file import locked
from llmspell.security.secrets.backend import MAX_SECRET_BYTES
from llmspell.security.secrets.encrypted.document import (
    Document,
    EntryName,
    OpenDocument,
    parsed,
    sealed,
)
from llmspell.security.secrets.encrypted.keys import MAX_KEYS, KeySource, MasterKey
from llmspell.security.secrets.ref import NAME, SecretRef, check_tenant, place
from llmspell.security.secrets.secret import Secret
from llmspell.security.secrets.strict_files import absolute, read_strict, replace_strict

__all__ = ["EncryptedStore"]

MAX_FILE_BYTES: Final = 16 * 1024 * 1024


class EncryptedStore:
    """Secrets in one file, sealed by a key that is kept elsewhere: ``local:openai``.

    Each write replaces the file as a whole, synced to the disk: it is then there, or the file is as
    it was. Reads take no lock and see one or the other. Writers of all threads and processes wait
    for each other, also those of other stores that share the keys. Names of secrets and tenants
    aren't encrypted. Needs the extra ``security``.

    Args:
        path: of the file, absolute; its directory must be there, and be closed to others' writes.
        keys: where the key is: :class:`KeyFile`, :class:`KeyringEntry` or :class:`KeyVariable`.
        audit: is told of each change, before it is made and after; what can't be recorded isn't
            begun. Reads are told by the ``on_access`` of a :class:`SecretStore`.

    Raises:
        ConfigError: the path isn't absolute, or ``audit`` is no sink.
    """

    scheme = "local"

    def __init__(
        self, path: str | os.PathLike[str], keys: KeySource, *, audit: AuditSink | None = None
    ) -> None:
        self._path = absolute(path)
        self._keys = keys
        self._audit = check_sink(audit)

    def __repr__(self) -> str:
        return f"EncryptedStore({str(self._path)!r}, {self._keys!r})"

    def ref_for(self, name: str, tenant: str | None) -> SecretRef:
        """``local:NAME``, or ``local:tenants/TENANT/NAME``."""
        return SecretRef(self.scheme, place(name, tenant))

    def read(self, ref: SecretRef) -> Secret[str] | None:
        """The value of an entry.

        Raises:
            WrongKey: the file is sealed by a key that the source hasn't.
            SecretsDamaged: it isn't as it was written.
            InsecureFile: it, or a file of keys, is open to others.
            SecretUnavailable: the disk or the keyring can't be read.
        """
        if ref.key is not None:
            raise InvalidSecretRef(f"{ref}: an entry is one secret, and has no field")
        opened = self._opened()
        if opened is None:
            return None
        for tenant, name in opened.document.entries:
            if place(name, tenant) == ref.path:
                return opened.value((tenant, name))
        return None

    def names(self) -> list[EntryName]:
        """Tenant and name of each entry, in order; the tenant is None for the deployment's.

        Raises:
            SecurityError: as :meth:`read`.
        """
        opened = self._opened()
        return [] if opened is None else list(opened.document.entries)

    def set(self, name: str, value: Secret[str], *, tenant: str | None = None) -> None:
        """Write an entry, over one that is there.

        Where there is no file yet, it is made; where there is no key yet and the source can keep
        one, one is drawn.

        Raises:
            InvalidSecretRef: no name of a secret.
            ConfigError: no id of a tenant.
            UnreadableSecret: longer than 64 KiB, or with a lone surrogate.
            InputError: the file would get longer than 16 MiB.
            WrongKey: there is a file and no key that opens it, or no key at all.
            SecretsDamaged, InsecureFile, SecretUnavailable, OSError: as :meth:`read`, or the disk
                failed in the write.
            AuditDamaged, AuditFailed: nothing was done; or, with a note, it was.
        """
        _require_entry(name, tenant)
        if not _fits(value):
            raise UnreadableSecret(f"a value has at most {MAX_SECRET_BYTES} bytes in UTF-8")
        with self._writing(), self._change("set", name, tenant):
            values, store = self._values()
            values[tenant, name] = value
            self._write(values, self._sealing_key(), store)

    def delete(self, name: str, *, tenant: str | None = None) -> None:
        """Take an entry out. Raises SecretNotFound, or as :meth:`set`."""
        _require_entry(name, tenant)
        self._existing()
        with self._writing(), self._change("delete", name, tenant):
            values, store = self._values()
            if values.pop((tenant, name), None) is None:
                raise SecretNotFound(f"there is no secret {name!r} of {tenant or 'the deployment'}")
            self._write(values, self._sealing_key(), store)

    def rotate_key(self) -> str:
        """Seal all under a new key, which the source then keeps before the older ones.

        The new key is kept before the file is sealed by it: at whatever point this ends, the file
        opens by the keys that are kept, and so does each other that shares the source. The old key
        still opens copies that were made before, until :meth:`drop_old_keys`. Of a source that
        can't be written the first key is the new one, to be put there before.

        Returns:
            The id of the new key.

        Raises:
            SecretNotFound: there is no file.
            ConfigError: the source can't be written, and its first key sealed the file already; or
                it holds 16 keys, which is all that one may.
            WrongKey, SecretsDamaged, InsecureFile, SecretUnavailable, OSError: as :meth:`set`.
            AuditDamaged, AuditFailed: as :meth:`set`.
        """
        self._existing()
        with self._writing():
            opened = self._existing()
            old = self._keys.load()
            new = MasterKey.draw() if self._keys.is_writable else old[0]
            if new.id == opened.document.key_id:
                raise ConfigError(
                    f"{self._keys!r} holds no newer key: put one before that which is there"
                )
            if self._keys.is_writable and len(old) >= MAX_KEYS:
                raise ConfigError(
                    f"{self._keys!r} holds {len(old)} keys, and one more is too many: drop those "
                    "that seal nothing any more (drop_old_keys), then rotate"
                )
            with self._key_change("rotate", old=opened.document.key_id, new=new.id):
                if self._keys.is_writable:
                    self._keys.save((new, *old))
                values, store = self._values()
                self._write(values, new, store)
            return new.id

    def drop_old_keys(self, beside: Sequence[EncryptedStore] = ()) -> list[str]:
        """Take out of the source what seals neither this file nor those of ``beside``.

        The first key stays, too: writers that wait seal by it. What else was sealed by a key that
        goes is lost: copies made before a rotation, and other stores on this source that aren't
        named. A key that is kept elsewhere as well isn't gone.

        Returns:
            The ids of the keys that are gone.

        Raises:
            SecretNotFound: there is no file, or none of one of ``beside``.
            ConfigError: the source can't be written.
            WrongKey, SecretsDamaged, InsecureFile, SecretUnavailable, OSError: as :meth:`set`; no
                key is gone.
            AuditDamaged, AuditFailed: as :meth:`set`.
        """
        self._existing()
        if not self._keys.is_writable:
            raise ConfigError(f"{self._keys!r} is set from outside: take the old keys out there")
        with self._writing():
            needed = {store._existing().document.key_id for store in (self, *beside)}
            first, *others = self._keys.load()
            kept = [first, *(key for key in others if key.id in needed)]
            dropped = [key.id for key in others if key.id not in needed]
            if dropped:
                with self._key_change("drop", old=dropped):
                    self._keys.save(kept)
            return dropped

    def _document(self) -> Document | None:
        raw = read_strict(self._path.parent, (self._path.name,), limit=MAX_FILE_BYTES)
        return None if raw is None else parsed(raw.reveal())

    def _opened(self) -> OpenDocument | None:
        document = self._document()
        while document is not None:
            try:
                return document.open(self._keys.load())
            except WrongKey:
                # Rotated between the reading of the file and that of the keys?
                again = self._document()
                if again is not None and again.key_id == document.key_id:
                    raise
                document = again
        return None

    def _existing(self) -> OpenDocument:
        """What there is to change; asked before the lock too, whose file needs the directory."""
        opened = self._opened()
        if opened is None:
            raise SecretNotFound(f"there is no encrypted store at {self._path}")
        return opened

    def _values(self) -> tuple[dict[EntryName, Secret[str]], str | None]:
        opened = self._opened()
        if opened is None:
            return {}, None
        values = {}
        for entry in opened.document.entries:
            value = opened.value(entry)
            assert value is not None
            values[entry] = value
        return values, opened.document.store

    def _sealing_key(self) -> MasterKey:
        keys = self._keys.load()
        if keys:
            return keys[0]
        if not self._keys.is_writable:
            raise WrongKey(f"{self._keys!r} holds no key; put one there")
        drawn = MasterKey.draw()
        with self._key_change("draw", new=drawn.id):
            self._keys.save((drawn,))
        return drawn

    def _write(
        self, values: dict[EntryName, Secret[str]], key: MasterKey, store: str | None
    ) -> None:
        content = sealed(values, key, store)
        if len(content) > MAX_FILE_BYTES:
            raise InputError(
                f"the store would have {len(content)} bytes; one has at most {MAX_FILE_BYTES}"
            )
        replace_strict(self._path, Secret(content))

    def _change(
        self, change: str, name: str, tenant: str | None
    ) -> AbstractContextManager[dict[str, Any]]:
        """Around a change of an entry, within the lock: records are in the order of changes."""
        return audited(
            self._audit,
            AuditKind.SECRET_CHANGE,
            subject=str(self.ref_for(name, tenant)),
            tenant=tenant,
            details={"change": change, "file": str(self._path)},
        )

    def _key_change(
        self, change: str, **ids: str | list[str]
    ) -> AbstractContextManager[dict[str, Any]]:
        """Around a change of the key that the file is sealed by; ids say nothing about keys."""
        return audited(
            self._audit,
            AuditKind.KEY_CHANGE,
            subject=str(self._path),
            details={"change": change, "source": repr(self._keys), **ids},
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The lock of all writers of the file, and that of the keys that they seal by."""
        with locked(self._path.with_name(f".{self._path.name}.lock")), self._keys.lock():
            yield


def _require_entry(name: str, tenant: str | None) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidSecretRef("a name of a secret is of a-z, 0-9, _ and -, up to 64 of them")
    if tenant is not None:
        check_tenant(tenant)


def _fits(value: Secret[str]) -> bool:
    try:
        return len(value.reveal().encode()) <= MAX_SECRET_BYTES
    except UnicodeEncodeError:
        return False

"""Secrets that are files, one each, as orchestrators mount them."""

from __future__ import annotations

import os

from llmspell.errors import InvalidSecretRef
from llmspell.security.secrets.backend import MAX_SECRET_BYTES, text_of
from llmspell.security.secrets.ref import SecretRef, place
from llmspell.security.secrets.secret import Secret
from llmspell.security.secrets.strict_files import absolute, read_strict

__all__ = ["FileBackend"]


class FileBackend:
    """A directory with one secret a file: ``file:openai``, ``file:tenants/acme/openai``.

    A file is read only where it is a plain one, ours or root's, with one name, and nobody else may
    read it; nobody else may write to the directories. What is opened is what was judged. One line
    end at its end is dropped. A directory that isn't there has no secrets.

    Args:
        directory: absolute.
        group_may_read: let the file's group read it, as volumes with an ``fsGroup`` need.

    Raises:
        ConfigError: the path isn't absolute.
    """

    scheme = "file"

    def __init__(self, directory: str | os.PathLike[str], *, group_may_read: bool = False) -> None:
        self._directory = absolute(directory)
        self._group_may_read = group_may_read

    def __repr__(self) -> str:
        return f"FileBackend({str(self._directory)!r})"

    def ref_for(self, name: str, tenant: str | None) -> SecretRef:
        """``file:NAME``, or ``file:tenants/TENANT/NAME``."""
        return SecretRef(self.scheme, place(name, tenant))

    def read(self, ref: SecretRef) -> Secret[str] | None:
        """The file's text.

        Raises:
            InsecureFile: others could have read or replaced it.
            SecretUnavailable: the disk, or our rights, don't let it be read.
            UnreadableSecret: it is no text.
        """
        if ref.key is not None:
            raise InvalidSecretRef(f"{ref}: a file is one secret, and has no field")
        found = read_strict(
            self._directory,
            tuple(ref.path.split("/")),
            limit=MAX_SECRET_BYTES,
            group_may_read=self._group_may_read,
        )
        return None if found is None else text_of(found, ref)

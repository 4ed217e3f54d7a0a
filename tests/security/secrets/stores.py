"""An encrypted store on the disk, and all that is in it."""

from __future__ import annotations

from llmspell.security import EncryptedStore


def values(encrypted: EncryptedStore) -> dict[tuple[str | None, str], str]:
    found = {}
    for tenant, name in encrypted.names():
        secret = encrypted.read(encrypted.ref_for(name, tenant))
        assert secret is not None
        found[tenant, name] = secret.reveal()
    return found

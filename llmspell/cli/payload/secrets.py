"""What ``llmspell secrets`` prints."""

from __future__ import annotations

from typing import TypedDict

__all__ = [
    "SecretChangedPayload",
    "SecretDroppedKeysPayload",
    "SecretKeyPayload",
    "SecretListPayload",
    "SecretNamePayload",
    "SecretPayload",
]


class SecretNamePayload(TypedDict):
    """Whose secret it is, and its name; ``tenant`` is null for the deployment's."""

    tenant: str | None
    name: str


class SecretPayload(SecretNamePayload):
    """``llmspell secrets get``."""

    value: str


class SecretChangedPayload(SecretNamePayload):
    """``llmspell secrets set`` and ``delete``."""

    store: str


class SecretListPayload(TypedDict):
    """``llmspell secrets list``."""

    store: str
    secrets: list[SecretNamePayload]


class SecretKeyPayload(TypedDict):
    """``llmspell secrets rotate-key``; ``key`` is the id of the new key."""

    store: str
    key: str


class SecretDroppedKeysPayload(TypedDict):
    """``llmspell secrets drop-old-keys``; ``keys`` are the ids of those that are gone."""

    store: str
    keys: list[str]

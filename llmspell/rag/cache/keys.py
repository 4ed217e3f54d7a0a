"""What an embedding is known by: all that decides which vector it is, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence

from llmspell.rag.cache.packages import required
from llmspell.tenancy.ports import EmbeddingModel

__all__ = ["KEY_BYTES", "key_prefix", "remote_prefix", "text_keys"]

KEY_BYTES = 32


def key_prefix(scope: bytes, model: EmbeddingModel, task: str) -> bytes:
    """What stands in front of a text before both are hashed.

    Args:
        scope: of those who share entries; differs for a tenant and a former one of its id.
        model: that embeds.
        task: what the texts are for.
    """
    parts = (scope, model.provider.encode(), model.model_id.encode(), b"%d" % model.dim)
    # Each part behind its length, so that no two of different parts begin alike.
    return b"".join(b"%d:%s" % (len(part), part) for part in (*parts, task.encode()))


def remote_prefix(namespace: str, tenant_id: str | None) -> bytes:
    """What the names of a tenant's entries on a server begin with; None of those who share."""
    name = b"shared"  # no digest has so few letters
    if tenant_id is not None:
        digest: str = (
            required("blake3").blake3(tenant_id.encode("utf-8", "surrogatepass")).hexdigest()
        )
        name = digest[:32].encode()
    return b"%s:embedding:%s:" % (namespace.encode(), name)


def text_keys(prefix: bytes, texts: Sequence[str]) -> list[bytes]:
    """BLAKE3 of a prefix, and with it of scope, provider, model, dimension, task, and each text."""
    blake3 = required("blake3").blake3
    return [blake3(prefix + text.encode("utf-8", "surrogatepass")).digest() for text in texts]

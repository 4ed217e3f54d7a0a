"""What an embedding is known by: all that decides which vector it is, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence

from llmspell.rag.cache.packages import required
from llmspell.tenancy.ports import EmbeddingModel

__all__ = ["KEY_BYTES", "text_keys"]

KEY_BYTES = 32


def text_keys(scope: bytes, model: EmbeddingModel, task: str, texts: Sequence[str]) -> list[bytes]:
    """BLAKE3 of scope, provider, model, dimension, task and each of the texts.

    Args:
        scope: of those who share entries; differs for a tenant and a former one of its id.
        model: that embeds.
        task: what the texts are for.
        texts: any.
    """
    blake3 = required("blake3").blake3
    parts = (scope, model.provider.encode(), model.model_id.encode(), b"%d" % model.dim)
    # Each part behind its length, so that no two of different parts begin alike.
    prefix = b"".join(b"%d:%s" % (len(part), part) for part in (*parts, task.encode()))
    return [blake3(prefix + text.encode("utf-8", "surrogatepass")).digest() for text in texts]

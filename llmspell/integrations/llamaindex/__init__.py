"""A tenant behind the interfaces of LlamaIndex; needs the extra ``llamaindex``."""

from llmspell.integrations.llamaindex.vector_store import LlmspellVectorStore

__all__ = ["LlmspellVectorStore"]

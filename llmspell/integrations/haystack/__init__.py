"""A tenant behind the interfaces of Haystack; needs the extra ``haystack``."""

from llmspell.integrations.haystack.document_store import LlmspellDocumentStore
from llmspell.integrations.haystack.retrievers import (
    LlmspellBM25Retriever,
    LlmspellEmbeddingRetriever,
)

__all__ = ["LlmspellBM25Retriever", "LlmspellDocumentStore", "LlmspellEmbeddingRetriever"]

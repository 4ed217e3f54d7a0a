"""A tenant behind the interfaces of Haystack; needs the extra ``haystack``."""

from llmspell.integrations.haystack.document_store import LlmspellDocumentStore
from llmspell.integrations.haystack.retrievers import LlmspellEmbeddingRetriever

__all__ = ["LlmspellDocumentStore", "LlmspellEmbeddingRetriever"]

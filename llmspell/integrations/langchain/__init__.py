"""A tenant behind the interfaces of LangChain; needs the extra ``langchain``."""

from llmspell.integrations.langchain.embeddings import LlmspellEmbeddings
from llmspell.integrations.langchain.retriever import LlmspellRetriever
from llmspell.integrations.langchain.vector_store import DocumentFilter, LlmspellVectorStore

__all__ = ["DocumentFilter", "LlmspellEmbeddings", "LlmspellRetriever", "LlmspellVectorStore"]

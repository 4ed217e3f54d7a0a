"""A tenant behind the interfaces of LangChain; needs the extra ``langchain``."""

from llmspell.integrations.langchain.byte_store import LlmspellByteStore
from llmspell.integrations.langchain.cache import LlmspellCache
from llmspell.integrations.langchain.embeddings import LlmspellEmbeddings
from llmspell.integrations.langchain.retriever import LlmspellRetriever
from llmspell.integrations.langchain.tools import LlmspellTool, langchain_tools
from llmspell.integrations.langchain.vector_store import DocumentFilter, LlmspellVectorStore

__all__ = [
    "DocumentFilter",
    "LlmspellByteStore",
    "LlmspellCache",
    "LlmspellEmbeddings",
    "LlmspellRetriever",
    "LlmspellTool",
    "LlmspellVectorStore",
    "langchain_tools",
]

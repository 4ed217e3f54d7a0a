"""What is used of LangChain, and the error where it isn't installed."""

from llmspell.errors import MissingDependency

try:
    from langchain_core.caches import BaseCache
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.messages import message_to_dict, messages_from_dict
    from langchain_core.outputs import (
        ChatGeneration,
        ChatGenerationChunk,
        Generation,
        GenerationChunk,
    )
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import run_in_executor
    from langchain_core.stores import BaseStore
    from langchain_core.tools import BaseTool, ToolException
    from langchain_core.vectorstores import VectorStore
    from langchain_core.vectorstores.utils import maximal_marginal_relevance
except ImportError as error:
    raise MissingDependency("langchain", "langchain-core") from error

__all__ = [
    "AsyncCallbackManagerForRetrieverRun",
    "BaseCache",
    "BaseRetriever",
    "BaseStore",
    "BaseTool",
    "CallbackManagerForRetrieverRun",
    "ChatGeneration",
    "ChatGenerationChunk",
    "Document",
    "Embeddings",
    "Generation",
    "GenerationChunk",
    "ToolException",
    "VectorStore",
    "maximal_marginal_relevance",
    "message_to_dict",
    "messages_from_dict",
    "run_in_executor",
]

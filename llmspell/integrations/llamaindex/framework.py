"""What is used of LlamaIndex, and the error where it isn't installed."""

from llmspell.errors import MissingDependency

try:
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
    from llama_index.core.schema import (
        BaseNode,
        Document,
        ImageNode,
        IndexNode,
        MetadataMode,
        Node,
        TextNode,
    )
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        FilterCondition,
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import build_metadata_filter_fn
except ImportError as error:
    raise MissingDependency("llamaindex", "llama-index-core") from error

__all__ = [
    "BaseNode",
    "BasePydanticVectorStore",
    "Document",
    "FilterCondition",
    "FilterOperator",
    "ImageNode",
    "IndexNode",
    "MetadataFilter",
    "MetadataFilters",
    "MetadataMode",
    "Node",
    "PrivateAttr",
    "TextNode",
    "VectorStoreQuery",
    "VectorStoreQueryMode",
    "VectorStoreQueryResult",
    "build_metadata_filter_fn",
    "get_top_k_mmr_embeddings",
]

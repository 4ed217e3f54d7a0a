"""What is used of Haystack, and the error where it isn't installed."""

from llmspell.errors import MissingDependency

try:
    from haystack import component, default_from_dict, default_to_dict
    from haystack.dataclasses import ByteStream, Document, SparseEmbedding
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import (
        DuplicatePolicy,
        FilterPolicy,
        apply_filter_policy,
    )
    from haystack.errors import FilterError
    from haystack.utils.filters import document_matches_filter
except ImportError as error:
    raise MissingDependency("haystack", "haystack-ai") from error

__all__ = [
    "ByteStream",
    "Document",
    "DuplicateDocumentError",
    "DuplicatePolicy",
    "FilterError",
    "FilterPolicy",
    "SparseEmbedding",
    "apply_filter_policy",
    "component",
    "default_from_dict",
    "default_to_dict",
    "document_matches_filter",
]

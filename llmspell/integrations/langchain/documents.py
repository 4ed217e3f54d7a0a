"""Records as LangChain's documents."""

from __future__ import annotations

from llmspell.integrations.langchain.framework import Document
from llmspell.integrations.matching import Found
from llmspell.integrations.metadata import from_fields

__all__ = ["to_document"]


def to_document(found: Found) -> Document:
    """A document of LangChain, without what else an adapter kept of it."""
    metadata, _ = from_fields(found.metadata)
    return Document(id=str(found.id), page_content=found.text or "", metadata=metadata)

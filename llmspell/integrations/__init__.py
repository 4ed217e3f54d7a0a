"""Tenants as other frameworks' stores, retrievers, caches and tools: a folder for each framework.

This imports none of them: ``llmspell.integrations.langchain`` is the first to import LangChain.
"""

from llmspell.integrations.metadata import SCHEMA

__all__ = ["SCHEMA"]

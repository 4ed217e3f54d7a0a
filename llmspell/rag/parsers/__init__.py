"""Files that take a parser: PDF, DOCX and HTML, read in processes that the kernel confines."""

from llmspell.rag.parsers.parsers import Parsed, Parsers

__all__ = ["Parsed", "Parsers"]

"""Tools of others over the Model Context Protocol, and ours for them, with the official SDK."""

from llmspell.tools.mcp.connection import McpConnection
from llmspell.tools.mcp.documents import TenantDocuments
from llmspell.tools.mcp.prompts import PromptTemplate
from llmspell.tools.mcp.resources import Resource, ResourceTemplate
from llmspell.tools.mcp.server import McpServer

__all__ = [
    "McpConnection",
    "McpServer",
    "PromptTemplate",
    "Resource",
    "ResourceTemplate",
    "TenantDocuments",
]

"""Tools of others over the Model Context Protocol, and ours for them, with the official SDK."""

from llmspell.tools.mcp.connection import McpConnection
from llmspell.tools.mcp.server import McpServer

__all__ = ["McpConnection", "McpServer"]

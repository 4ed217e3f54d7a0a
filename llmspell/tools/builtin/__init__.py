"""Tools that come with llmspell, each at the lowest level that works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmspell._lazy import lazy_names

if TYPE_CHECKING:
    from llmspell.tools.builtin.archives import archive_tools
    from llmspell.tools.builtin.calculator import calculator
    from llmspell.tools.builtin.clock import current_time, date_difference, shift_date
    from llmspell.tools.builtin.commands import command_tool
    from llmspell.tools.builtin.data import query_data, render_template
    from llmspell.tools.builtin.files import file_tools
    from llmspell.tools.builtin.knowledge import search_knowledge
    from llmspell.tools.builtin.memory import memory_tools
    from llmspell.tools.builtin.sqlite import sqlite_tools
    from llmspell.tools.builtin.texts import (
        decode_text,
        diff_texts,
        encode_text,
        hash_text,
        text_statistics,
    )
    from llmspell.tools.builtin.web import html_to_markdown, web_tools

__all__ = [
    "archive_tools",
    "calculator",
    "command_tool",
    "current_time",
    "date_difference",
    "decode_text",
    "diff_texts",
    "encode_text",
    "file_tools",
    "hash_text",
    "html_to_markdown",
    "memory_tools",
    "query_data",
    "render_template",
    "search_knowledge",
    "shift_date",
    "sqlite_tools",
    "text_statistics",
    "web_tools",
]

_MODULES = {
    "archives": ("archive_tools",),
    "calculator": ("calculator",),
    "clock": ("current_time", "date_difference", "shift_date"),
    "commands": ("command_tool",),
    "data": ("query_data", "render_template"),
    "files": ("file_tools",),
    "knowledge": ("search_knowledge",),
    "memory": ("memory_tools",),
    "sqlite": ("sqlite_tools",),
    "texts": ("decode_text", "diff_texts", "encode_text", "hash_text", "text_statistics"),
    "web": ("html_to_markdown", "web_tools"),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)

"""One tool of an MCP server, as a tool of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from llmspell.errors import InvalidArguments, ToolFailed
from llmspell.tools.arguments import finite
from llmspell.tools.definition import Tool
from llmspell.tools.mcp.schemas import mistakes_by
from llmspell.tools.options import ToolOptions

__all__ = ["RemoteTool"]

_MAX_DESCRIPTION: Final = 4_000
_MISTAKES: Final = 20

Caller = Callable[[str, dict[str, Any]], Awaitable[Any]]


class RemoteTool(Tool):
    """A tool of an MCP server; made by :class:`McpConnection`.

    What the server says of it was read once, when the connection was made. Arguments are checked
    by the server's schema before they are sent, but for what takes regular expressions, which is
    left to the server. A schema that takes more than 20,000 steps to judge by is given up;
    references out of it aren't followed.
    """

    def __init__(self, found: Any, *, prefix: str, options: ToolOptions, call: Caller) -> None:
        self.remote_name: str = found.name
        self.name = re.sub(r"[^A-Za-z0-9_-]", "_", prefix + found.name)[:64]
        told = found.description or found.title or f"The tool {found.name} of an MCP server."
        self.description = told[:_MAX_DESCRIPTION]
        self.options = options
        self._parameters: dict[str, Any] = finite(found.input_schema)
        self._call = call

    async def run(self, /, **arguments: Any) -> Any:
        """Call it there."""
        result = await self._call(self.remote_name, arguments)
        blocks = [
            block.model_dump(mode="json", by_alias=True, exclude_none=True)
            for block in result.content
        ]
        texts = [block["text"] for block in blocks if block["type"] == "text"]
        if result.is_error:
            raise ToolFailed("\n".join(texts) or f"{self.remote_name} failed, and said nothing")
        if result.structured_content is not None:
            return result.structured_content
        return "\n".join(texts) if len(texts) == len(blocks) else blocks

    def validate(self, arguments: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
        """As :meth:`Tool.validate`, by the server's schema."""
        from jsonschema.exceptions import UnknownType  # type: ignore[import-untyped]
        from referencing.exceptions import Unresolvable

        given: Any = arguments
        if isinstance(given, str | bytes):
            try:
                given = json.loads(given or "{}")
            except (ValueError, RecursionError) as error:
                raise InvalidArguments(f"the arguments are no JSON: {error}") from None
        if not isinstance(given, Mapping):
            raise InvalidArguments(f"arguments are given by name, got {type(given).__name__}")
        found = dict(given)
        try:
            mistakes = [
                f"{'.'.join(map(str, one.absolute_path)) or 'arguments'}: {one.message[:200]}"
                for one, _ in zip(
                    mistakes_by(self._parameters, found), range(_MISTAKES), strict=False
                )
            ]
        except (UnknownType, Unresolvable, RecursionError, TypeError, ValueError) as error:
            raise InvalidArguments(f"the server's schema can't be used: {error}") from None
        if mistakes:
            raise InvalidArguments("; ".join(mistakes))
        return found

    @property
    def context_name(self) -> None:
        """None: it runs elsewhere."""
        return None

    def _schema(self) -> dict[str, Any]:
        return self._parameters

"""The tools that the public conformance scenarios ask a server for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmspell.tools import Tool, ToolOptions, tool

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SOUND = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="


@tool(trusted=True)
def test_simple_text() -> str:
    """Give a text."""
    return "This is a simple text response for testing."


@tool(trusted=True)
def test_image_content() -> dict[str, Any]:
    """Give an image."""
    return {"type": "image", "data": PIXEL, "mimeType": "image/png"}


@tool(trusted=True)
def test_audio_content() -> dict[str, Any]:
    """Give a sound."""
    return {"type": "audio", "data": SOUND, "mimeType": "audio/wav"}


@tool(trusted=True)
def test_embedded_resource() -> dict[str, Any]:
    """Give a resource."""
    return embedded(
        "test://embedded-resource", "text/plain", "This is an embedded resource content."
    )


@tool(trusted=True)
def test_multiple_content_types() -> list[dict[str, Any]]:
    """Give a text, an image and a resource."""
    return [
        {"type": "text", "text": "Multiple content types test:"},
        test_image_content(),
        embedded("test://mixed-content-resource", "application/json", '{"test": "data"}'),
    ]


@tool(trusted=True)
def test_error_handling() -> None:
    """Fail."""
    raise RuntimeError("This tool intentionally returns an error for testing")


class Described(Tool):
    """Tool with JSON Schema 2020-12 features"""

    name = "json_schema_2020_12_tool"
    options = ToolOptions(trusted=True)

    def run(self, name: str = "") -> str:
        return name

    def _schema(self) -> dict[str, Any]:
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {
                "address": {
                    "type": "object",
                    "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
                }
            },
            "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
            "additionalProperties": False,
        }

    def validate(self, arguments: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
        return super().validate(arguments)


def embedded(uri: str, kind: str, text: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": text}}


TOOLS: list[Tool] = [
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_error_handling,
    Described(),
]

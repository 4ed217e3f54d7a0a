"""What the public conformance scenarios ask a server for: tools, prompts and resources."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

from llmspell.tools import Answer, Tool, ToolClient, ToolContext, ToolOptions, tool
from llmspell.tools.mcp import PromptTemplate, Resource, ResourceTemplate

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


@tool(trusted=True)
async def test_tool_with_logging(context: ToolContext) -> str:
    """Tell of three things."""
    client = client_of(context)
    for what in ("started", "processing data", "completed"):
        await client.log("info", f"Tool execution {what}")
        await asyncio.sleep(0.05)
    return "It was told of."


@tool(trusted=True)
async def test_tool_with_progress(context: ToolContext) -> str:
    """Tell how far it is."""
    client = client_of(context)
    for done in (0, 50, 100):
        await client.progress(done, 100, f"Completed step {done} of 100")
        await asyncio.sleep(0.05)
    return "It was done."


@tool(trusted=True)
async def test_sampling(prompt: str, context: ToolContext) -> str:
    """Ask the client's model."""
    said = await client_of(context).sample(prompt, max_tokens=100, timeout=60)
    return f"LLM response: {said.text}"


@tool(trusted=True)
async def test_elicitation(message: str, context: ToolContext) -> str:
    """Ask the client's user for a name and an address."""
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    return told(await asked(context, message, properties, required=["username", "email"]))


@tool(trusted=True)
async def test_elicitation_sep1034_defaults(context: ToolContext) -> str:
    """Ask by a form whose fields have defaults."""
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {
            "type": "string",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "default": True},
    }
    return told(await asked(context, "Who is it?", properties))


@tool(trusted=True)
async def test_elicitation_sep1330_enums(context: ToolContext) -> str:
    """Ask by a form with choices of all kinds."""
    plain = ["option1", "option2", "option3"]
    titled = [
        {"const": "value1", "title": "First Option"},
        {"const": "value2", "title": "Second Option"},
        {"const": "value3", "title": "Third Option"},
    ]
    properties = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return told(await asked(context, "Which ones?", properties))


@tool(trusted=True)
async def test_reconnection(context: ToolContext) -> str:
    """Send the client away; it fetches the result."""
    await client_of(context).hang_up()
    await asyncio.sleep(0.1)
    return "Reconnection test completed."


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


def client_of(context: ToolContext) -> ToolClient:
    assert context.client is not None
    return context.client


async def asked(
    context: ToolContext,
    message: str,
    properties: dict[str, Any],
    required: list[str] | None = None,
) -> Answer:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required is not None:
        schema["required"] = required
    return await client_of(context).elicit(message, schema, timeout=60)


def told(answer: Answer) -> str:
    content = json.dumps(dict(answer.content))
    return f"Elicitation completed: action={answer.action}, content={content}"


def embedded(uri: str, kind: str, text: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": text}}


TOOLS: list[Tool] = [
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_error_handling,
    test_tool_with_logging,
    test_tool_with_progress,
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_reconnection,
    Described(),
]


def test_simple_prompt() -> str:
    """A text."""
    return "This is a simple prompt for testing."


def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A text with two arguments.

    Args:
        arg1: the first.
        arg2: the second.
    """
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:  # noqa: N803
    """A resource and a text.

    Args:
        resourceUri: of the resource.
    """
    text = "Embedded resource content for testing."
    return [
        embedded(resourceUri, "text/plain", text),
        "Please process the embedded resource above.",
    ]


def test_prompt_with_image() -> list[Any]:
    """An image and a text."""
    return [test_image_content(), "Please analyze the image above."]


PROMPTS = [
    PromptTemplate(test_simple_prompt),
    PromptTemplate(
        test_prompt_with_arguments, complete={"arg1": ["paris", "park", "party", "test1"]}
    ),
    PromptTemplate(test_prompt_with_embedded_resource),
    PromptTemplate(test_prompt_with_image),
]


def static_text() -> str:
    return "This is the content of the static text resource."


def static_binary() -> bytes:
    return base64.b64decode(PIXEL)


def by_template(id: str) -> str:
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


RESOURCES = [
    Resource("test://static-text", static_text, name="text", description="A text."),
    Resource(
        "test://static-binary",
        static_binary,
        name="image",
        description="An image.",
        mime_type="image/png",
    ),
    Resource("test://watched-resource", static_text, name="watched", description="A text."),
    ResourceTemplate(
        "test://template/{id}/data",
        by_template,
        name="data",
        description="Data of an id.",
        mime_type="application/json",
    ),
]

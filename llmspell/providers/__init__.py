"""Chat models of remote providers: one protocol, budgets, and calls that survive faults."""

from llmspell.providers.anthropic import AnthropicChat
from llmspell.providers.chat import (
    ChatModel,
    ChatRequest,
    ChatResponse,
    Finish,
    StreamEvent,
    TextDelta,
)
from llmspell.providers.deadline import Deadline, current_deadline, deadline
from llmspell.providers.messages import Message, OutputSchema, Role, ToolCall, ToolDefinition
from llmspell.providers.openai import OpenAIChat
from llmspell.providers.price import Price, Usage
from llmspell.providers.settings import ConnectionSettings

__all__ = [
    "AnthropicChat",
    "ChatModel",
    "ChatRequest",
    "ChatResponse",
    "ConnectionSettings",
    "Deadline",
    "Finish",
    "Message",
    "OpenAIChat",
    "OutputSchema",
    "Price",
    "Role",
    "StreamEvent",
    "TextDelta",
    "ToolCall",
    "ToolDefinition",
    "Usage",
    "current_deadline",
    "deadline",
]

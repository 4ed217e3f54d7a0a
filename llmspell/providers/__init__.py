"""Chat models of remote providers: one protocol, budgets, and calls that survive faults."""

from llmspell.providers.anthropic import AnthropicChat
from llmspell.providers.breaker import Breaker, CircuitState
from llmspell.providers.chat import (
    ChatModel,
    ChatRequest,
    ChatResponse,
    Finish,
    StreamEvent,
    TextDelta,
)
from llmspell.providers.gate import CallLimits
from llmspell.providers.member import ModelStats
from llmspell.providers.messages import (
    Message,
    OutputSchema,
    Role,
    Thought,
    ToolCall,
    ToolDefinition,
)
from llmspell.providers.openai import OpenAIChat
from llmspell.providers.pool import ProviderPool
from llmspell.providers.price import Price, Usage
from llmspell.providers.retry import Retry
from llmspell.providers.settings import ConnectionSettings
from llmspell.remote import Deadline, current_deadline, deadline

__all__ = [
    "AnthropicChat",
    "Breaker",
    "CallLimits",
    "ChatModel",
    "ChatRequest",
    "ChatResponse",
    "CircuitState",
    "ConnectionSettings",
    "Deadline",
    "Finish",
    "Message",
    "ModelStats",
    "OpenAIChat",
    "OutputSchema",
    "Price",
    "ProviderPool",
    "Retry",
    "Role",
    "StreamEvent",
    "TextDelta",
    "Thought",
    "ToolCall",
    "ToolDefinition",
    "Usage",
    "current_deadline",
    "deadline",
]

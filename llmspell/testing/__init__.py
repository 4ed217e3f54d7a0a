"""What tests of programs that use llmspell need: providers that follow a script, over real HTTP."""

from llmspell.testing.chat_replies import Call, ChatAsked, Fault, Reply
from llmspell.testing.chat_server import Script, ScriptedChatServer

__all__ = ["Call", "ChatAsked", "Fault", "Reply", "Script", "ScriptedChatServer"]

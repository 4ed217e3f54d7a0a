"""What tests of programs that use llmspell need: services that follow a script, over real HTTP."""

from llmspell.testing.chat_replies import Call, ChatAsked, Fault, Reply
from llmspell.testing.chat_server import Script, ScriptedChatServer
from llmspell.testing.embedding_faults import EmbeddingFault, EmbeddingRequest
from llmspell.testing.embeddings import FakeEmbeddingServer

__all__ = [
    "Call",
    "ChatAsked",
    "EmbeddingFault",
    "EmbeddingRequest",
    "FakeEmbeddingServer",
    "Fault",
    "Reply",
    "Script",
    "ScriptedChatServer",
]

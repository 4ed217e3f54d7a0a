"""Texts to vectors: what an embedder is, the model that is built in, and others."""

from llmspell.rag.embedding.callable import CallableEmbedder
from llmspell.rag.embedding.cohere import CohereEmbedder
from llmspell.rag.embedding.embedder import Embedder, Task
from llmspell.rag.embedding.local import LocalEmbedder
from llmspell.rag.embedding.onnx import OnnxEmbedder
from llmspell.rag.embedding.openai import AzureEmbedder, OpenAIEmbedder
from llmspell.rag.embedding.own_servers import OllamaEmbedder, TEIEmbedder
from llmspell.rag.embedding.remote import RemoteEmbedder
from llmspell.rag.embedding.remote_settings import EmbeddingUsage, RemoteSettings
from llmspell.rag.embedding.voyage import VoyageEmbedder

__all__ = [
    "AzureEmbedder",
    "CallableEmbedder",
    "CohereEmbedder",
    "Embedder",
    "EmbeddingUsage",
    "LocalEmbedder",
    "OllamaEmbedder",
    "OnnxEmbedder",
    "OpenAIEmbedder",
    "RemoteEmbedder",
    "RemoteSettings",
    "TEIEmbedder",
    "Task",
    "VoyageEmbedder",
]

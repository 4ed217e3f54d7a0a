"""What each framework is asked to do: the same, with models and embeddings that cost nothing."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ANSWER",
    "CASES",
    "EXPECTED",
    "IMPORTS",
    "INSTRUCTIONS",
    "QUESTION",
    "TOOLKITS",
    "Cases",
    "Setup",
    "add",
    "load_toolkit",
    "multiply",
    "subtract",
]

TOOLKITS: Final = ("llmspell", "langchain", "llamaindex", "pydantic_ai")

#: What a program that has agents, tools and retrieval imports first.
IMPORTS: Final[Mapping[str, str]] = {
    "llmspell": (
        "import llmspell; llmspell.open; from llmspell.agents import Agent; "
        "from llmspell.tools import ToolRegistry, tool"
    ),
    "langchain": (
        "from langchain.agents import create_agent; from langchain_core.tools import tool; "
        "from langchain_core.vectorstores import InMemoryVectorStore"
    ),
    "llamaindex": (
        "from llama_index.core import VectorStoreIndex; "
        "from llama_index.core.tools import FunctionTool; "
        "from llama_index.core.agent.workflow import FunctionAgent"
    ),
    "pydantic_ai": "from pydantic_ai import Agent, Tool",
}

#: What is timed, in the order of the table.
CASES: Final[Mapping[str, str]] = {
    "agent": "an agent is made, of a model, three tools and instructions",
    "run": "a run of it: a question, a call of a tool, an answer; nothing is kept",
    "run, kept": "the same, with a transcript on disk by which it goes on after a crash",
    "tool": "a call of a tool with two arguments",
    "tool, confined": "the same in a process that the kernel confines",
    "cache": "a query is embedded by a cache in memory that has it",
    "retrieval": "a text is embedded, and the ten nearest documents are found in a tenant's index",
    "retrieval, own store": "the same in the framework's own store in memory",
    "engine": "the ten nearest vectors, from the index alone",
}

INSTRUCTIONS: Final = "You are good at sums."
QUESTION: Final = "What is 2 + 3?"
ANSWER: Final = "It is 5."
#: What each case gives, so that all are known to have done the same; of a retrieval it is ids.
EXPECTED: Final[Mapping[str, object]] = {
    "run": ANSWER,
    "run, kept": ANSWER,
    "tool": 5,
    "tool, confined": 5,
}


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: the one.
        b: the other.
    """
    return a + b


def subtract(a: int, b: int) -> int:
    """Take b from a.

    Args:
        a: the one.
        b: the other.
    """
    return a - b


def multiply(a: int, b: int) -> int:
    """Multiply two numbers.

    Args:
        a: the one.
        b: the other.
    """
    return a * b


@dataclass
class Setup:
    """What a framework works with.

    Args:
        scratch: an empty folder.
        documents: how many there are.
        dim: of their vectors.
        seed: of the vectors.
    """

    scratch: Path
    documents: int
    dim: int
    seed: int
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.vectors = _unit(rng.normal(size=(self.documents, self.dim)))
        self.ids = [f"document-{i}" for i in range(self.documents)]
        self.texts = [f"the text of document {i}, of which there is not much" for i in self.rows]
        # Questions are near a document, as those of people are.
        near = self.vectors + rng.normal(size=self.vectors.shape) / self.dim**0.5
        self.queries = {f"a question about document {i}": v for i, v in enumerate(_unit(near))}
        self.questions = list(self.queries)
        self.asked = 0
        self._loop = asyncio.new_event_loop()
        self.stack.callback(self._loop.close)

    @property
    def rows(self) -> range:
        """Numbers of the documents."""
        return range(self.documents)

    def question(self) -> str:
        """One after the other."""
        self.asked = (self.asked + 1) % len(self.questions)
        return self.questions[self.asked]

    def same(self, vector: Any) -> bool:
        """Whether it is that of the question asked last."""
        return bool(np.allclose(vector, self.queries[self.questions[self.asked]]))

    def nearest(self, question: str) -> list[str]:
        """Ids of the ten nearest documents, exactly."""
        scores = self.vectors @ self.queries[question]
        return [self.ids[i] for i in np.argsort(-scores)[:10]]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of questions: a look-up, so that no model is timed."""
        return np.stack([self.queries[text] for text in texts])

    def wait(self, coroutine: Any) -> Any:
        """Run in one event loop that stays."""
        return self._loop.run_until_complete(coroutine)


def load_toolkit(name: str) -> ModuleType:
    """The module of a framework."""
    return importlib.import_module(f"benchmarks.toolkits.{name}")


Cases = dict[str, Callable[[], object]]


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

"""What each framework is asked to do: the same, with models and embeddings that cost nothing."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from benchmarks.toolkits.task import ANSWER

__all__ = [
    "CASES",
    "CHUNKS",
    "CHUNK_TOKENS",
    "EXPECTED",
    "IMPORTS",
    "QUIET",
    "TOOLKITS",
    "Cases",
    "Setup",
    "load_toolkit",
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

#: Environment in which they don't report their use to their makers.
QUIET: Final[Mapping[str, str]] = {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}

#: What is timed, in the order of the table.
CASES: Final[Mapping[str, str]] = {
    "agent": "an agent is made, of a model, three tools and instructions",
    "run": "a run of it: a question, a call of a tool, an answer; nothing is kept",
    "run, kept": "the same, with a transcript on disk by which it goes on after a crash",
    "tool, made": "a function becomes a tool, and is called for the first time",
    "tool": "a call of a tool with two arguments",
    "tool, confined, made": "a process is started for a tool, confined by the kernel, and called",
    "tool, confined": "a call in such a process",
    "cache": "a query is embedded by a cache in memory that has it",
    "cache, passages": "eight passages are embedded by a cache that has them",
    "ingest": "a page is split into eight passages, which are embedded and stored in memory",
    "ingest, kept": "the same, but stored on disk, and there when the call returns",
    "ingest, again": "a page that is stored already is recognised",
    "engine, ingest": "as many vectors are added to the index alone",
    "retrieval": "a text is embedded, and the ten nearest documents are found in a tenant's index",
    "engine": "the ten nearest vectors, from that index alone",
    "retrieval, own store": "as the former, in the framework's own store in memory",
}

#: Passages are of so many tokens at most, which are words and marks here.
CHUNK_TOKENS: Final = 64
#: Passages of a page: each of its paragraphs is more than half of one.
CHUNKS: Final = 8

#: What each case gives, so that all are known to have done the same; of a retrieval it is ids.
EXPECTED: Final[Mapping[str, object]] = {
    "run": ANSWER,
    "run, kept": ANSWER,
    "tool, made": 5,
    "tool": 5,
    "tool, confined, made": 5,
    "tool, confined": 5,
    "ingest": CHUNKS,
    "ingest, kept": CHUNKS,
    "ingest, again": 0,
}


@dataclass
class Setup:
    """What a framework works with.

    Args:
        scratch: an empty folder.
        memory: one in a file system that is kept in memory; None where there is none.
        documents: how many there are.
        dim: of their vectors.
        seed: of the vectors.
    """

    scratch: Path
    memory: Path | None
    documents: int
    dim: int
    seed: int
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.vectors = _unit(rng.normal(size=(self.documents, self.dim)))
        self.ids = [f"document-{i}" for i in range(self.documents)]
        self.texts = [
            f"the text of document {i}, of which there is not much" for i in range(self.documents)
        ]
        self._rows = {text: i for i, text in enumerate(self.texts)}
        # Questions are near a document, as those of people are.
        near = self.vectors + rng.normal(size=self.vectors.shape) / self.dim**0.5
        self.queries = {f"a question about document {i}": v for i, v in enumerate(_unit(near))}
        self.questions = list(self.queries)
        self.asked = 0
        self._pages = 0
        self._loop = asyncio.new_event_loop()
        self.stack.callback(self._loop.close)

    def question(self) -> str:
        """One after the other."""
        self.asked = (self.asked + 1) % len(self.questions)
        return self.questions[self.asked]

    def same(self, vector: Any) -> bool:
        """Whether it is that of the question asked last."""
        return bool(np.allclose(vector, self.queries[self.questions[self.asked]]))

    @property
    def passages(self) -> list[str]:
        """Texts that a cache has."""
        return self.texts[:CHUNKS]

    def same_passages(self, vectors: Any) -> bool:
        """Whether they are those of :attr:`passages`."""
        return bool(np.allclose(vectors, [self.look_up(one) for one in self.passages]))

    def page(self) -> tuple[str, str]:
        """Id and text of a page that was none before."""
        self._pages += 1
        return f"page-{self._pages}", "\n\n".join(
            " ".join(f"{self._pages}w{number}x{word}" for word in range(CHUNK_TOKENS * 5 // 8))
            + "."
            for number in range(CHUNKS)
        )

    @cached_property
    def tokenizer(self) -> Any:
        """By which all of them count tokens: words and marks."""
        from tokenizers import Tokenizer, models, pre_tokenizers

        made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        return made

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer.encode(text).ids)

    def look_up(self, text: str) -> NDArray[np.float32]:
        """The vector of a document, or one for another text, by its checksum."""
        row = self._rows.get(text)
        if row is None:
            row = crc32(text.encode()) % self.documents
        return cast(NDArray[np.float32], self.vectors[row])

    def nearest(self, question: str) -> list[str]:
        """Ids of the ten nearest documents, exactly."""
        scores = self.vectors @ self.queries[question]
        return [self.ids[i] for i in np.argsort(-scores)[:10]]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of questions: a look-up, so that no model is timed."""
        return np.stack([self.queries[text] for text in texts])

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of other texts."""
        return np.stack([self.look_up(text) for text in texts])

    def wait(self, coroutine: Any) -> Any:
        """Run in one event loop that stays."""
        return self._loop.run_until_complete(coroutine)


def load_toolkit(name: str) -> ModuleType:
    """The module of a framework."""
    return importlib.import_module(f"benchmarks.toolkits.{name}")


Cases = dict[str, Callable[[], object]]


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

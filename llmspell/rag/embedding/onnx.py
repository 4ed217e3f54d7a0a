"""Sentence models as ONNX files in a directory, on the CPU, without a network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import (
    ConfigError,
    CorruptFile,
    EmbeddingError,
    InputError,
    TextTooLong,
)
from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.onnx_files import POOLINGS, ModelFiles, Pooling, read_model_files
from llmspell.rag.embedding.runtime import local_module, usable_cores
from llmspell.rag.embedding.vectors import as_texts, unit_rows

__all__ = ["OnnxEmbedder"]

_INPUTS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids"})
_HIDDEN: Final = ("last_hidden_state", "token_embeddings")
_MIN_TOKENS: Final = 4


class OnnxEmbedder:
    """A sentence model from a directory of yours, as sentence-transformers and Optimum lay it out.

    Such models as all-MiniLM, E5, BGE and GTE: ``model.onnx`` or ``onnx/model.onnx``, and
    ``tokenizer.json``; ``1_Pooling/config.json``, ``sentence_bert_config.json`` and
    ``config_sentence_transformers.json`` are read where they are there. It is loaded when it is
    made, and one text is embedded to learn the dimension. Thread-safe.

    A model is code in the hands of onnxruntime: take one from those you trust, and name its
    ``sha256``. Files are read once, so that what is checked is what runs.

    Args:
        path: the directory.
        pooling: ``"mean"``, ``"cls"`` or ``"last"``; None for what the directory says.
        query_prefix, passage_prefix: what the model wants before texts of either task; None for the
            prompts of the directory, if it has some.
        max_tokens: the longest text that is embedded whole, marks included; None for what the
            directory says.
        sha256: of the model's file, in hex; None for any.
        threads: texts that a call embeds side by side; None for the cores that this process may
            run on.

    Raises:
        ConfigError: a file is missing; a setting is out of range, or neither given nor in the
            directory; the model has layers behind the pooling, inputs that aren't known, or weights
            in other files.
        CorruptFile: a file is damaged, or has another ``sha256``.
        EmbeddingError: the model fails.
        MissingDependency: the extra ``local`` isn't installed.
    """

    provider: Final = "onnx"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        pooling: Pooling | None = None,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        max_tokens: int | None = None,
        sha256: str | None = None,
        threads: int | None = None,
    ) -> None:
        if pooling is not None and pooling not in POOLINGS:
            raise ConfigError(f"pooling must be one of {POOLINGS}, got {pooling!r}")
        for name, value, least in (
            ("max_tokens", max_tokens, _MIN_TOKENS),
            ("threads", threads, 1),
        ):
            if value is not None and (not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} must be an int of at least {least}, got {value!r}")
        self._path = Path(path)
        files = read_model_files(self._path, sha256=sha256)
        self._pooling = pooling or files.pooling
        if self._pooling is None:
            raise ConfigError(
                f"{self._path} doesn't say how vectors of tokens make that of a text; give pooling"
            )
        longest = max_tokens or files.max_tokens
        if longest is None:
            raise ConfigError(f"{self._path} doesn't say how long a text may be; give max_tokens")
        self.max_tokens = longest
        self._prefixes: dict[Task, str] = {
            "query": files.query_prompt if query_prefix is None else query_prefix,
            "passage": files.passage_prompt if passage_prefix is None else passage_prefix,
        }
        self._threads = threads or usable_cores()
        self._tokenizer = _load_tokenizer(files, self._path)
        self._cutting = _load_tokenizer(files, self._path)
        self._cutting.enable_truncation(longest)
        self._session, self._inputs, self._output = _load_session(files, self._path)
        self.model_id = f"{self._path.resolve().name}-{self._pooling}-{self._digest(files)}"
        self.dim = int(self._vector(self._tokenizer.encode("a")).shape[0])

    def __repr__(self) -> str:
        return f"OnnxEmbedder({self.model_id!r}, dim={self.dim}, max_tokens={self.max_tokens})"

    @property
    def tokenizer(self) -> Any:
        """The model's ``tokenizers.Tokenizer``, without truncation or padding; don't change it."""
        return self._tokenizer

    def embed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """Embed texts; see :meth:`llmspell.rag.Embedder.embed`.

        Texts run one by one, side by side on the cores, so that a text's vector doesn't depend on
        the texts beside it. A prefix counts as part of its text.
        """
        if task not in self._prefixes:
            raise InputError(f"task must be 'passage' or 'query', got {task!r}")
        marked = [self._prefixes[task] + text for text in as_texts(texts)]
        encoded = self._tokenizer.encode_batch_fast(marked)
        for position, encoding in enumerate(encoded):
            if len(encoding.ids) > self.max_tokens:
                if not truncate:
                    raise TextTooLong(
                        f"text {position} has {len(encoding.ids)} tokens, the model takes at most "
                        f"{self.max_tokens}; split it, or pass truncate=True"
                    )
                encoded[position] = self._cutting.encode(marked[position])
        if not encoded:
            return np.empty((0, self.dim), dtype=np.float32)
        rows: list[NDArray[np.floating[Any]]] = [np.empty(0)] * len(encoded)

        def run(position: int) -> None:
            rows[position] = self._vector(encoded[position])

        workers = min(self._threads, len(encoded))
        if workers == 1:
            for position in range(len(encoded)):
                run(position)
        else:
            longest_first = sorted(range(len(encoded)), key=lambda p: -len(encoded[p].ids))
            with ThreadPoolExecutor(workers, "llmspell-embed") as pool:
                list(pool.map(run, longest_first))
        return unit_rows(rows, count=len(encoded), dim=self.dim, model=self.model_id)

    async def aembed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """As :meth:`embed`, in a thread."""
        import asyncio

        return await asyncio.to_thread(self.embed, texts, task=task, truncate=truncate)

    def _digest(self, files: ModelFiles) -> str:
        """Of all that decides vectors, short."""
        parts = (files.digest, self._pooling, self._prefixes["query"], self._prefixes["passage"])
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    def _vector(self, encoding: Any) -> NDArray[np.floating[Any]]:
        if not encoding.ids:
            raise EmbeddingError(
                "a text without tokens has no vector: the tokenizer of this model puts no marks "
                "around it"
            )
        given = {
            "input_ids": encoding.ids,
            "attention_mask": [1] * len(encoding.ids),
            "token_type_ids": encoding.type_ids,
        }
        feed = {name: np.array([given[name]], dtype=np.int64) for name in self._inputs}
        try:
            (hidden,) = self._session.run([self._output], feed)
        except Exception as error:  # onnxruntime's own errors have no common base but Exception
            raise EmbeddingError(f"the embedding model failed: {error}") from error
        if hidden.ndim != 3 or hidden.shape[:2] != (1, len(encoding.ids)):
            raise EmbeddingError(
                f"{self._output} of the model has the shape {hidden.shape}, and not a vector for "
                "each token"
            )
        tokens: NDArray[np.float32] = hidden[0].astype(np.float32, copy=False)
        if self._pooling == "mean":
            return np.asarray(tokens.mean(axis=0, dtype=np.float64))
        return np.asarray(tokens[0 if self._pooling == "cls" else -1])


def _load_tokenizer(files: ModelFiles, path: Path) -> Any:
    library = local_module("tokenizers")
    try:
        tokenizer = library.Tokenizer.from_str(files.tokenizer)
    except Exception as error:  # the library raises Exception itself
        raise CorruptFile(f"{path / 'tokenizer.json'} is no tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _load_session(files: ModelFiles, path: Path) -> tuple[Any, list[str], str]:
    """Session, names of its inputs, and that of the output that has a vector for each token."""
    ort = local_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # texts run side by side instead
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(files.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common base but Exception
        raise CorruptFile(f"the model of {path} can't be loaded: {error}") from error
    inputs = {one.name: one.type for one in session.get_inputs()}
    if "input_ids" not in inputs or not inputs.keys() <= _INPUTS:
        raise ConfigError(f"the model of {path} takes {sorted(inputs)}: it is no text encoder")
    if set(inputs.values()) != {"tensor(int64)"}:
        raise ConfigError(f"the model of {path} takes {inputs}, and not int64")
    outputs = {one.name: one.shape for one in session.get_outputs()}
    named = [name for name in _HIDDEN if name in outputs]
    named += [name for name, shape in outputs.items() if len(shape) == 3]
    if not named:
        raise ConfigError(
            f"the model of {path} gives {sorted(outputs)}: none has a vector for each token"
        )
    return session, list(inputs), named[0]

"""A cross-encoder: a model that reads a query and a text together, and scores the pair."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ConfigError, InputError, RerankError
from llmspell.rag.embedding.runtime import local_module, usable_cores

__all__ = ["CrossEncoder"]

#: Pairs of one run of the model, padded to the longest of them.
BATCH: Final = 16
#: Where exporters put the model, in the order in which they are looked for.
MODELS: Final = ("model.onnx", "onnx/model.onnx")
TOKENIZER: Final = "tokenizer.json"
_INPUTS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class CrossEncoder:
    """An ONNX cross-encoder from a directory of yours, on the CPU, without a network.

    Such models as ms-marco-MiniLM-L6-v2 or bge-reranker (Nogueira and Cho, arXiv:1901.04085), as
    exporters lay them out: ``model.onnx``, or ``onnx/model.onnx``, and ``tokenizer.json``. llmspell
    comes with no weights. Give it to :meth:`llmspell.Tenant.retrieve` as ``rerank``.

    The model is loaded with the first call. Thread-safe: any number of threads may score at once.

    Args:
        path: the directory.
        max_tokens: of a pair, marks included; longer texts are cut at their end, at least 8.
        threads: cores that a call uses; None takes those that this process may run on.

    Raises:
        ConfigError: a file is missing, or a setting is out of range.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_tokens: int = 512, threads: int | None = None
    ) -> None:
        self._path = Path(path)
        if not isinstance(max_tokens, int) or max_tokens < 8:
            raise ConfigError(f"max_tokens must be an int of 8 or more, got {max_tokens!r}")
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise ConfigError(f"threads must be 1 or more, or None, got {threads!r}")
        models = [self._path / name for name in MODELS if (self._path / name).is_file()]
        if not models or not (self._path / TOKENIZER).is_file():
            raise ConfigError(
                f"{self._path} must have {TOKENIZER} and {' or '.join(MODELS)}: export a "
                "cross-encoder to ONNX there"
            )
        self._model = models[0]
        self._max_tokens = max_tokens
        self._threads = threads or usable_cores()
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any, frozenset[str]] | None = None

    def __repr__(self) -> str:
        return f"CrossEncoder({str(self._path)!r})"

    def __call__(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Score texts against a query.

        Returns:
            (len(texts),) float32, higher is better: the model's logit, or for a model of two
            classes that of the second minus that of the first.

        Raises:
            InputError: ``texts`` is one str, or the query leaves no room for a text.
            MissingDependency: the extra ``local`` isn't installed.
            RerankError: the model can't be loaded or run, or isn't a cross-encoder.
        """
        if isinstance(texts, str):
            raise InputError("texts must be a sequence of str, got one str; wrap it in a list")
        scores = np.empty(len(texts), dtype=np.float32)
        if not len(texts):
            return scores
        session, tokenizer, inputs = self._load()
        try:
            pairs = tokenizer.encode_batch([(query, text) for text in texts])
        except Exception as error:  # the tokenizer's own errors have no common base but Exception
            raise InputError(
                f"the query leaves no room for a text in {self._max_tokens} tokens: {error}"
            ) from error
        by_length = sorted(range(len(pairs)), key=lambda place: len(pairs[place].ids))
        for start in range(0, len(pairs), BATCH):
            places = by_length[start : start + BATCH]
            scores[places] = _run(session, inputs, [pairs[place] for place in places])
        return scores

    def _load(self) -> tuple[Any, Any, frozenset[str]]:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._loaded_now()
        return self._loaded

    def _loaded_now(self) -> tuple[Any, Any, frozenset[str]]:
        ort, tokenizers = local_module("onnxruntime"), local_module("tokenizers")
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(self._path / TOKENIZER))
            # The query stays whole: without it there is nothing to score by.
            tokenizer.enable_truncation(self._max_tokens, strategy="only_second")
            tokenizer.no_padding()
            session = ort.InferenceSession(
                str(self._model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # neither library's errors have another common base
            raise RerankError(f"{self._path} can't be loaded: {error}") from error
        inputs = frozenset(one.name for one in session.get_inputs())
        if "input_ids" not in inputs or not inputs <= _INPUTS:
            raise RerankError(f"{self._model} is no cross-encoder: it takes {sorted(inputs)}")
        return session, tokenizer, inputs


def _run(session: Any, inputs: frozenset[str], pairs: Sequence[Any]) -> NDArray[np.float32]:
    shape = len(pairs), max(len(pair.ids) for pair in pairs)
    given = {name: np.zeros(shape, dtype=np.int64) for name in _INPUTS}
    for row, pair in enumerate(pairs):
        length = len(pair.ids)
        given["input_ids"][row, :length] = pair.ids
        given["attention_mask"][row, :length] = 1
        given["token_type_ids"][row, :length] = pair.type_ids
    try:
        logits = session.run(None, {name: given[name] for name in inputs})[0]
    except Exception as error:  # onnxruntime's own errors have no common base but Exception
        raise RerankError(f"the cross-encoder failed: {error}") from error
    logits = np.asarray(logits, dtype=np.float32).reshape(len(pairs), -1)
    if logits.shape[1] == 1:
        scores: NDArray[np.float32] = logits[:, 0]
    elif logits.shape[1] == 2:
        scores = logits[:, 1] - logits[:, 0]
    else:
        raise RerankError(f"a cross-encoder gives one or two numbers a pair, got {logits.shape}")
    return scores

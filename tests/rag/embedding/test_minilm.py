"""The graph with integer products against the packaged file that it is made from."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest

from llmspell import errors
from llmspell.rag.embedding.local import LocalEmbedder, model_file
from llmspell.rag.embedding.minilm import integer_graph
from llmspell.rag.embedding.onnx_wire import read_weights

TEXTS = [
    "x",
    "How do I copy a folder with everything in it?",
    "Mean pooling over the tokens gives one vector for a whole text. " * 8,
    "def shorten(text, width, **kwargs):\n    return textwrap.shorten(text, width, **kwargs)\n" * 9,
    "Überraschend mögen Größe und Straße 漢字 und 👍 sein.",
    "word " * 510,
]


def test_vectors_agree_with_those_of_the_packaged_file(embedder: LocalEmbedder) -> None:
    ort = importlib.import_module("onnxruntime")
    packaged = ort.InferenceSession(str(model_file()), providers=["CPUExecutionProvider"])
    expected = []
    for text in TEXTS:
        ids = np.array([embedder.tokenizer.encode(text).ids])
        feeds = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
        pooled = packaged.run(None, feeds)[0][0].mean(axis=0)
        expected.append(pooled / np.linalg.norm(pooled))
    cosine = np.einsum("nd,nd->n", embedder.embed(TEXTS), np.array(expected))
    assert cosine.min() > 0.98


def truncated(model: bytes) -> bytes:
    return model[: len(model) // 2]


def lacking(model: bytes) -> bytes:
    return model.replace(b"layer.3.output.LayerNorm.bias", b"layer.3.output.LayerNorm.bios")


def reshaped(model: bytes) -> bytes:
    return model.replace(b"val_473_q", b"val_473_x")


@pytest.mark.parametrize("damage", [truncated, lacking, reshaped])
def test_model_file_that_is_not_the_expected_one_is_refused(
    damage: Callable[[bytes], bytes],
) -> None:
    with pytest.raises(errors.EmbeddingError, match="install"):
        integer_graph(damage(model_file().read_bytes()))


def test_graph_holds_the_weights_unchanged() -> None:
    packaged = model_file().read_bytes()
    before, after = read_weights(packaged), read_weights(integer_graph(packaged))
    shared = before.keys() & after.keys()
    assert len(shared) > 100
    for name in shared - {name for name in shared if name.endswith("_scale")}:
        np.testing.assert_array_equal(before[name], after[name])

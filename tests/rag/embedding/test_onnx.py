"""Sentence models of a directory: the real one of the extra, and tiny ones that show the rest."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from llmspell import errors
from llmspell.rag.embedding import LocalEmbedder, OnnxEmbedder
from llmspell.rag.embedding.local import model_file
from llmspell.rag.embedding.onnx_wire import GraphWriter, has_external_weights

WORDS = ["[CLS]", "[SEP]", "[UNK]", "a", "b", "c", "query:"]
#: A vector for each of the words; that of [UNK] is NaN.
TABLE = np.arange(1, 22, dtype=np.float32).reshape(7, 3) ** 2
TABLE[2] = np.nan

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes the directory of a model that gives each token the vector of its word."""

    def directory(**files: Any) -> Path:
        path = tmp_path / "tiny"
        path.mkdir()
        graph = GraphWriter()
        out = graph.node("Gather", [graph.tensor("table", TABLE), "input_ids"], "last_hidden_state")
        (path / "model.onnx").write_bytes(
            graph.model(("input_ids", 7, ("texts", "tokens")), (out, 1))
        )
        tokenizer = Tokenizer(
            models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]")
        )
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
        )
        tokenizer.enable_truncation(2)  # as some files ask for
        tokenizer.save(str(path / "tokenizer.json"))
        for name, value in files.items():
            file = path / {"pooling": "1_Pooling/config.json"}.get(name, f"{name}.json")
            file.parent.mkdir(exist_ok=True)
            file.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return directory


def unit(*words: str, how: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    pooled = how(TABLE[[WORDS.index(word) for word in ("[CLS]", *words, "[SEP]")]].astype(float))
    return pooled / np.linalg.norm(pooled)


def mean(rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=0)


def first(rows: np.ndarray) -> np.ndarray:
    return rows[0]


def last(rows: np.ndarray) -> np.ndarray:
    return rows[-1]


@pytest.mark.parametrize("pooling, how", [("mean", mean), ("cls", first), ("last", last)])
def test_vectors_of_tokens_are_pooled_as_asked_for(make: Make, pooling: Any, how: Any) -> None:
    embedder = OnnxEmbedder(make(), pooling=pooling, max_tokens=8)
    assert embedder.dim == 3
    found = embedder.embed(["a b", "", "c a b a"])
    expected = [unit(*words.split(), how=how) for words in ("a b", "", "c a b a")]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert embedder.embed([]).shape == (0, 3)


@pytest.mark.parametrize(
    "config, how",
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, mean),
        ({"pooling_mode_cls_token": True, "pooling_mode_max_tokens": False}, first),
        ({"pooling_mode": "lasttoken"}, last),
    ],
)
def test_a_directory_says_how_its_model_is_used(make: Make, config: Any, how: Any) -> None:
    path = make(
        pooling=config,
        sentence_bert_config={"max_seq_length": 5},
        config_sentence_transformers={"prompts": {"query": "query: ", "document": ""}},
        modules=[
            {"type": f"sentence_transformers.models.{kind}"} for kind in ("Pooling", "Normalize")
        ],
    )
    embedder = OnnxEmbedder(path)
    assert embedder.max_tokens == 5
    np.testing.assert_allclose(embedder.embed(["a"])[0], unit("a", how=how), rtol=1e-6)
    found = asyncio.run(embedder.aembed(["a"], task="query"))[0]
    np.testing.assert_allclose(found, unit("query:", "a", how=how), rtol=1e-6)
    plain = OnnxEmbedder(path, query_prefix="")
    np.testing.assert_array_equal(plain.embed(["a"], task="query"), plain.embed(["a"]))
    assert plain.model_id != embedder.model_id


def test_a_text_that_is_too_long_is_named_or_cut_with_its_marks(make: Make) -> None:
    embedder = OnnxEmbedder(make(), pooling="mean", max_tokens=4)
    with pytest.raises(errors.TextTooLong, match="text 1 has 5 tokens"):
        embedder.embed(["a b", "a b c"])
    found = embedder.embed(["a b c"], truncate=True)
    np.testing.assert_allclose(found[0], unit("a", "b", how=mean), rtol=1e-6)


def test_a_vector_of_nan_is_never_given(make: Make) -> None:
    embedder = OnnxEmbedder(make(), pooling="mean", max_tokens=8)
    with pytest.raises(errors.InvalidEmbedding, match="NaN"):
        embedder.embed(["a", "stranger"])


def test_the_model_of_the_extra_is_as_good_from_a_directory(
    tmp_path: Path, embedder: LocalEmbedder
) -> None:
    path = tmp_path / "minilm"
    (path / "onnx").mkdir(parents=True)
    shutil.copy(model_file(), path / "onnx" / "model.onnx")
    embedder.tokenizer.save(str(path / "tokenizer.json"))
    digest = hashlib.sha256(model_file().read_bytes()).hexdigest()
    given = OnnxEmbedder(path, pooling="mean", max_tokens=512, sha256=digest)
    texts = ["How do I sort a list?", "Ordering elements of a list", "A kitten naps on a rug."]
    vectors = given.embed(texts)
    assert given.dim == 384
    # The built-in graph computes in integers; see llmspell/rag/embedding/minilm.py.
    assert (np.sum(vectors * embedder.embed(texts), axis=1) > 0.95).all()
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    np.testing.assert_array_equal(given.embed(texts[:1])[0], vectors[0])


@pytest.mark.parametrize(
    "files, said",
    [
        ({"pooling": {"pooling_mode_max_tokens": True}}, "pools in a way"),
        ({"pooling": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}}, "pools"),
        ({"pooling": {"pooling_mode": "weightedmean"}}, "pools in a way"),
        ({"pooling": {"pooling_mode": "mean", "include_prompt": False}}, "leaves the prompt out"),
        ({"modules": [{"type": "sentence_transformers.models.Dense"}]}, "parts .*: Dense"),
        ({}, "give pooling"),
        ({"pooling": {"pooling_mode": "mean"}}, "give max_tokens"),
    ],
)
def test_a_model_that_would_give_other_vectors_than_its_own_is_refused(
    make: Make, files: Any, said: str
) -> None:
    with pytest.raises(errors.ConfigError, match=said):
        OnnxEmbedder(make(**files))


@pytest.mark.parametrize(
    "files",
    [
        {"pooling": "{"},
        {"pooling": "[]"},
        {"modules": {"type": 1}},
        {"sentence_bert_config": "\xff"},
        {"tokenizer": {}},
    ],
)
def test_a_damaged_file_is_named(make: Make, files: Any) -> None:
    (name,) = files
    with pytest.raises(errors.CorruptFile) as refused:
        OnnxEmbedder(make(**files), pooling="mean", max_tokens=8)
    assert name.removesuffix("_config") in str(refused.value).lower()


def test_a_model_that_is_damaged_missing_or_another_is_refused(make: Make) -> None:
    path = make()
    whole = (path / "model.onnx").read_bytes()
    with pytest.raises(errors.CorruptFile, match="SHA-256"):
        OnnxEmbedder(path, pooling="mean", max_tokens=8, sha256="0" * 64)
    for damaged in (b"", b"not a model", whole[: len(whole) // 2], whole[:-1]):
        (path / "model.onnx").write_bytes(damaged)
        with pytest.raises(errors.CorruptFile):
            OnnxEmbedder(path, pooling="mean", max_tokens=8)
    (path / "model.onnx").unlink()
    with pytest.raises(errors.ConfigError, match="must have"):
        OnnxEmbedder(path, pooling="mean", max_tokens=8)


def test_weights_in_other_files_are_found_in_any_depth(make: Make) -> None:
    path = make()
    whole = (path / "model.onnx").read_bytes()
    assert not has_external_weights(whole)

    def field(number: int, content: bytes) -> bytes:
        assert len(content) < 128
        return bytes([number << 3 | 2, len(content)]) + content

    tensor = bytes([14 << 3, 1])  # TensorProto.data_location = EXTERNAL
    inner = field(5, tensor)  # GraphProto.initializer
    for graph in (inner, field(1, field(5, field(6, inner))), field(1, field(5, field(5, tensor)))):
        assert has_external_weights(field(7, graph))
    (path / "model.onnx").write_bytes(field(7, inner))
    with pytest.raises(errors.ConfigError, match="other files"):
        OnnxEmbedder(path, pooling="mean", max_tokens=8)


def test_a_model_that_is_no_text_encoder_is_refused(make: Make) -> None:
    path = make()
    graph = GraphWriter()
    out = graph.node("Gather", [graph.tensor("table", TABLE), "pixels"], "last_hidden_state")
    (path / "model.onnx").write_bytes(graph.model(("pixels", 7, ("texts", "tokens")), (out, 1)))
    with pytest.raises(errors.ConfigError, match="no text encoder"):
        OnnxEmbedder(path, pooling="mean", max_tokens=8)


@pytest.mark.parametrize(
    "setting", [{"pooling": "max"}, {"max_tokens": 1}, {"threads": 0}, {"max_tokens": "8"}]
)
def test_settings_out_of_range_are_refused(make: Make, setting: Any) -> None:
    with pytest.raises(errors.ConfigError, match="must be"):
        OnnxEmbedder(make(), **({"pooling": "mean", "max_tokens": 8} | setting))

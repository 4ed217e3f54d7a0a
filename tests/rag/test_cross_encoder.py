"""A cross-encoder of a directory, run by the real runtime: a small model made here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

import llmspell
from llmspell import TenantConfig, errors
from llmspell.rag import CrossEncoder
from llmspell.rag.embedding.onnx_wire import GraphWriter

#: What each word is worth; the model adds them up over query and text.
WORTH = {"[PAD]": 0.0, "[UNK]": 0.0, "[CLS]": 0.0, "[SEP]": 0.0, "good": 1.0, "bad": -1.0}
INT64, FLOAT32 = 7, 1


def write(folder: Path, *, columns: int = 1, source: str = "input_ids") -> Path:
    """A directory as exporters make it."""
    folder.mkdir()
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORTH)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    graph = GraphWriter()
    worth = np.array(list(WORTH.values()), dtype=np.float32)[:, np.newaxis]
    signs = np.array([-1.0, 1.0, 0.0])[:columns] if columns > 1 else np.ones(1)
    table = graph.tensor("table", (worth * signs).astype(np.float32))
    words = graph.node("Gather", [table, source], "words")
    axes = graph.tensor("axes", np.array([1], dtype=np.int64))
    logits = graph.node("ReduceSum", [words, axes], "logits", keepdims=0)
    model = graph.model((source, INT64, ("texts", "tokens")), (logits, FLOAT32))
    (folder / "model.onnx").write_bytes(model)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> CrossEncoder:
    return CrossEncoder(write(tmp_path / "model"), max_tokens=12, threads=1)


def test_each_text_is_scored_with_the_query_in_its_own_place(model: CrossEncoder) -> None:
    texts = ["good " * n + "bad " * (n % 3) for n in range(7)] * 5
    expected = [1.0 + n - n % 3 for n in range(7)] * 5
    scores = model("good", texts)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected)
    assert model("good", []).shape == (0,)
    np.testing.assert_allclose(model("bad", ["word"]), [-1.0])


def test_a_long_text_is_cut_and_the_query_is_not(model: CrossEncoder) -> None:
    # Twelve tokens, three of them marks.
    np.testing.assert_allclose(model("good good", ["good " * 50]), [9.0])
    with pytest.raises(errors.InputError, match="leaves no room"):
        model("good " * 50, ["good"])


def test_a_model_of_two_classes_gives_their_difference(tmp_path: Path) -> None:
    two = CrossEncoder(write(tmp_path / "two", columns=2))
    np.testing.assert_allclose(two("good", ["good", "bad"]), [4.0, 0.0])


def test_threads_may_score_at_once(model: CrossEncoder) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: model("good", ["good"] * (n % 5))[:1].sum(), range(20)))
    assert found == [2.0 if n % 5 else 0.0 for n in range(20)]


def test_what_is_no_cross_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match=r"tokenizer\.json"):
        CrossEncoder(tmp_path)
    three = CrossEncoder(write(tmp_path / "three", columns=3))
    with pytest.raises(errors.RerankError, match="one or two numbers"):
        three("good", ["good"])
    strange = CrossEncoder(write(tmp_path / "strange", source="pixels"))
    with pytest.raises(errors.RerankError, match="pixels"):
        strange("good", ["good"])
    folder = write(tmp_path / "damaged")
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(errors.RerankError, match="can't be loaded"):
        CrossEncoder(folder)("good", ["good"])
    for settings in ({"max_tokens": 4}, {"threads": 0}):
        with pytest.raises(errors.ConfigError):
            CrossEncoder(folder, **settings)
    with pytest.raises(errors.InputError, match="one str"):
        three("good", "good")


def test_a_tenant_reranks_by_it(model: CrossEncoder, tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as database:
        tenant = database.create_tenant(TenantConfig(id="acme"))
        texts = ["a bad bad word", "a word", "a good word"]
        tenant.upsert([0, 1, 2], np.eye(3), texts=texts)
        hits = tenant.retrieve("word", mode="lexical", rerank=model)
        assert hits.ids == [2, 1, 0]
        assert list(hits.scores) == [1.0, 0.0, -2.0]

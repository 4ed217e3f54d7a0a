"""Each way to split keeps the promises of all, and does what its name says."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell.rag import chunker, grammars
from llmspell.rag.chunker import Chunker
from llmspell.rag.chunking import Chunking, ChunkingMethod, splitting_way
from llmspell.rag.embedding.local import LocalEmbedder
from llmspell.rag.semantic import groups
from tests.rag.test_chunker import GRAPHEMES, assert_covers, texts

METHODS: list[ChunkingMethod] = ["tokens", "recursive", "markdown", "code", "semantic"]

RUST = "\n\n".join(
    f"/// Adds {n}.\npub fn add_{n}(x: u64) -> u64 {{\n    let total = x + {n};\n\n"
    f'    println!("{{}} and some more words", total);\n    total\n}}'
    for n in range(12)
)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25, deadline=None)
@given(text=texts, pieces=st.lists(st.sampled_from([*GRAPHEMES, "wo ", "x", ". "]), max_size=300))
def test_chunks_are_slices_that_fit_and_drop_nothing(
    embedder: LocalEmbedder, method: ChunkingMethod, text: str, pieces: list[str]
) -> None:
    chunker = Chunker(
        embedder.tokenizer,
        Chunking(method=method, size=40, overlap=12),
        embed=lambda found: np.eye(len(found), 8, dtype=np.float32),
    )
    media_type = "text/x-rust" if method == "code" else "text/plain"
    chunks = chunker.split(text, media_type)
    assert_covers(text, chunks)
    assert all(count <= 40 for count in embedder.count_tokens([chunk.text for chunk in chunks]))
    joined = "".join(pieces)
    boundaries = {0, *itertools.accumulate(map(len, pieces))}
    boundaries |= {n for n in range(len(joined)) if joined[n - 1].isspace() or joined[n].isspace()}
    for chunk in chunker.split(joined, media_type):
        assert {chunk.start, chunk.end} <= boundaries


def test_a_grammar_that_is_installed_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(grammars._GRAMMARS, "text/x-later", ("tree_sitter_later", "language"))
    monkeypatch.syspath_prepend(tmp_path)
    assert splitting_way(Chunking(), "text/x-later") == "recursive"
    (tmp_path / "tree_sitter_later.py").touch()
    importlib.invalidate_caches()
    assert splitting_way(Chunking(), "text/x-later") == "code text/x-later"


def test_settings_and_parts_are_as_the_reference_says_unless_others_are_given() -> None:
    assert Chunking() == Chunking(method="auto", size=512, overlap=64)
    parts = (chunker._AT_ONCE, chunker._SOURCE_AT_ONCE, chunker._LOOKED_AT)
    assert parts == (65_536, 16_384, 1_048_576)


def test_windows_are_full_and_overlap_by_whole_words(embedder: LocalEmbedder) -> None:
    text = " ".join(f"word{n}" for n in range(3_000))
    chunker = Chunker(embedder.tokenizer, Chunking(method="tokens"))
    chunks = chunker.split(text)
    assert_covers(text, chunks)
    counts = embedder.count_tokens([chunk.text for chunk in chunks])
    assert max(counts) <= 512
    assert min(counts[:-1]) > 500
    for before, after in itertools.pairwise(chunks):
        repeated = text[after.start : before.end]
        assert repeated.startswith("word")
        assert 56 < embedder.count_tokens([repeated])[0] - 2 <= 64


def test_windows_without_overlap_follow_each_other(embedder: LocalEmbedder) -> None:
    text = " ".join(f"word{n}" for n in range(400))
    chunks = Chunker(embedder.tokenizer, Chunking(method="tokens", overlap=0, size=64)).split(text)
    assert " ".join(chunk.text for chunk in chunks) == text


def test_windows_go_through_text_without_spaces(embedder: LocalEmbedder) -> None:
    text = "東京は日本の首都であり世界最大の都市の一つである" * 60
    chunks = Chunker(embedder.tokenizer, Chunking(method="tokens", size=64, overlap=8)).split(text)
    assert_covers(text, chunks)
    assert len(chunks) > 10


def test_source_is_split_between_functions(embedder: LocalEmbedder) -> None:
    pytest.importorskip("tree_sitter_rust")
    chunker = Chunker(embedder.tokenizer, Chunking(size=128, overlap=0))
    chunks = chunker.split(RUST, "text/x-rust")
    assert_covers(RUST, chunks)
    assert len(chunks) > 3
    assert all(chunk.text.count("{") == chunk.text.count("}") for chunk in chunks)
    plain = Chunker(embedder.tokenizer, Chunking(method="recursive", size=128, overlap=0))
    apart = plain.split(RUST, "text/x-rust")
    assert not all(chunk.text.count("{") == chunk.text.count("}") for chunk in apart)


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        ("text/javascript", "function f() { return 1 }\n"),
        ("text/x-c", "int f(void) { return 1; }\n"),
        ("text/x-c++", "namespace a { int f() { return 1; } }\n"),
        ("text/x-go", "func f() int { return 1 }\n"),
        ("text/x-java", "class A { int f() { return 1; } }\n"),
        ("text/x-ruby", "def f\n  1\nend\n"),
        ("text/x-shellscript", "f() { echo 1; }\n"),
        ("text/x-tsx", "const a = () => <b>x</b>;\n"),
        ("text/x-typescript", "function f(): number { return 1 }\n"),
    ],
)
def test_every_language_has_a_grammar_that_works(
    embedder: LocalEmbedder, media_type: str, text: str
) -> None:
    assert splitting_way(Chunking(), media_type) == f"code {media_type}"
    chunks = Chunker(embedder.tokenizer, Chunking(size=32, overlap=0)).split(text * 30, media_type)
    assert_covers(text * 30, chunks)


def test_language_without_its_grammar_is_named_where_syntax_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llmspell.rag.grammars._GRAMMARS", {"text/x-go": ("no_such_thing", "f")})
    assert splitting_way(Chunking(), "text/x-go") == "recursive"
    with pytest.raises(errors.MissingDependency, match="code"):
        splitting_way(Chunking(method="code"), "text/x-go")


def test_meaning_sets_the_borders(embedder: LocalEmbedder) -> None:
    cooking = "The soup simmers with onions and carrots. Add salt and fresh pepper to the pot. "
    money = "The bank raised its interest rate again. Bonds and shares fell on the market. "
    text = cooking * 4 + money * 4
    chunker = Chunker(
        embedder.tokenizer, Chunking(method="semantic", size=160, overlap=0), embed=embedder.embed
    )
    chunks = chunker.split(text)
    assert_covers(text, chunks)
    assert not any("soup" in chunk.text and "bank" in chunk.text for chunk in chunks)


def test_splitting_by_meaning_needs_a_model(embedder: LocalEmbedder) -> None:
    with pytest.raises(errors.ConfigError, match="embed"):
        Chunker(embedder.tokenizer, Chunking(method="semantic"))


@settings(max_examples=100, deadline=None)
@given(tokens=st.lists(st.integers(1, 50), max_size=30), seed=st.integers(0, 99))
def test_groups_hold_every_piece_once_and_fit(tokens: list[int], seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((len(tokens), 4)).astype(np.float32)
    found = groups(vectors, tokens, size=60)
    assert [n for first, behind in found for n in range(first, behind)] == list(range(len(tokens)))
    assert all(sum(tokens[first:behind]) <= 60 for first, behind in found if behind > first + 1)

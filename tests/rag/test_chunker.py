"""Chunks are exact slices, fit the model, lose nothing and keep together what belongs together."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell.rag.chunker import Chunker
from llmspell.rag.chunking import Chunking, ChunkingMethod
from llmspell.rag.embedding.local import LocalEmbedder
from llmspell.rag.graphemes import clusters
from llmspell.tenancy.documents import Chunk

MEDIA_TYPES = ["text/plain", "text/markdown", "text/x-python"]

# What a reader sees as one character, though it is several code points.
GRAPHEMES = [
    "e\u0301",
    "👩\u200d👩\u200d👧\u200d👦",
    "🇩🇪",
    "한",
    "ก\u0e33",
    "\r\n",
    "👍🏽",
    "a\u0308\u0323",
]

PROSE = " ".join(f"Sentence number {n} tells about the weather in spring." for n in range(200))


@pytest.fixture(scope="module")
def chunker(embedder: LocalEmbedder) -> Chunker:
    return Chunker(embedder.tokenizer)


@pytest.fixture(scope="module")
def small_chunker(embedder: LocalEmbedder) -> Chunker:
    return Chunker(embedder.tokenizer, Chunking(size=40, overlap=12))


def assert_covers(text: str, chunks: list[Chunk]) -> None:
    covered = 0
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip()
        assert not text[covered : chunk.start].strip(), "text was dropped"
        covered = max(covered, chunk.end)
    assert not text[covered:].strip(), "text was dropped"
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(starts)


def assert_whole(text: str, chunks: list[Chunk]) -> None:
    boundaries = {0, *(found.end() for found in clusters().finditer(text))}
    assert all({chunk.start, chunk.end} <= boundaries for chunk in chunks)


texts = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from(["# Heading\n\n", "\n\n", "def f(x):\n    return x\n", "- item\n", "    "]),
        st.sampled_from(GRAPHEMES),
        st.integers(1, 400).map("word ".__mul__),
        st.integers(1, 4000).map("x".__mul__),
        st.integers(1, 2000).map(" ".__mul__),
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@settings(max_examples=20, deadline=None)
@given(text=texts)
def test_chunks_are_slices_that_fit_and_drop_nothing(
    small_chunker: Chunker, embedder: LocalEmbedder, media_type: str, text: str
) -> None:
    chunks = small_chunker.split(text, media_type)
    assert_covers(text, chunks)
    assert all(count <= 40 for count in embedder.count_tokens([chunk.text for chunk in chunks]))


JOINS = [
    *GRAPHEMES,
    " \u0301",
    "'\u0301",
    "\u0600 ",
    "\u0600\u0301",
    "word ",
    "x",
    ". ",
    "**",
    "\n",
]


@pytest.mark.parametrize(
    ("method", "media_type"),
    [
        *(("auto", kind) for kind in (*MEDIA_TYPES, "text/javascript")),
        ("tokens", "text/plain"),
        ("semantic", "text/plain"),
    ],
)
@settings(max_examples=15, deadline=None)
@given(pieces=st.lists(st.sampled_from(JOINS), max_size=200))
def test_no_grapheme_is_cut(
    embedder: LocalEmbedder, method: ChunkingMethod, media_type: str, pieces: list[str]
) -> None:
    text = "".join(pieces)
    chunking = Chunking(method=method, size=40, overlap=12)
    chunker = Chunker(
        embedder.tokenizer, chunking, embed=lambda texts: embedder.embed(texts, task="passage")
    )
    chunks = chunker.split(text, media_type)
    assert_covers(text, chunks)
    assert_whole(text, chunks)
    assert all(count <= 40 for count in embedder.count_tokens([chunk.text for chunk in chunks]))


def test_row_of_flags_is_cut_between_flags_wherever_it_begins(small_chunker: Chunker) -> None:
    for text in ("🇩🇪" * 300, "x" + "🇩🇪" * 300):
        assert_whole(text, small_chunker.split(text))


@pytest.mark.parametrize("method", ["auto", "tokens"])
def test_character_that_no_chunk_can_hold_is_cut_and_not_dropped(
    embedder: LocalEmbedder, method: ChunkingMethod
) -> None:
    letters = "\u1112" * 45  # one character of as many tokens
    chunker = Chunker(embedder.tokenizer, Chunking(method=method, size=40, overlap=0))
    for text in (letters, f"before {letters} after", f"x\u0301 {letters}\u0301 \u0301{letters}."):
        chunks = chunker.split(text)
        assert_covers(text, chunks)
        assert max(embedder.count_tokens([chunk.text for chunk in chunks])) <= 40


def test_character_without_end_is_cut_to_a_bounded_length(small_chunker: Chunker) -> None:
    text = "before a" + "\u0301" * 5_000 + " after"
    chunks = small_chunker.split(text)
    assert_covers(text, chunks)
    assert max(len(chunk.text) for chunk in chunks) <= 40 * 16


def test_default_is_512_tokens_with_marks_and_64_of_overlap(
    chunker: Chunker, embedder: LocalEmbedder
) -> None:
    chunks = chunker.split(PROSE)
    counts = embedder.count_tokens([chunk.text for chunk in chunks])
    assert max(counts) <= 512
    assert min(counts[:-1]) > 512 - 64
    for before, after in itertools.pairwise(chunks):
        repeated = PROSE[after.start : before.end]
        assert 0 < embedder.count_tokens([repeated])[0] - 2 <= 64
        assert repeated.startswith("Sentence number"), "overlap is made of whole sentences"


def test_short_text_is_one_chunk_without_outer_white_space(chunker: Chunker) -> None:
    assert chunker.split("  \n just this \n") == [Chunk("just this", 4, 13)]


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("blank", ["", " \n\t ", " " * 5_000])
def test_blank_text_has_no_chunks(chunker: Chunker, media_type: str, blank: str) -> None:
    assert chunker.split(blank, media_type) == []


def test_markdown_is_split_at_headings(chunker: Chunker) -> None:
    body = "Some words about the matter at hand. " * 40
    text = "".join(f"## Part {n}\n\n{body}\n\n" for n in range(6))
    chunks = Chunker(chunker._tokenizer, Chunking(overlap=0)).split(text, "text/markdown")
    assert [chunk.text[:9] for chunk in chunks] == [f"## Part {n}" for n in range(6)]


LONG = {
    "one line": (" ".join(f"Sentence {n} of one line." for n in range(900)), "text/markdown"),
    "one string": (f"let s = '{'word ' * 4_000}';", "text/javascript"),
    "no end": ("(" * 9_000, "text/javascript"),
    "no function": ("x = 1\n" * 3_000, "text/x-python"),
    "no space": ("\u5929\u6c17" * 4_000, "text/plain"),
    "families": ("👩\u200d👩\u200d👧" * 2_000, "text/plain"),
}


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the library's splitters are given in the test."""
    texts: list[str] = []
    make = Chunker._make

    class Watched:
        def __init__(self, splitter: Any) -> None:
            self._splitter = splitter

        def chunk_indices(self, text: str) -> Any:
            texts.append(text)
            return self._splitter.chunk_indices(text)

    monkeypatch.setattr(Chunker, "_make", lambda self, way: Watched(make(self, way)))
    return texts


@pytest.mark.parametrize("kind", LONG)
def test_splitter_is_given_a_bounded_part_of_a_text_at_once(
    embedder: LocalEmbedder, monkeypatch: pytest.MonkeyPatch, handed: list[str], kind: str
) -> None:
    monkeypatch.setattr("llmspell.rag.chunker._AT_ONCE", 5_000)
    monkeypatch.setattr("llmspell.rag.chunker._SOURCE_AT_ONCE", 4_000)
    text, media_type = LONG[kind]
    chunks = Chunker(embedder.tokenizer, Chunking(overlap=0)).split(text, media_type)
    assert_covers(text, chunks)
    assert_whole(text, chunks)
    assert len(handed) > 1
    assert max(map(len, handed)) <= (4_000 if media_type == "text/javascript" else 5_000)


def test_splitter_is_given_no_long_run_of_white_space_wherever_that_begins(
    embedder: LocalEmbedder, handed: list[str]
) -> None:
    splitter = Chunker(embedder.tokenizer, Chunking(size=32, overlap=0))
    for first in range(20):
        text = PROSE[: 400 + first].strip() + " " * 256 + PROSE[:400].strip()
        assert_covers(text, splitter.split(text))
    assert len(handed) == 40
    assert not any(" " * 256 in text for text in handed)


def test_part_that_is_split_at_once_ends_between_paragraphs(
    embedder: LocalEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.rag.chunker._AT_ONCE", 3_000)
    paragraphs = [f"Paragraph {n}.\nIt has a second line. And more." for n in range(200)]
    text = "\n\n".join(paragraphs)
    chunks = Chunker(embedder.tokenizer, Chunking(overlap=0)).split(text)
    assert all(chunk.text.startswith("Paragraph") for chunk in chunks)


@pytest.mark.parametrize("media_type", ["text/markdown", "text/javascript", "text/x-python"])
def test_syntax_of_a_text_that_is_too_long_is_not_looked_at(
    embedder: LocalEmbedder, monkeypatch: pytest.MonkeyPatch, media_type: str
) -> None:
    text = "".join(
        f"# Part {n}\ndef step_{n}(x):\n    return x\n\nfunction f{n}() {{\n  g();\n\n  h();\n}}\n"
        for n in range(100)
    )
    monkeypatch.setattr("llmspell.rag.chunker._LOOKED_AT", len(text))
    splitter = Chunker(embedder.tokenizer, Chunking(overlap=0))
    by_paragraphs = splitter.split(text, "text/plain")
    assert splitter.split(text, media_type) != by_paragraphs
    monkeypatch.setattr("llmspell.rag.chunker._LOOKED_AT", len(text) - 1)
    assert splitter.split(text, media_type) == by_paragraphs


def test_function_keeps_its_docstring_decorator_and_comment(chunker: Chunker) -> None:
    body = "".join(f"    total += compute_step({n}, total)\n" for n in range(24))
    functions = [
        f'# About step {n}.\n@cached\ndef step_{n}(x: int) -> int:\n    """Do step {n}."""\n{body}'
        for n in range(5)
    ]
    chunks = chunker.split("import os\n\n\n" + "\n\n".join(functions), "text/x-python")
    held = [chunk for chunk in chunks if "def step_" in chunk.text]
    assert len(held) == 5
    for n, chunk in enumerate(held):
        start = (
            f'# About step {n}.\n@cached\ndef step_{n}(x: int) -> int:\n    """Do step {n}."""\n'
        )
        assert start in chunk.text
        assert chunk.text.count("def step_") == 1


def test_source_that_is_not_python_is_split_as_text(chunker: Chunker) -> None:
    text = "def broken(:\n  '''never closed\n" + PROSE
    assert_covers(text, chunker.split(text, "text/x-python"))


def test_word_without_end_is_cut_to_a_bounded_length(
    chunker: Chunker, embedder: LocalEmbedder
) -> None:
    text = "before " + "QUJD" * 30_000 + " after"
    chunks = chunker.split(text)
    assert_covers(text, chunks)
    assert max(len(chunk.text) for chunk in chunks) <= 512 * 16
    assert max(embedder.count_tokens([chunk.text for chunk in chunks])) <= 512


@pytest.mark.parametrize(
    "bad",
    [
        {"size": 31},
        {"overlap": -1},
        {"size": 64, "overlap": 32},
        {"size": 64.0},
        {"overlap": True},
        {"method": "words"},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError):
        Chunking(**bad)

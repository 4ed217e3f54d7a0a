"""Counted line by line, a text has the tokens that its tokenizer counts in it as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from llmspell.rag import Chunking
from llmspell.rag.chunker import Chunker
from llmspell.rag.embedding.local import LocalEmbedder
from llmspell.rag.line_counts import CountingLines, are_lines_apart

PIECES = st.sampled_from(
    [
        *("\n", "\r\n", " ", ". ", "\t", "\x1c", "\u0085", "\u00a0", "\u2028", "\u200b", "\0"),
        *("[SEP]", "[MASK]", "##ing", "Straße", "İ", "ΣΑΣ", "naïve", "e\u0301", "\u0301", "\u0345"),
        *("한국어", "中文", "ก\u0e33", "🇩🇪", "👩\u200d👧", "...", "can't", "_x", "word", "x" * 101),
    ]
)


class Whole:
    """A splitter that asks once, about all of it."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count

    def chunk_indices(self, text: str) -> list[tuple[int, str]]:
        return [(self._count(text), text)]


def by_words() -> Tokenizer:
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


@settings(max_examples=60, deadline=None)  # the first loads the tokenizer
@given(text=st.lists(PIECES | st.text(max_size=4), max_size=30).map("".join))
def test_lines_have_the_tokens_of_the_whole(embedder: LocalEmbedder, text: str) -> None:
    for tokenizer in (embedder.tokenizer, by_words()):
        assert are_lines_apart(tokenizer)
        counted = CountingLines(Whole, tokenizer).chunk_indices(text)[0][0]
        assert counted == len(tokenizer.encode(text, add_special_tokens=False).ids)


def test_each_line_is_counted_once(embedder: LocalEmbedder) -> None:
    asked: list[str] = []

    class Watched:
        def encode_batch_fast(self, texts: list[str], **how: Any) -> Any:
            asked.extend(texts)
            return embedder.tokenizer.encode_batch_fast(texts, **how)

    class Twice(Whole):
        def chunk_indices(self, text: str) -> list[tuple[int, str]]:
            return [(self._count(text[:14]), ""), (self._count(text), text)]

    counted = CountingLines(Twice, Watched()).chunk_indices("Doors\nclose. \nDoors\nopen. Now.")
    assert counted[0][0] + 4 < counted[1][0]
    assert asked == ["Doors", "close.", "open.", "Now."]


@pytest.mark.parametrize("media_type", ["text/plain", "text/markdown", "text/javascript"])
def test_chunks_are_those_that_the_library_finds_by_itself(
    embedder: LocalEmbedder, monkeypatch: pytest.MonkeyPatch, media_type: str
) -> None:
    text = "\n".join(
        f"# Part {n}\n\nPart {n} is short. It ends.\nfunction f{n}() {{\n  g();\n}}\n" + "ab" * n
        for n in range(60)
    )
    chunking = Chunking(size=48, overlap=8)
    found = Chunker(embedder.tokenizer, chunking).split(text, media_type)
    monkeypatch.setattr("llmspell.rag.chunker.are_lines_apart", lambda tokenizer: False)
    assert found == Chunker(embedder.tokenizer, chunking).split(text, media_type)
    assert len(found) > 20


def test_tokenizers_that_know_white_space_are_asked_about_the_whole() -> None:
    bytes_of_it, pieces, lines, lower = (by_words() for _ in range(4))
    bytes_of_it.pre_tokenizer = pre_tokenizers.ByteLevel()
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    lines.add_tokens([AddedToken("a\nb")])
    lower.normalizer = normalizers.Replace("\n", "x")
    for tokenizer in (bytes_of_it, pieces, lines, lower):
        assert not are_lines_apart(tokenizer)
        chunks = Chunker(tokenizer, Chunking(size=32, overlap=0)).split("a\nb. c d\n\n" * 40)
        assert len(chunks) > 1

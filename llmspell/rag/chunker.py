"""Documents to chunks that the model can take whole, with their exact places in the text."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any, Final

from llmspell.errors import ConfigError, MissingDependency
from llmspell.rag.python_source import section_starts
from llmspell.tenancy.model import Chunk

__all__ = ["Chunker"]

# The model's vocabulary turns a word of more than 100 characters into one unknown token, so an
# encoded image may be a million characters in a single token. Prose has about 4 a token.
_MAX_CHARS_PER_TOKEN: Final = 16

# The splitter's time grows with the square of a run of white space: a minute for 300,000.
_VOID: Final = re.compile(r"\s{256,}")


class Chunker:
    """Splits at the best place there is: headings, blank lines, lines, sentences, words.

    Every chunk is a slice of the text, ``text[start:end]``; nothing but white space lies outside of
    all chunks; no character that a reader sees as one is cut in two. Thread-safe.

    Args:
        tokenizer: a ``tokenizers.Tokenizer`` that neither truncates nor pads.
        size: tokens of a chunk at most, the model's own marks included; at least 32.
        overlap: tokens at most that a chunk repeats of the one before, in whole sentences, lines or
            paragraphs; none where the last of them is longer. Less than half of ``size``.

    Raises:
        ConfigError: a setting out of range.
        MissingDependency: the extra ``rag`` isn't installed.
    """

    def __init__(self, tokenizer: Any, *, size: int = 512, overlap: int = 64) -> None:
        if size < 32:
            raise ConfigError(f"size must be at least 32 tokens, got {size}")
        if not 0 <= overlap < size // 2:
            raise ConfigError(f"overlap must be from 0 to {size // 2 - 1} tokens, got {overlap}")
        try:
            library = importlib.import_module("semantic_text_splitter")
        except ImportError as error:
            raise MissingDependency("rag", "semantic-text-splitter") from error
        self._tokenizer = tokenizer
        self._capacity = size - tokenizer.num_special_tokens_to_add(is_pair=False)
        self._max_chars = size * _MAX_CHARS_PER_TOKEN
        prose = library.TextSplitter
        settings = (tokenizer, self._capacity, overlap)
        self._plain = prose.from_huggingface_tokenizer(*settings)
        self._markdown = library.MarkdownSplitter.from_huggingface_tokenizer(*settings)
        self._by_chars = prose(self._max_chars)

    def split(self, text: str, media_type: str = "text/plain") -> list[Chunk]:
        """Split a text, by the structure of its media type.

        Args:
            text: any; blank text has no chunks.
            media_type: "text/markdown" splits at headings and blocks first, "text/x-python" at
                classes and functions; all others as plain text.

        Returns:
            Chunks in order of ``start``, none of which lies within another.
        """
        if media_type == "text/x-python":
            found = self._split_python(text)
        else:
            splitter = self._markdown if media_type == "text/markdown" else self._plain
            found = self._split_within(splitter, text, 0, len(text))
        chunks: list[Chunk] = []
        for chunk in sorted(found, key=lambda chunk: (chunk.start, -chunk.end)):
            if not chunks or chunk.end > chunks[-1].end:
                chunks.append(chunk)
        return chunks

    def _split_within(self, splitter: Any, text: str, start: int, end: int) -> Iterator[Chunk]:
        if end - start <= self._max_chars and self._count(text[start:end]) <= self._capacity:
            yield from _trimmed(text, start, end)
            return
        for begin, stop in _between_voids(text, start, end):
            for offset, chunk in splitter.chunk_indices(text[begin:stop]):
                at = begin + offset
                if len(chunk) <= self._max_chars:
                    yield from _trimmed(text, at, at + len(chunk))
                    continue
                for inner, part in self._by_chars.chunk_indices(chunk):
                    place = at + inner
                    yield from self._split_within(self._plain, text, place, place + len(part))

    def _split_python(self, text: str) -> Iterator[Chunk]:
        starts = section_starts(text) or [0]
        sections = list(zip(starts, [*starts[1:], len(text)], strict=True))
        counts = [
            len(encoding.ids)
            for encoding in self._tokenizer.encode_batch_fast(
                [text[start:end] for start, end in sections], add_special_tokens=False
            )
        ]
        # A function to a chunk, so that a hit is what was asked for; but one-liners together, since
        # alone they say little and cost as much to store.
        enough = self._capacity // 4
        begin, used = 0, 0
        for (start, _), count in zip(sections, counts, strict=True):
            if used and (used >= enough or used + count > self._capacity):
                yield from self._split_within(self._plain, text, begin, start)
                begin, used = start, 0
            used += count
        yield from self._split_within(self._plain, text, begin, len(text))

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _between_voids(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for void in _VOID.finditer(text, start, end):
        if void.start() > start:
            yield start, void.start()
        start = void.end()
    if end > start:
        yield start, end


def _trimmed(text: str, start: int, end: int) -> Iterator[Chunk]:
    """The slice without its outer white space, if anything is left."""
    piece = text[start:end]
    inner = piece.strip()
    if not inner:
        return
    start += piece.index(inner)
    yield Chunk(inner, start, start + len(inner))

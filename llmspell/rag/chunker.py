"""Documents to chunks that the model can take whole, with their exact places in the text."""

from __future__ import annotations

import importlib
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ConfigError, MissingDependency
from llmspell.rag.chunking import Chunking, splitting_way
from llmspell.rag.embedding.tokens import token_counts
from llmspell.rag.grammars import grammar
from llmspell.rag.graphemes import clusters, whole
from llmspell.rag.line_counts import CountingLines, are_lines_apart
from llmspell.rag.media_types import PLAIN, PYTHON
from llmspell.rag.python_source import section_starts
from llmspell.rag.sections import sections, sections_between_voids
from llmspell.rag.semantic import groups
from llmspell.rag.windows import token_windows
from llmspell.tenancy.documents import Chunk

__all__ = ["Chunker"]

# The model's vocabulary turns a word of more than 100 characters into one unknown token, so an
# encoded image may be a million characters in a single token. Prose has about 4 a token.
_MAX_CHARS_PER_TOKEN: Final = 16

# What is embedded to find borders by: a sentence, but for the shortest and the longest.
_SENTENCE_TOKENS: Final = (8, 30)

# Characters that a splitter is given at once, cut at the best border in their second half. It takes
# up to 400 bytes for each, and time by the square of a long string: 32 s for one of 512 KiB.
_AT_ONCE: Final = 1 << 16
# Parsers of sources try what a text may be: 64 KiB of "a<a<a<" are 13 s of C++, 16 KiB 0.8 s.
_SOURCE_AT_ONCE: Final = 1 << 14
# Characters of a text whose mark-up or syntax is looked at: of what is made to harm so many take
# 40 s of processor time, and 8 s without it.
_LOOKED_AT: Final = 1 << 20
# Texts whose tokens are counted at once.
_COUNTED: Final = 64


Embed: TypeAlias = Callable[[Sequence[str]], NDArray[np.float32]]


class Chunker:
    """Splits documents as a :class:`Chunking` says.

    Every chunk is a slice of the text, ``text[start:end]``; nothing but white space lies outside of
    all chunks; no character that a reader sees as one is cut in two. Thread-safe.

    Args:
        tokenizer: a ``tokenizers.Tokenizer`` that neither truncates nor pads.
        chunking: method, size and overlap.
        embed: of the method ``"semantic"``: from n texts to (n, dim) unit rows.

    Raises:
        ConfigError: ``"semantic"`` without ``embed``.
        MissingDependency: the extra ``rag`` isn't installed.
    """

    def __init__(
        self, tokenizer: Any, chunking: Chunking | None = None, *, embed: Embed | None = None
    ) -> None:
        chunking = chunking or Chunking()
        if chunking.method == "semantic" and embed is None:
            raise ConfigError("splitting by meaning needs a model: give embed")
        try:
            self._library = importlib.import_module("semantic_text_splitter")
        except ImportError as error:
            raise MissingDependency("rag", "semantic-text-splitter") from error
        self._tokenizer = tokenizer
        self._chunking = chunking
        self._embed = embed
        self._capacity = chunking.size - tokenizer.num_special_tokens_to_add(is_pair=False)
        self._max_chars = chunking.size * _MAX_CHARS_PER_TOKEN
        self._lock = threading.Lock()
        self._splitters: dict[str, Any] = {}
        self._by_chars = self._library.TextSplitter(self._max_chars)

    def split(self, text: str, media_type: str = PLAIN) -> list[Chunk]:
        """Split a text.

        Args:
            text: any; blank text has no chunks.
            media_type: what the text is, for the methods that go by that.

        Returns:
            Chunks in order of ``start``, none of which lies within another.

        Raises:
            MissingDependency: see :func:`splitting_way`.
        """
        found: Iterable[Chunk]
        way = splitting_way(self._chunking, media_type)
        if len(text) > _LOOKED_AT and way.startswith(("code ", "markdown")):
            way = "recursive"
        if way == "tokens":
            found = self._split_windows(text)
        elif way == "semantic":
            found = self._split_semantic(text)
        elif way == f"code {PYTHON}":
            found = self._split_python(text)
        else:
            at_once = _SOURCE_AT_ONCE if way.startswith("code ") else None
            found = self._split_within(self._splitter(way), text, 0, len(text), at_once=at_once)
        found = [one for chunk in found for one in self._whole(text, chunk)]
        chunks: list[Chunk] = []
        for chunk in sorted(found, key=lambda chunk: (chunk.start, -chunk.end)):
            if not chunks or chunk.end > chunks[-1].end:
                chunks.append(chunk)
        return chunks

    @property
    def _plain(self) -> Any:
        return self._splitter("recursive")

    def _splitter(self, way: str) -> Any:
        """One of the library's, made when it is first needed."""
        with self._lock:
            if way not in self._splitters:
                self._splitters[way] = self._make(way)
            return self._splitters[way]

    def _make(self, way: str) -> Any:
        settings: tuple[Any, int] = (self._capacity, self._chunking.overlap)
        kind: Any = self._library.TextSplitter
        language: tuple[Any, ...] = ()
        if way == "markdown":
            kind = self._library.MarkdownSplitter
        elif way == "sentences":
            settings = (_SENTENCE_TOKENS, 0)
        elif way != "recursive":
            kind, language = self._library.CodeSplitter, (grammar(way.removeprefix("code ")),)
        if not are_lines_apart(self._tokenizer):
            return kind.from_huggingface_tokenizer(*language, self._tokenizer, *settings)
        return CountingLines(
            lambda count: kind.from_callback(*language, count, *settings), self._tokenizer
        )

    def _split_windows(self, text: str) -> Iterator[Chunk]:
        windows = token_windows(
            self._tokenizer,
            text,
            size=self._capacity,
            overlap=self._chunking.overlap,
            max_chars=self._max_chars,
        )
        for start, end in windows:
            # Cut off from what is around it, a part of a word may have more tokens.
            yield from self._split_within(self._plain, text, start, end)

    def _split_semantic(self, text: str) -> Iterator[Chunk]:
        for begin, stop in sections(text, 0, len(text), _AT_ONCE):
            yield from self._split_section(text, begin, stop)

    def _split_section(self, text: str, begin: int, stop: int) -> Iterator[Chunk]:
        assert self._embed is not None
        pieces = list(
            self._split_within(self._splitter("sentences"), text, begin, stop, whole=False)
        )
        if not pieces:
            return
        texts = [piece.text for piece in pieces]
        tokens = self._counts(texts)
        if sum(tokens) <= self._capacity // 4:
            borders = [(0, len(pieces))]
        else:
            borders = groups(self._embed(texts), tokens, size=self._capacity)
        for first, behind in borders:
            start, end = pieces[first].start, pieces[behind - 1].end
            yield from self._split_within(self._plain, text, start, end)

    def _split_within(
        self,
        splitter: Any,
        text: str,
        start: int,
        end: int,
        *,
        whole: bool = True,
        at_once: int | None = None,
    ) -> Iterator[Chunk]:
        """Split a slice; ``whole`` leaves one that fits as it is."""
        fits = whole and end - start <= self._max_chars
        if fits and self._count(text[start:end]) <= self._capacity:
            yield from _trimmed(text, start, end)
            return
        for begin, stop in sections_between_voids(text, start, end, at_once or _AT_ONCE):
            for offset, chunk in splitter.chunk_indices(text[begin:stop]):
                at = begin + offset
                if len(chunk) <= self._max_chars:
                    yield from _trimmed(text, at, at + len(chunk))
                    continue
                for inner, part in self._by_chars.chunk_indices(chunk):
                    place = at + inner
                    yield from self._split_within(self._plain, text, place, place + len(part))

    def _whole(self, text: str, chunk: Chunk) -> Iterator[Chunk]:
        """The chunk, or what stands for it where it cuts a character as readers see it.

        Syntax and trimming do that: a mark may stand behind a quote or a space. Of a chunk that
        lies within one character nothing is left: the one behind it has all of that.
        """
        start, end = whole(text, chunk.start, chunk.end)
        if (start, end) == (chunk.start, chunk.end):
            yield chunk
        elif start < end and self._count(text[start:end]) <= self._capacity:
            yield Chunk(text[start:end], start, end)
        elif start < end:
            yield from self._split_between_characters(text, start, end)

    def _split_between_characters(self, text: str, start: int, end: int) -> Iterator[Chunk]:
        """Split a slice that has too many tokens; within a character where that alone has."""

        def is_too_much(stop: int) -> bool:
            return bool(self._count(text[start:stop]) > self._capacity)

        places = [found.end() for found in clusters().finditer(text, start, end)]
        while places:
            count = bisect_left(places, True, key=is_too_much)
            if count == 0:
                within = range(start + 2, places[0])
                stop = start + 1 + bisect_left(within, True, key=is_too_much)
            else:
                if count < len(places):
                    half = range(count, count // 2, -1)
                    count = next((n for n in half if text[places[n - 1] - 1].isspace()), count)
                stop = places[count - 1]
                del places[:count]
            for inner in _trimmed(text, start, stop):
                # What was trimmed may belong to a character.
                begin, behind = whole(text, inner.start, inner.end)
                begin, behind = max(begin, start), max(min(behind, stop), inner.end)
                yield Chunk(text[begin:behind], begin, behind)
            start = stop

    def _split_python(self, text: str) -> Iterator[Chunk]:
        starts = section_starts(text) or [0]
        sections = list(zip(starts, [*starts[1:], len(text)], strict=True))
        # A function to a chunk, so that a hit is what was asked for; but one-liners together, since
        # alone they say little and cost as much to store.
        enough = self._capacity // 4
        begin, used = 0, 0
        for start, count in self._counted(text, sections):
            if used and (used >= enough or used + count > self._capacity):
                yield from self._split_within(self._plain, text, begin, start)
                begin, used = start, 0
            used += count
        yield from self._split_within(self._plain, text, begin, len(text))

    def _counted(self, text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Where each begins, and its tokens; of one that is longer than a chunk, too many."""
        for first in range(0, len(spans), _COUNTED):
            some = spans[first : first + _COUNTED]
            fitting = [span for span in some if span[1] - span[0] <= self._max_chars]
            counts = dict(zip(fitting, self._counts([text[a:b] for a, b in fitting]), strict=True))
            yield from ((span[0], counts.get(span, self._capacity + 1)) for span in some)

    def _counts(self, texts: list[str]) -> list[int]:
        return token_counts(self._tokenizer, texts, add_special_tokens=False)

    def _count(self, text: str) -> int:
        return self._counts([text])[0]


def _trimmed(text: str, start: int, end: int) -> Iterator[Chunk]:
    """The slice without its outer white space, if anything is left."""
    piece = text[start:end]
    inner = piece.strip()
    if not inner:
        return
    start += piece.index(inner)
    yield Chunk(inner, start, start + len(inner))

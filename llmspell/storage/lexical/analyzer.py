"""How texts become terms: the same way when they are indexed, asked for and shown."""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Any, Final, NamedTuple

from llmspell.errors import MissingDependency

__all__ = ["ANALYZER_VERSION", "Analyzer", "Token", "engine"]

#: Grows with each change of what a text becomes: snapshots of another one are built anew.
ANALYZER_VERSION: Final = 2

#: Scripts that set no spaces between words, or few: each character is a term.
_UNSPACED: Final = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
)
_WORDS: Final = rf"[{_UNSPACED}]|[\p{{L}}\p{{M}}\p{{N}}&&[^{_UNSPACED}]]+"

#: So long ones are keys, hashes or data: they would fill the dictionary, and nobody types them.
LONGEST_BYTES: Final = 128

#: Words of a text in ASCII that become terms.
_ASCII_WORDS: Final = re.compile(
    rf"(?<![A-Za-z0-9])[A-Za-z0-9]{{1,{LONGEST_BYTES - 1}}}+(?![A-Za-z0-9])"
)


def engine() -> ModuleType:
    """The full-text engine; raises MissingDependency where the extra isn't installed."""
    try:
        return importlib.import_module("tantivy")
    except ImportError as error:
        raise MissingDependency("lexical", "tantivy") from error


class Token(NamedTuple):
    """A word of a text, as ``text[start:end]`` has it, and the term that stands for it."""

    term: str
    start: int
    end: int


class Analyzer:
    """Splits texts into terms: words in lower case, without accents, stemmed for English.

    Thread-safe.

    Raises:
        MissingDependency: the extra ``lexical`` isn't installed.
    """

    __slots__ = ("_counting", "native")

    def __init__(self) -> None:
        tantivy = engine()
        step = tantivy.Filter
        words = tantivy.Tokenizer.regex(_WORDS)
        long = step.remove_long(LONGEST_BYTES)
        self._counting: Any = tantivy.TextAnalyzerBuilder(words).filter(long).build()
        #: As the engine takes it.
        self.native: Any = (
            tantivy.TextAnalyzerBuilder(words)
            .filter(long)
            .filter(step.lowercase())
            .filter(step.ascii_fold())
            .filter(step.stemmer("english"))
            .build()
        )

    def terms(self, text: str) -> list[str]:
        """Terms of a text in their order, repeated ones too."""
        terms: list[str] = self.native.analyze(text)
        return terms

    def count(self, text: str) -> int:
        """How many terms a text has, repeated ones too, in less time than it takes to make them."""
        if text.isascii():
            return len(_ASCII_WORDS.findall(text))
        return len(self._counting.analyze(text))

    def tokens(self, text: str) -> list[Token]:
        """Words of a text with their places in it, in characters."""
        found = self.native.pre_tokenize(text).tokens
        return [Token(one.text, one.char_offset_from, one.char_offset_to) for one in found]

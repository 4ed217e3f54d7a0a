"""Tokens of the parts of a text, each of its lines and sentences counted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from llmspell.rag.embedding.tokens import token_counts

__all__ = ["CountingLines", "are_lines_apart"]

Count: TypeAlias = Callable[[str], int]

#: They take white space for a border, whatever stands on both sides of it.
_PRE_TOKENIZERS: Final = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
_NORMALIZERS: Final = ("NoneType", "BertNormalizer")
_MODELS: Final = ("WordPiece", "WordLevel")
#: Characters of what is remembered; a longer line is counted each time.
_KEPT: Final = 512


def are_lines_apart(tokenizer: Any) -> bool:
    """Whether the tokens of a text are those of its lines together.

    So it is with BERT's tokenizer, which most models of sentences have; not with one that has
    tokens for white space.
    """
    parts = (
        (tokenizer.pre_tokenizer, _PRE_TOKENIZERS),
        (tokenizer.normalizer, _NORMALIZERS),
        (tokenizer.model, _MODELS),
    )
    added = tokenizer.get_added_tokens_decoder().values()
    return all(type(part).__name__ in names for part, names in parts) and not any(
        character.isspace() for token in added for character in token.content
    )


class CountingLines:
    """A splitter whose tokenizer is asked about each line of a text once. Thread-safe.

    The library's own asks about all of a part again for each place where it may end, which makes 15
    times the text.

    Args:
        make: the library's splitter, by a function that counts tokens.
        tokenizer: one that :func:`are_lines_apart`, and that neither truncates nor pads.
    """

    def __init__(self, make: Callable[[Count], Any], tokenizer: Any) -> None:
        self._make = make
        self._tokenizer = tokenizer

    def chunk_indices(self, text: str) -> list[tuple[int, str]]:
        """Where chunks begin, in characters, and their texts, as the library's own has them."""
        # For this text alone: what one tenant gives must not make another one's faster.
        counts: dict[str, int] = {"": 0}

        def count(part: str) -> int:
            tokens = 0
            for line in part.replace(". ", ".\n").split("\n"):
                found = counts.get(line)
                if found is None:
                    (found,) = token_counts(self._tokenizer, [line], add_special_tokens=False)
                    if len(line) <= _KEPT:
                        counts[line] = found
                tokens += found
            return tokens

        chunks: list[tuple[int, str]] = self._make(count).chunk_indices(text)
        return chunks

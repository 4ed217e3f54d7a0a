"""How many tokens texts have, and which of them go into one request."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from llmspell.errors import ConfigError, MissingDependency

__all__ = ["TokenCounter", "batches", "token_counts"]

# A guess to fill requests by, and on the high side for prose. Where it is too low for a service's
# limit, the request is refused and sent again in halves.
_BYTES_PER_TOKEN: Final = 3
# Fewer characters are counted in this thread: to wake the library's costs more, the more so where
# others want the processors too.
_TO_SHARE: Final = 1 << 14


def token_counts(tokenizer: Any, texts: Sequence[str], *, add_special_tokens: bool) -> list[int]:
    """Tokens of each text.

    Args:
        tokenizer: a ``tokenizers.Tokenizer`` that neither truncates nor pads.
        texts: valid Unicode.
        add_special_tokens: whether the model's own marks are counted.
    """
    # Not where each token stands: to find that out takes up to thirty times as long.
    count = partial(tokenizer.encode_batch_fast, add_special_tokens=add_special_tokens)
    if sum(map(len, texts)) < _TO_SHARE:
        return [len(count([text])[0]) for text in texts]
    return [len(encoding) for encoding in count(list(texts))]


class TokenCounter:
    """Counts tokens by a tokenizer; without one it guesses. Thread-safe.

    Args:
        tokenizer: a ``tokenizers.Tokenizer``, the path of a ``tokenizer.json``, or None. One that
            is given is copied, so that its truncation and padding stay as they are.

    Raises:
        ConfigError: it is none of these, or the file can't be read.
        MissingDependency: the extra ``local`` isn't installed, and there is one to load.
    """

    def __init__(self, tokenizer: Any = None) -> None:
        self.tokenizer: Any = None if tokenizer is None else _load(tokenizer)

    @property
    def is_exact(self) -> bool:
        """Whether it counts."""
        return self.tokenizer is not None

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, the model's own marks included where it counts."""
        if self.tokenizer is None:
            return [1 + len(text.encode()) // _BYTES_PER_TOKEN for text in texts]
        return token_counts(self.tokenizer, texts, add_special_tokens=True)

    def cut(self, text: str, size: int) -> str:
        """The start of a text that has ``size`` tokens at most, by the tokenizer."""
        room = max(size - self.tokenizer.num_special_tokens_to_add(is_pair=False), 0)
        while True:
            encoding = self.tokenizer.encode(text, add_special_tokens=False)
            if len(encoding.ids) <= room:
                return text
            end = encoding.offsets[room - 1][1] if room else 0
            text = text[: min(end, len(text) - 1)]


def batches(counts: Sequence[int], *, max_texts: int, max_tokens: int) -> Iterator[list[int]]:
    """Positions of texts that go together, in order: as many as either limit lets.

    A text of more than ``max_tokens`` goes alone.
    """
    batch: list[int] = []
    held = 0
    for position, count in enumerate(counts):
        if batch and (len(batch) == max_texts or held + count > max_tokens):
            yield batch
            batch, held = [], 0
        batch.append(position)
        held += count
    if batch:
        yield batch


def _load(given: Any) -> Any:
    try:
        library = importlib.import_module("tokenizers")
    except ImportError as error:
        raise MissingDependency("local", "tokenizers") from error
    try:
        if isinstance(given, (str, os.PathLike)):
            tokenizer = library.Tokenizer.from_file(os.fspath(given))
        elif isinstance(given, library.Tokenizer):
            tokenizer = library.Tokenizer.from_str(given.to_str())
        else:
            raise ConfigError(
                "tokenizer must be a tokenizers.Tokenizer or the path of a tokenizer.json, got "
                f"{type(given).__name__}"
            )
    except ConfigError:
        raise
    except Exception as error:  # the library raises Exception itself
        raise ConfigError(f"the tokenizer can't be read: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer

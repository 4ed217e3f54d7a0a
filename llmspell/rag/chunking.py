"""How documents are split: settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from llmspell.errors import ConfigError
from llmspell.rag.grammars import grammar, has_grammar, is_source
from llmspell.rag.media_types import MARKDOWN, PYTHON

__all__ = ["Chunking", "ChunkingMethod", "splitting_way"]

ChunkingMethod: TypeAlias = Literal["auto", "tokens", "recursive", "markdown", "code", "semantic"]

#: Fewer tokens say too little to be found by.
LEAST_SIZE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """How documents are split into chunks.

    Args:
        method: where to split.

            - ``"auto"``: Markdown and sources by their structure, all else as ``"recursive"``.
            - ``"tokens"``: windows of ``size`` tokens, whatever the text says, between words.
            - ``"recursive"``: at the highest that fits: blank lines, lines, sentences, words.
            - ``"markdown"``: at headings, then blocks, then as ``"recursive"``.
            - ``"code"``: by the syntax of the source's language; as ``"recursive"`` where the
              document is no source. Languages but Python need the extra ``code``.
            - ``"semantic"``: between sentences whose embeddings are farthest apart. It embeds all
              text once more, and that is charged. Without overlap.
        size: tokens of a chunk at most, the model's own marks included; at least 32.
        overlap: tokens at most that a chunk repeats of the one before; less than half of ``size``.

    Raises:
        ConfigError: a setting out of range.
    """

    method: ChunkingMethod = "auto"
    size: int = 512
    overlap: int = 64

    def __post_init__(self) -> None:
        methods = get_args(ChunkingMethod)
        if self.method not in methods:
            raise ConfigError(f"method must be one of {', '.join(methods)}, got {self.method!r}")
        for name in ("size", "overlap"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ConfigError(f"{name} must be an int, got {value!r}")
        if self.size < LEAST_SIZE:
            raise ConfigError(f"size must be at least {LEAST_SIZE} tokens, got {self.size}")
        if not 0 <= self.overlap < self.size // 2:
            raise ConfigError(
                f"overlap must be from 0 to {self.size // 2 - 1} tokens, got {self.overlap}"
            )


def splitting_way(chunking: Chunking, media_type: str) -> str:
    """How a text of a media type is split: one way gives equal chunks of equal text.

    Returns:
        "tokens", "recursive", "markdown", "semantic", or "code " and the media type.

    Raises:
        MissingDependency: by syntax was asked for, and the extra ``code`` isn't installed.
    """
    method = chunking.method
    if method == "auto" and media_type == MARKDOWN:
        return "markdown"
    if method not in ("auto", "code"):
        return method
    if media_type == PYTHON or has_grammar(media_type):
        return f"code {media_type}"
    if method == "code" and is_source(media_type):
        grammar(media_type)  # raises
    return "recursive"

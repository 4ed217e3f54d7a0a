"""What a text may be."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from llmspell.errors import ConfigError
from llmspell.security.text.hidden import HIDDEN_KINDS

__all__ = ["TextRules"]

_NOT_ALLOWABLE = {"combining-run", "surrogate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules:
    """Limits of a text, and what may be in it. Frozen.

    Args:
        max_characters: code points; None for no limit, here and below.
        max_bytes: in UTF-8.
        max_lines: a text without a line break is one line.
        normalization: the form that a text must be in, and is brought to when it is sanitised.
            ``"NFC"`` keeps what is seen; ``"NFKC"`` makes ligatures, full-width letters and such
            plain, and loses superscripts. None asks for none.
        scripts: ``"any"``; ``"unmistakable"`` refuses words that mix scripts by letters that look
            like each other; ``"single"`` refuses words of several scripts that aren't written
            together, as Japanese ones are. The latter two need the extra ``security``.
        allow: kinds of hidden characters that may be in the text: a word of the table in
            docs/reference/text.md.

    Raises:
        ConfigError: a limit below 1, an unknown form, or a kind that can't be allowed.
    """

    max_characters: int | None = 100_000
    max_bytes: int | None = 400_000
    max_lines: int | None = 10_000
    normalization: Literal["NFC", "NFKC"] | None = None
    scripts: Literal["any", "unmistakable", "single"] = "any"
    allow: Collection[str] = frozenset()

    def __post_init__(self) -> None:
        for name in ("max_characters", "max_bytes", "max_lines"):
            limit = getattr(self, name)
            wrong = isinstance(limit, bool) or not isinstance(limit, int) or limit < 1
            if limit is not None and wrong:
                raise ConfigError(f"{name} is {limit!r}; it must be an integer from 1, or None")
        if self.normalization not in (None, "NFC", "NFKC"):
            raise ConfigError(f"normalization is {self.normalization!r}; take NFC, NFKC or None")
        if self.scripts not in ("any", "unmistakable", "single"):
            raise ConfigError(f"scripts is {self.scripts!r}; take any, unmistakable or single")
        allowable = HIDDEN_KINDS.keys() - _NOT_ALLOWABLE
        unknown = [self.allow] if isinstance(self.allow, str) else sorted({*self.allow} - allowable)
        if unknown:
            raise ConfigError(f"allow names {unknown}; it takes some of {sorted(allowable)}")
        object.__setattr__(self, "allow", frozenset(self.allow))

"""Redaction of a text that comes in pieces."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from llmspell.errors import ClosedError
from llmspell.security.redaction.rules import CONTEXT

if TYPE_CHECKING:
    import re

    from llmspell.security.redaction.rules import Rule

__all__ = ["RedactionStream"]

# Held text is looked at anew once it has grown by a quarter, so that small pieces cost no more than
# large ones; below this size at every piece, so that little text isn't late.
_EAGER = 512


class RedactionStream:
    """Takes a text in pieces and gives it back redacted, as much of it as is decided.

    The pieces that come out are together what :meth:`Redactor.redact` makes of the whole, however
    it was cut. Held back is what may yet be part of a secret: some 200 characters, and from the
    beginning of what may be one as many as its kind may be long (16,000 for a private key), and a
    third more while it comes in small pieces. For one thread.
    """

    def __init__(self, rules: tuple[Rule, ...], mask: str):
        self._rules = rules
        self._mask = mask
        self._buffer = ""
        self._base = 0  # of the buffer in the text, as all positions are
        self._looked_at = 0
        self._resume = [0] * len(rules)
        self._spans: list[tuple[int, int]] = []  # a heap
        self._written = 0
        self._covered = -1  # end of the last span that was masked
        self._finished = False

    @property
    def held(self) -> int:
        """Characters that came in and are neither given back nor masked yet."""
        return self._base + len(self._buffer) - max(self._written, self._covered, 0)

    def feed(self, piece: str) -> str:
        """Take a piece; give back what is decided.

        Raises:
            ClosedError: the stream is finished.
        """
        if self._finished:
            raise ClosedError("the stream is finished: make another for another text")
        self._buffer += piece
        fresh = self._base + len(self._buffer) - self._looked_at
        if fresh * 4 < len(self._buffer) and len(self._buffer) > _EAGER:
            return ""
        return self._advance()

    def finish(self) -> str:
        """The rest of the text. The stream takes no more; finishing it again gives nothing."""
        if self._finished:
            return ""
        self._finished = True
        return self._advance()

    def _advance(self) -> str:
        lowered = self._buffer.lower()
        end = self._base + len(self._buffer)
        for index, rule in enumerate(self._rules):
            if any(word in lowered for word in rule.keywords):
                self._scan(index, rule)
            else:
                self._resume[index] = max(self._resume[index], end - rule.opening_width + 1)
        limit = end if self._finished else min(end, *self._resume)
        out = self._write(limit)
        # A check looks back from where it resumes.
        keep = min(min(self._resume) - CONTEXT, self._written)
        if keep > self._base:
            self._buffer = self._buffer[keep - self._base :]
            self._base = keep
        self._looked_at = end
        return out

    def _scan(self, index: int, rule: Rule) -> None:
        """Find a rule's spans as far as more text can't change them."""
        text, size = self._buffer, len(self._buffer)
        position = self._resume[index] - self._base
        decided = size if self._finished else size - rule.opening_width
        refused: re.Match[str] | None = None
        while True:
            opening = rule.opens.search(text, position)
            if opening is None or opening.start() > decided:
                position = max(position, decided + 1)
                break
            position = opening.start()
            match = rule.pattern.match(text, position)
            open_end = not self._finished and position + rule.width > size
            if open_end and (match is None or match.end() + rule.settles > size):
                break
            if match is None or rule.is_repeat(match, refused):
                position += 1
                continue
            found = rule.value(match)
            if found is None:
                position, refused = position + 1, match
            else:
                heapq.heappush(self._spans, (self._base + found[0], self._base + found[1]))
                position = match.end()
        self._resume[index] = self._base + position

    def _write(self, limit: int) -> str:
        """The text up to the limit, before which all spans are known."""
        parts: list[str] = []
        while self._spans and self._spans[0][0] < limit:
            start, end = heapq.heappop(self._spans)
            if start > self._covered:
                parts += (self._plain(start), self._mask)
            self._covered = max(self._covered, end)
            self._written = max(self._written, self._covered)
        if self._written < limit:
            parts.append(self._plain(limit))
        return "".join(parts)

    def _plain(self, end: int) -> str:
        start = max(self._written, 0)
        self._written = max(end, start)
        return self._buffer[start - self._base : end - self._base]

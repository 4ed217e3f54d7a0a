"""Where the next page of a retrieval begins."""

from __future__ import annotations

import hashlib
from typing import Final

from llmspell.errors import InvalidCursor
from llmspell.storage import decode_cursor, decode_id, encode_cursor, encode_id

__all__ = ["RetrievalCursor"]

#: Told apart from cursors of scans by what their checksums begin with.
_KIND: Final = "\0retrieve"


class RetrievalCursor:
    """Cursors of one question to one tenant.

    Args:
        tenant, generation: whose.
        question: all that decides what is found, but for the page.
    """

    def __init__(self, tenant: str, generation: int, *question: object) -> None:
        self._seed = tenant + _KIND
        self._generation = generation
        self._digest = hashlib.blake2b(repr(question).encode(), digest_size=12).hexdigest()

    def encode(self, offset: int) -> str:
        """The cursor of the page that begins behind so many hits."""
        return encode_cursor(self._seed, self._generation, encode_id(f"{offset} {self._digest}"))

    def decode(self, cursor: object) -> int:
        """How many hits lie before the page.

        Raises:
            InvalidCursor: it is damaged, another tenant's, a former one's, or of another question.
        """
        key = decode_id(decode_cursor(self._seed, self._generation, cursor))
        offset, _, digest = str(key).partition(" ")
        if digest != self._digest or not offset.isdecimal():
            raise InvalidCursor(
                "the cursor is of another question; give the same query and settings with it, or "
                "leave it out"
            )
        return int(offset)

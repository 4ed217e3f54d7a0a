"""Characters that nobody sees, or that change how others are seen, and where they are at home.

Joiners, selectors and tags belong to Persian, Indic scripts and emoji; text that loses them there
is damaged. So each is looked at with its neighbours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["HIDDEN_KINDS", "MAX_MARKS", "TAG_RUN", "hidden_in"]

# What each kind is replaced by when text is sanitised. What has no meaning becomes U+FFFD, as
# UTR 36 advises (3.5): were it deleted, what stands around it could become a word.
HIDDEN_KINDS: dict[str, str] = {
    "bidi": "",
    "combining-run": "",
    "control": "\ufffd",
    "format": "",
    "line-separator": "\n",
    "noncharacter": "\ufffd",
    "private-use": "\ufffd",
    "surrogate": "\ufffd",
    "tag": "",
    "unassigned": "\ufffd",
    "variation-selector": "",
    "zero-width": "",
}

# Of the Stream-Safe Text Format, UAX 15, section 13. Sorting a longer run takes quadratic time.
MAX_MARKS = 30

TAG_RUN = re.compile("[\U000e0000-\U000e007f]+")
# A subdivision's flag: a black flag, its code in tags, and the tag that ends it.
_FLAG = re.compile("\U0001f3f4([\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)")
_NOT_PLAIN = re.compile("[^\t\n\r\x20-\x7e]")
_JOINERS = {0x200C, 0x200D}
_BIDI_MARKS = {0x200E, 0x200F, 0x061C}
_ZERO_WIDTH = {
    *(0x00AD, 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x200B, 0x3164, 0xFEFF, 0xFFA0),
    *range(0x2060, 0x2066),
}
# Marks before a number or a verse, which are seen.
_SEEN_FORMATS = {*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD}
_PICTOGRAPHS = range(0x1F000, 0x1FB00)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
# Arabic to Tibetan, Myanmar, Khmer and Mongolian, and the Indic scripts of later blocks.
_JOINING = (
    *(range(0x0620, 0x1000), range(0x1000, 0x10A0), range(0x1780, 0x18B0), range(0xA800, 0xAC00)),
    *(range(0xFB50, 0xFE00), range(0xFE70, 0xFEFD), range(0x11000, 0x11E00)),
)


def hidden_in(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and kind of each run that has no place in the text, from left to right."""
    if text.isascii() and not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text):
        return
    flags = {index for match in _FLAG.finditer(text) for index in range(*match.span(1))}
    right_to_left: bool | None = None
    run: tuple[int, int, str] | None = None
    marks = 0
    last = -1
    for match in _NOT_PLAIN.finditer(text):
        index = match.start()
        marks = marks if index == last + 1 else 0
        last = index
        character = match[0]
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        kind = "combining-run" if marks > MAX_MARKS else _kind(text, index)
        if kind == "bidi" and ord(character) in _BIDI_MARKS:
            if right_to_left is None:
                right_to_left = any(unicodedata.bidirectional(c) in ("R", "AL") for c in set(text))
            kind = "" if right_to_left else kind
        if not kind or (kind == "tag" and index in flags):
            continue
        if run and run[1] == index and run[2] == kind:
            run = run[0], index + 1, kind
            continue
        if run:
            yield run
        run = index, index + 1, kind
    if run:
        yield run


def _kind(text: str, index: int) -> str:
    code = ord(text[index])
    category = unicodedata.category(text[index])
    if code in (0x2028, 0x2029, 0x0085):
        return "line-separator"
    if code in _ZERO_WIDTH:
        return "zero-width"
    if code in _JOINERS:
        return "" if _joins(text, index) else "zero-width"
    if code in _BIDI_MARKS or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069:
        return "bidi"
    if 0xE0000 <= code <= 0xE007F:
        return "tag"
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or code in range(0x180B, 0x1810):
        return "" if _selects(text, index) else "variation-selector"
    if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF:
        return "noncharacter"
    if category == "Cn":
        # Emoji younger than Python's table of Unicode are used before it knows them.
        return "" if code in _PICTOGRAPHS else "unassigned"
    if category == "Cf":
        return "" if code in _SEEN_FORMATS else "format"
    return {"Cc": "control", "Cs": "surrogate", "Co": "private-use"}.get(category, "")


def _joins(text: str, index: int) -> bool:
    """Whether a joiner stands where one is written: after a letter that joins, or between emoji."""
    if index == 0:
        return False
    before = ord(text[index - 1])
    if any(before in block for block in _JOINING):
        return before not in _BIDI_MARKS
    if text[index] == "\u200c" or index + 1 == len(text):
        return False
    if before == 0xFE0F or before in _SKIN_TONES:
        before = ord(text[index - 2]) if index > 1 else 0
    return _is_pictograph(before) and _is_pictograph(ord(text[index + 1]))


def _is_pictograph(code: int) -> bool:
    return (
        code in _PICTOGRAPHS or unicodedata.category(chr(code)) == "So" or code in (0x2640, 0x2642)
    )


def _selects(text: str, index: int) -> bool:
    """Whether a variation selector follows what has variants: a symbol, an ideograph, a digit."""
    if index == 0:
        return False
    code, before = ord(text[index]), text[index - 1]
    if code >= 0xE0100:
        return unicodedata.name(before, "").startswith("CJK ")
    if code < 0xFE00:
        return 0x1820 <= ord(before) <= 0x18AA
    if before.isascii():
        return before in "#*0123456789"
    category = unicodedata.category(before)
    return category[0] in "SP" or category == "Lo" or ord(before) in _PICTOGRAPHS

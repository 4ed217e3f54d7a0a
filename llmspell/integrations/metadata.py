"""A framework's metadata as fields of a record, and back without loss.

What a record can hold just so lies in it field by field, and filters see it. What it can't, such as
a tuple, a time without a zone, bytes or a key that isn't a str, lies beside it in ``_exact``, as
text; ``_inexact`` says then that filters don't see all of the metadata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from llmspell.errors import CorruptFile
from llmspell.integrations.exact import dumps, loads

__all__ = ["DOCUMENT", "EXACT", "INEXACT", "SCHEMA", "UNEMBEDDED", "from_fields", "to_fields"]

EXACT: Final = "_exact"
INEXACT: Final = "_inexact"
#: Of a record whose vector stands for none.
UNEMBEDDED: Final = "_unembedded"
#: Of a record that is a part of a document: that one's id.
DOCUMENT: Final = "_document"

SCHEMA: Final[Mapping[str, Any]] = MappingProxyType({EXACT: "unindexed"})
"""For ``TenantConfig(schema=...)``: spares the tenant an index of what no filter asks for."""

_RESERVED: Final = frozenset({DOCUMENT, EXACT, INEXACT, UNEMBEDDED})
MAX_DEPTH: Final = 24  # of 32 that a record takes


def to_fields(
    metadata: Mapping[Any, Any], beside: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Metadata for a record.

    Args:
        metadata: of the framework.
        beside: what else belongs to the record and is no metadata; kept with it.

    Raises:
        MetadataError: it holds a value that can't be kept; the message names the part.
    """
    fields: dict[str, Any] = {}
    rest: dict[Any, Any] = {}
    for key, value in metadata.items():
        is_kept = _is_key(key) and key not in _RESERVED and _is_kept_just_so(value, 0)
        (fields if is_kept else rest)[key] = value
    if rest:
        fields[INEXACT] = True
    if rest or beside:
        fields[EXACT] = dumps([rest, dict(beside or {})])
    return fields


def from_fields(fields: Mapping[str, Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """What :func:`to_fields` was given: the metadata, and what lay beside it.

    Of a record that no adapter wrote they are all of its fields, and nothing.

    Raises:
        CorruptFile: the field ``_exact`` isn't of :func:`to_fields`.
    """
    metadata = {key: value for key, value in fields.items() if key not in _RESERVED}
    kept = fields.get(EXACT)
    if kept is None:
        return metadata, {}
    try:
        rest, beside = loads(kept)
        return {**metadata, **rest}, dict(beside)
    except (TypeError, ValueError) as error:
        raise CorruptFile(f"field {EXACT!r} of a record was not written so: {error}") from error


def _is_key(key: object) -> bool:
    return type(key) is str and bool(key) and _is_unicode(key)


def _is_kept_just_so(value: Any, depth: int) -> bool:
    kind = type(value)
    if value is None or kind is bool:
        return True
    if kind is str:
        return _is_unicode(value)
    if kind is int:
        return -(1 << 63) <= value < 1 << 63
    if kind is float:
        return math.isfinite(value)
    if kind is datetime:
        return value.tzinfo is UTC
    if depth >= MAX_DEPTH:
        return False
    if kind is list:
        return all(_is_kept_just_so(one, depth + 1) for one in value)
    if kind is dict:
        return all(_is_key(k) and _is_kept_just_so(v, depth + 1) for k, v in value.items())
    return False


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)

"""Secrets that are assigned to a name: by what the name says, and by how the value looks."""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import NamedTuple

from llmspell.security.redaction.checks import (
    entropy,
    is_code,
    is_identity,
    is_placeholder,
    is_published,
    is_wordy,
    looks_random,
)
from llmspell.security.redaction.names import OTHER_NAME, PASSWORD_NAME, TOKEN_NAME
from llmspell.security.redaction.rules import CONTEXT

__all__ = ["is_assigned_secret", "is_same_assignment"]

_NAME_CHARS = string.ascii_letters + string.digits + "_.-"
_NAME_BEFORE = 50
_NAME_START = re.compile(r"[\w.$-]{1,64}+", re.ASCII)

# A number and a colon begin a bot's token, which has one length, or a pair that is no token.
_NUMBERED = re.compile(r"[0-9]{4,20}:")
_TELEGRAM = re.compile(r"[0-9]{5,16}:A[A-Za-z0-9_-]{34}")


def _name_of(match: re.Match[str]) -> str:
    """The whole identifier of which the match begins with a part."""
    start = match.start()
    before = match.string[max(0, start - _NAME_BEFORE) : start]
    after = _NAME_START.match(match.string, start)
    return before[len(before.rstrip(_NAME_CHARS)) :] + (after.group() if after else "")


class _Named(NamedTuple):
    """What a name says of its value."""

    is_other: bool
    is_password: bool
    is_token: bool


@lru_cache(maxsize=256)  # a text has few names, and many of each
def _named(name: str) -> _Named:
    name = name.lower()
    return _Named(
        OTHER_NAME.search(name) is not None,
        PASSWORD_NAME.search(name) is not None,
        TOKEN_NAME.search(name) is not None,
    )


def is_assigned_secret(match: re.Match[str], value: str) -> bool:
    """Whether what is assigned to the name, of which the match begins with a part, is one."""
    named = _named(_name_of(match))
    if named.is_other:
        return False
    quoted = match.lastgroup != "u"
    after = match.string[match.end() : match.end() + 1]
    if not quoted and ((after and after in "([{<$") or _is_listed(match)):
        return False
    if named.is_password:
        is_secret = _is_password(value, quoted, tight=_is_tight(match, after))
    elif " " in value or "\t" in value:
        return False
    elif named.is_token:
        is_secret = _is_token(value)
    else:
        is_secret = looks_random(value, bits=3.3, length=16) and not is_identity(value)
    # Last, for they take longest: a hostile text has a value at each of its names.
    return is_secret and not (is_placeholder(value) or is_code(value) or is_published(value))


def is_same_assignment(match: re.Match[str], before: re.Match[str]) -> bool:
    """Whether they are of one name and value: both words in ``access_key=`` may open a match."""
    return (
        match.lastgroup == before.lastgroup
        and match.span(match.lastgroup or 0) == before.span(match.lastgroup or 0)
        and _name_of(match) == _name_of(before)
    )


def _is_listed(match: re.Match[str]) -> bool:
    """Whether a comma stands before an unquoted value: it is an argument after another."""
    start = match.start("u")
    return match.string[max(0, start - CONTEXT) : start].rstrip().endswith(",")


def _is_tight(match: re.Match[str], after: str) -> bool:
    """Whether it is written as in an environment file or a query: ``password=word`` and an end."""
    before = match.string[match.start("u") - 1] if match.lastgroup == "u" else ""
    return before == "=" and (not after or after in "\r\n&;")


def _is_password(value: str, quoted: bool, *, tight: bool) -> bool:
    if len(value) < 4 or not any(c.isalnum() for c in value):
        return False
    if quoted:
        # Prose has several words, and seldom a digit or a mark within one.
        return len(value.split()) <= 6 and not value.endswith((".", ":", "?"))
    if tight:
        return True
    if len(value) < 6:
        return False
    if any(c.isdigit() or (not c.isalnum() and c not in "_.-") for c in value):
        return True
    mixed = value != value.lower() and value != value.upper()
    return mixed and len(value) >= 10 and not is_wordy(value)


def _is_token(value: str) -> bool:
    if value.isdigit():
        return len(value) >= 14 and entropy(value) >= 2.0
    if _NUMBERED.match(value) and not _TELEGRAM.fullmatch(value):
        return False
    if entropy(value) < 2.5:
        return False
    if len(value) >= 14 and value.isalnum() and not is_wordy(value):
        return True
    return looks_random(value, bits=2.5, length=10, share=0.8)

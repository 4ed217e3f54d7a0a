"""Text and markup that go into HTML."""

from __future__ import annotations

import html
import importlib
from collections.abc import Collection
from typing import Any

from llmspell.errors import ConfigError, InputError, MissingDependency, TextRefused

__all__ = ["escape_html", "sanitize_html"]

# Markup that is nested deeply, as "<ul><li>" over and over, takes quadratic time.
_MAX_CHARACTERS = 100_000
_SCHEMES = {"http", "https", "mailto"}
# Of nh3's list: an image is fetched when it is shown, and tells who asked for it what its address
# holds; bdo shows text in another order than it has.
_NOT_BY_DEFAULT = {"bdo", "img"}


def escape_html(text: str) -> str:
    """Text for the content of an element, or for the value of an attribute in quotes.

    Not for ``<script>``, ``<style>``, event handlers, names, attributes without quotes, or URLs:
    ``javascript:`` stays what it is. Use :class:`UrlValidator` for those.

    Raises:
        InputError: the text isn't a str.
    """
    if not isinstance(text, str):
        raise InputError(f"a text is a str, not {type(text).__name__}; decode it first")
    return html.escape(text, quote=True)


def sanitize_html(markup: str, *, tags: Collection[str] | None = None) -> str:
    """Markup with nothing in it that runs, loads or deceives, by nh3 (ammonia).

    Scripts and styles go with their content, other elements that aren't listed leave theirs;
    comments and event handlers go. Links lead to http, https and mailto alone and are marked
    ``noopener noreferrer nofollow``. Images load, so they stay only where ``tags`` names ``img``.

    Args:
        markup: at most 100,000 characters.
        tags: names of elements that stay; nh3's list, without images and ``bdo``, otherwise.

    Raises:
        TextRefused: the markup is too large or has half of a surrogate pair, or ``tags`` names
            script or style.
        InputError: the markup isn't a str.
        ConfigError: ``tags`` is one str, or holds what is none.
        MissingDependency: the extra ``security`` isn't installed.
    """
    if not isinstance(markup, str):
        raise InputError(f"markup is a str, not {type(markup).__name__}; decode it first")
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags or ()):
        raise ConfigError(f"tags must be a list of str, got {tags!r}")
    if len(markup) > _MAX_CHARACTERS:
        raise TextRefused(
            f"the markup has {len(markup)} characters, the limit is {_MAX_CHARACTERS}",
            reason="too-many-characters",
        )
    try:
        markup.encode()
    except UnicodeEncodeError as error:
        raise TextRefused(
            f"character {error.start} of the markup is half of a surrogate pair; decode it "
            "properly first",
            reason="surrogate",
            start=error.start,
            end=error.start + 1,
        ) from None
    running = sorted({"script", "style"} & set(tags or ()))
    if running:
        raise TextRefused(f"tags names {running}, whose content can't be made safe", reason="tags")
    try:
        nh3: Any = importlib.import_module("nh3")
    except ImportError as error:
        raise MissingDependency("security", "nh3") from error
    return str(
        nh3.clean(
            markup,
            tags=nh3.ALLOWED_TAGS - _NOT_BY_DEFAULT if tags is None else set(tags),
            url_schemes=_SCHEMES,
            link_rel="noopener noreferrer nofollow",
        )
    )

"""Without the libraries of the extra, what needs them says so."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from llmspell.errors import MissingDependency
from llmspell.security import (
    LinearPattern,
    TextRules,
    TextValidator,
    quote_identifier,
    sanitize_html,
)
from llmspell.security.text import look_alikes


@pytest.mark.parametrize(
    "module, call",
    [
        ("re2", lambda: LinearPattern("a")),
        ("nh3", lambda: sanitize_html("a")),
        ("sqlglot", lambda: quote_identifier("a", dialect="sqlite")),
        (
            "confusable_homoglyphs.confusables",
            lambda: TextValidator(TextRules(scripts="single")).inspect("pаypal"),
        ),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    module: str, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    look_alikes._script.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match="llmspell\\[security\\]"):
        call()

"""How many URLs of everyday use are refused, printed with the reasons."""

from __future__ import annotations

from importlib import metadata

from llmspell.errors import InvalidUrl
from llmspell.security import DomainRules, UrlValidator, parse_url
from tests.security.urls.legitimate_urls import REFUSED_THOUGH_USED, TAKEN
from tests.security.urls.zone import Zone


def test_urls_of_everyday_use_are_taken() -> None:
    validator = UrlValidator(DomainRules(["*"]), resolver=Zone({}, default=["8.8.8.8"]))
    refused = {}
    for text in (*TAKEN, *REFUSED_THOUGH_USED):
        try:
            checked = validator.validate(text)
        except InvalidUrl as error:
            refused[text] = error.reason
        else:
            # What is sent reads the same to us again.
            assert parse_url(str(checked.url)).origin == checked.url.origin
    all_of_them = len(TAKEN) + len(REFUSED_THOUGH_USED)
    print(f"{len(refused)} of {all_of_them} refused ({len(refused) / all_of_them:.1%}): {refused}")
    assert refused == REFUSED_THOUGH_USED
    assert len(TAKEN) > 100 and len(set(TAKEN)) == len(TAKEN)


def test_the_urls_of_the_installed_packages_are_taken() -> None:
    """URLs that nobody wrote for a test: those that packages give as their home, docs and code."""
    urls = set()
    for distribution in metadata.distributions():
        for labelled in distribution.metadata.get_all("Project-URL") or []:
            urls.add(labelled.partition(",")[2].strip())
    refused = {}
    for text in sorted(urls):
        try:
            parse_url(text)
        except InvalidUrl as error:
            refused[text] = error.reason
    print(f"{len(refused)} of {len(urls)} refused: {refused}")
    assert len(refused) <= len(urls) / 100
    assert urls

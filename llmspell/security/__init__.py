"""Tools that the kernel confines; validators, and secrets."""

from llmspell.security.addresses import is_public, why_not_public
from llmspell.security.domain_rules import DomainRules
from llmspell.security.url import Url, parse_url
from llmspell.security.url_validator import Checked, Resolver, UrlValidator, open_checked

__all__ = [
    "Checked",
    "DomainRules",
    "Resolver",
    "Url",
    "UrlValidator",
    "is_public",
    "open_checked",
    "parse_url",
    "why_not_public",
]

"""The lexical index of a tenant: its texts by their words, ranked by BM25."""

from llmspell.storage.lexical.analyzer import Analyzer, Token
from llmspell.storage.lexical.snapshot_file import check_lexical, lexical_sequence
from llmspell.storage.lexical.text_searcher import NOTHING, Scored
from llmspell.storage.lexical.view import LexicalView

__all__ = [
    "NOTHING",
    "Analyzer",
    "LexicalView",
    "Scored",
    "Token",
    "check_lexical",
    "lexical_sequence",
]

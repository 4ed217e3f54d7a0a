"""Texts, queries and what is relevant: built from what lies on any machine, or in a package."""

from __future__ import annotations

import ast
import importlib.util
import json
import random
import re
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.corpus import library_files

__all__ = ["SETS", "RetrievalSet"]

#: The local model reads about 500 tokens; a text is cut where it may have more.
MAX_CHARS = 1_500
_DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class RetrievalSet(NamedTuple):
    """A set to measure on.

    Args:
        about: what it is and where it is from.
        texts: to be found, by id.
        queries: with the ids of all texts that are relevant.
    """

    about: str
    texts: dict[str, str]
    queries: list[tuple[str, frozenset[str]]]

    def sample(self, queries: int, seed: int) -> RetrievalSet:
        """The same texts with at most so many queries."""
        chosen = random.Random(seed).sample(self.queries, min(queries, len(self.queries)))
        return self._replace(queries=chosen)

    def without(self, other: RetrievalSet) -> RetrievalSet:
        """The same texts with the queries that another one hasn't."""
        theirs = {query for query, _ in other.queries}
        return self._replace(queries=[one for one in self.queries if one[0] not in theirs])


def docstrings(most: int, seed: int) -> RetrievalSet:
    """First line of a documentation string to the rest of it, over Python's standard library."""
    pairs: dict[str, tuple[str, str]] = {}
    for file in library_files():
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            text = ast.get_docstring(node) if isinstance(node, _DOCUMENTED) else None
            first, _, rest = (text or "").partition("\n\n")
            if len(first) >= 20 and "\n" not in first and len(rest) >= 100:
                pairs.setdefault(rest.strip()[:MAX_CHARS], (f"{file.stem}.{node.name}", first))  # type: ignore[attr-defined]
    chosen = random.Random(seed).sample(sorted(pairs.items()), min(most, len(pairs)))
    return _of_pairs(
        f"documentation strings of Python {sysconfig.get_python_version()}'s standard library, "
        "first line to the rest",
        [(first, text) for text, (_, first) in chosen],
    )


def topics(most: int, seed: int) -> RetrievalSet:
    """Headings of Python's language reference to their sections, as pydoc has them."""
    from pydoc_data.topics import topics as pages

    heading = re.compile(r"^(.{3,80})\n([*=\-~^])\2{2,}\s*$", re.MULTILINE)
    pairs: dict[str, str] = {}
    for page in pages.values():
        marks = list(heading.finditer(page))
        for number, mark in enumerate(marks):
            end = marks[number + 1].start() if number + 1 < len(marks) else len(page)
            body = " ".join(page[mark.end() : end].split())[:MAX_CHARS]
            if len(body) >= 100:
                pairs.setdefault(body, mark.group(1).strip())
    chosen = random.Random(seed).sample(sorted(pairs.items()), min(most, len(pairs)))
    return _of_pairs(
        f"sections of the language reference of Python {sysconfig.get_python_version()} as pydoc "
        "has them, heading to text",
        [(title, text) for text, title in chosen],
    )


def faq(most: int, seed: int) -> RetrievalSet:
    """Questions to their answers, of the English part of the package chatterbot-corpus."""
    import yaml

    spec = importlib.util.find_spec("chatterbot_corpus")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install chatterbot-corpus==1.3.3")
    folder = Path(spec.origin).parent / "data" / "english"
    pairs: list[tuple[str, str]] = []
    for file in sorted(folder.glob("*.yml")):
        for question, *answers in yaml.safe_load(file.read_text("utf-8"))["conversations"]:
            pairs += [(str(question), str(answer)) for answer in answers if len(str(answer)) >= 20]
    return _of_pairs("English questions and answers of chatterbot-corpus 1.3.3", pairs[:most])


def construction(most: int, seed: int) -> RetrievalSet:
    """Questions to their answers, of the English part of the package zaragoza-construction-faq."""
    spec = importlib.util.find_spec("zaragoza_construction_faq")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install zaragoza-construction-faq==1.2.1")
    file = Path(spec.origin).parent / "data" / "faq-en.json"
    asked = json.loads(file.read_text("utf-8"))["questions"]
    chosen = random.Random(seed).sample(asked, min(most, len(asked)))
    return _of_pairs(
        "questions and answers of building in Sweden, in English, of zaragoza-construction-faq "
        "1.2.1 (Zaragoza AB, CC BY 4.0)",
        [(one["q"], one["a"][:MAX_CHARS]) for one in chosen],
    )


SETS: dict[str, Callable[[int, int], RetrievalSet]] = {
    "docstrings": docstrings,
    "topics": topics,
    "faq": faq,
    "construction": construction,
}


def _of_pairs(about: str, pairs: list[tuple[str, str]]) -> RetrievalSet:
    """Texts and queries of pairs; a query that comes several times has several texts."""
    ids: dict[str, str] = {}
    relevant: dict[str, set[str]] = {}
    for query, text in pairs:
        identity = ids.setdefault(text, f"t{len(ids)}")
        relevant.setdefault(query.strip(), set()).add(identity)
    texts = {identity: text for text, identity in ids.items()}
    return RetrievalSet(about, texts, [(one, frozenset(found)) for one, found in relevant.items()])

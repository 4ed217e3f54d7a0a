"""The ten questions of the demo; the passages hold a good answer to each."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["OWN", "PYTHON", "QUESTIONS", "Question"]

PYTHON = "python"
OWN = "llmspell"


class Question(NamedTuple):
    """A question, and the tenant that it is put to."""

    tenant: str
    text: str


QUESTIONS = (
    Question(PYTHON, "call a function in the background after a few seconds"),
    Question(PYTHON, "compress data with gzip"),
    Question(PYTHON, "make an unguessable token for a password reset link"),
    Question(PYTHON, "make a temporary folder that is removed afterwards"),
    Question(PYTHON, "cache a function's results so that it isn't computed twice"),
    Question(PYTHON, "What is the middle value of a data set?"),
    Question(PYTHON, "read settings from a TOML file"),
    Question(PYTHON, "show the differences between two texts line by line"),
    Question(OWN, "What does the error say when a quota refuses?"),
    Question(OWN, "Which index preset fits a million vectors?"),
)

"""The agent's task, which is the same for each framework; it imports nothing that is timed."""

from __future__ import annotations

from typing import Final

__all__ = ["ANSWER", "FUNCTIONS", "INSTRUCTIONS", "QUESTION", "add", "multiply", "subtract"]

INSTRUCTIONS: Final = "You are good at sums."
QUESTION: Final = "What is 2 + 3?"
ANSWER: Final = "It is 5."


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: the one.
        b: the other.
    """
    return a + b


def subtract(a: int, b: int) -> int:
    """Take b from a.

    Args:
        a: the one.
        b: the other.
    """
    return a - b


def multiply(a: int, b: int) -> int:
    """Multiply two numbers.

    Args:
        a: the one.
        b: the other.
    """
    return a * b


FUNCTIONS: Final = (add, subtract, multiply)

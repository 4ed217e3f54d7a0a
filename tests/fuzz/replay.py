"""The corpus: small inputs, each named by what it is."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CORPUS"]

CORPUS = Path(__file__).parent / "corpus"

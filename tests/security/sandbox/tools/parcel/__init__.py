"""A tool of several modules."""

from .inner.deep import depth
from .weigh import weight

__all__ = ["depth", "lazily", "weight"]


def lazily():
    from . import late

    return late.WHAT

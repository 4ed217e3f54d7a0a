"""The extra's parser of HTTP/1.1, in one place for all that need it."""

from llmspell.errors import MissingDependency

try:
    import h11
except ImportError as error:
    raise MissingDependency("security", "h11") from error

__all__ = ["h11"]

"""What all that asks services over a network shares: keys, deadlines, when to ask again."""

from llmspell.remote.deadline import Deadline, current_deadline, deadline
from llmspell.remote.keys import KeyReader, KeySource, SecretReader
from llmspell.remote.retrying import retry_after, wait_before

__all__ = [
    "Deadline",
    "KeyReader",
    "KeySource",
    "SecretReader",
    "current_deadline",
    "deadline",
    "retry_after",
    "wait_before",
]

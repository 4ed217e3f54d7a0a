"""Tools that the kernel confines; validators, and secrets."""

from llmspell.security.argument_rules import ArgumentRule, Matching, OneOf, PathBeneath, Text
from llmspell.security.command_validator import Command, CommandValidator
from llmspell.security.file_sandbox import FileSandbox, SandboxEntry
from llmspell.security.paths import PathValidator
from llmspell.security.program_rule import ProgramRule
from llmspell.security.reading_programs import reading_programs
from llmspell.security.shell_words import split_words

__all__ = [
    "ArgumentRule",
    "Command",
    "CommandValidator",
    "FileSandbox",
    "Matching",
    "OneOf",
    "PathBeneath",
    "PathValidator",
    "ProgramRule",
    "SandboxEntry",
    "Text",
    "reading_programs",
    "split_words",
]

"""llmspell.security in a process that is made to look like one on macOS or Windows.

``python -m tests.security.elsewhere`` writes ``absent.json``: the names of the standard library
that Python hasn't there, by the typeshed of the mypy that is installed.
"""

"""Where Python sources fall apart."""

from __future__ import annotations

import inspect
import textwrap
import tracemalloc

from llmspell.rag.python_source import section_starts

SOURCE = '''
import os

# attached
@decorated(
    1)
def first():
    """Doc."""
    def inner():
        pass

    return inner

CONSTANT = 1

# apart

class Thing(Base):
    """A thing."""

    attribute = 2

    def method(self): return 1

    async def other(self):
        if True:
            pass
    after = 3

if CONSTANT:
    def conditional():
        """def in_a_string():"""
'''


def sections(source: str) -> list[str]:
    starts = section_starts(source)
    assert starts is not None
    return [source[a:b].strip() for a, b in zip(starts, [*starts[1:], len(source)], strict=True)]


def test_sections_are_functions_methods_and_classes_with_what_stands_above() -> None:
    found = sections(SOURCE)
    assert [part.splitlines()[0] for part in found] == [
        "import os",
        "# attached",
        "CONSTANT = 1",
        "class Thing(Base):",
        "def method(self): return 1",
        "async def other(self):",
        "after = 3",
        "def conditional():",
    ]
    assert found[1].endswith("return inner")
    assert found[2].endswith("# apart")


def test_offsets_count_characters_and_any_line_end() -> None:
    source = 'x = "é👍"\r\ndef f():\r\n    pass\r\n'
    assert section_starts(source) == [0, source.index("def")]


def test_library_source_is_cut_at_every_top_level_definition() -> None:
    source = inspect.getsource(textwrap)
    starts = section_starts(source)
    assert starts is not None
    for name in ("\nclass TextWrapper", "\ndef wrap(", "\ndef fill(", "\ndef shorten("):
        assert source.index(name) + 1 in starts


def test_what_is_not_python_has_no_sections() -> None:
    assert section_starts("'''never closed") is None
    assert section_starts("if x:\n        a\n    b\n") is None


def test_empty_source_is_one_section() -> None:
    assert section_starts("") == [0]


def test_source_of_many_short_lines_takes_memory_by_its_length() -> None:
    source = "x\n" * 40_000
    tracemalloc.start()
    try:
        assert section_starts(source) == [0]
        assert tracemalloc.get_traced_memory()[1] < 15 * len(source)
    finally:
        tracemalloc.stop()

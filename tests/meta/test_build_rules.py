"""What the build must never do: bind a wheel to the machine that made it, or bend arithmetic."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD_FILES = [
    ROOT / "CMakeLists.txt",
    ROOT / "CMakePresets.json",
    ROOT / "pyproject.toml",
    *(ROOT / "csrc").rglob("CMakeLists.txt"),
    *(ROOT / "csrc").rglob("*.cpp"),
    *(ROOT / "csrc").rglob("*.hpp"),
]


def test_no_flag_ties_the_build_to_this_cpu_or_relaxes_arithmetic() -> None:
    forbidden = re.compile(r"-m(arch|cpu|tune)=|(?<!\w)-mavx|-ffast-math|/fp:fast|-Ofast")
    assert len(BUILD_FILES) > 20
    for path in BUILD_FILES:
        code = re.sub(r"(#|//).*", "", path.read_text(encoding="utf-8"))
        assert not forbidden.search(code), path


def test_extensions_export_nothing_but_their_entry_point() -> None:
    import llmspell._core
    import llmspell._hot

    for module in (llmspell._core, llmspell._hot):
        library = Path(module.__file__).read_bytes()
        # A mangled name of ours would stand in the dynamic string table if it were exported.
        assert b"_ZN8llmspell" not in _dynamic_strings(library)


def _dynamic_strings(library: bytes) -> bytes:
    """The .dynstr section of a 64-bit little-endian ELF file; nothing of another format."""
    if library[:6] != b"\x7fELF\x02\x01":
        return b""
    offset = int.from_bytes(library[0x28:0x30], "little")
    size, count, names_index = (
        int.from_bytes(library[at : at + 2], "little") for at in (0x3A, 0x3C, 0x3E)
    )
    headers = [library[offset + i * size : offset + (i + 1) * size] for i in range(count)]

    def content(header: bytes) -> bytes:
        start = int.from_bytes(header[0x18:0x20], "little")
        return library[start : start + int.from_bytes(header[0x20:0x28], "little")]

    names = content(headers[names_index])
    for header in headers:
        at = int.from_bytes(header[:4], "little")
        if names[at : names.index(b"\0", at)] == b".dynstr":
            return content(header)
    return b""

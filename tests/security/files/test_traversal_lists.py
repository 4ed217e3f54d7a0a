"""Thousands of published forms of path traversal, against a directory with secrets around it."""

from __future__ import annotations

import os
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import pytest

from llmspell.errors import SecurityError
from llmspell.security import FileSandbox, PathValidator
from llmspell.security.files.resolving import ResolverName
from tests.security.attack_lists import TRAVERSALS, attack_lines
from tests.security.files.rooms import SECRET, Room

TARGETS = ("etc/passwd", "room-evil/secret.txt")


# "." and "/" in more bytes than UTF-8 allows, and what careless decoders make of them.
OVERLONG = re.compile(
    rb"([\xc0\xc1])(.)|(?:\xe0\x80|\xf0\x80\x80|\xf8\x80{3}|\xfc\x80{4})(.)", re.DOTALL
)
CODED = re.compile(r"(?:0x|%u(?:22|00|ff))(2e|2f|5c|0e|15|16)", re.IGNORECASE)
MARKS = {"2e": ".", "0e": ".", "2f": "/", "15": "/", "5c": "\\", "16": "\\"}


def carelessly_decoded(text: str) -> str:
    """All that anyone might decode, decoded until nothing is left."""
    text = CODED.sub(lambda found: MARKS[found[1].lower()], text)
    while (once := unquote(text, errors="surrogateescape")) != text:
        text = once
    raw = OVERLONG.sub(
        lambda found: bytes([((found[2] or found[3])[0] & 0x3F) | (found[1] == b"\xc1") << 6]),
        text.encode("utf-8", "surrogateescape"),
    )
    return raw.decode("utf-8", "surrogateescape")


def forms_of(line: str, root: Path) -> Iterator[str]:
    """What an application may make of a line before it opens it."""
    for target in TARGETS if "{FILE}" in line else ("",):
        plain = line.replace("{FILE}", target)
        once = unquote(plain, errors="surrogateescape")
        twice = unquote(once, errors="surrogateescape")
        for form in {plain, once, twice, carelessly_decoded(plain)}:
            slashed = form.replace("\\", "/")
            # As it is, as Windows reads it, and as C reads that: up to a NUL.
            for read in {form, slashed, slashed.partition("\0")[0]}:
                yield read
                yield read.lstrip("/")
                yield "notes/deep/" + read
                yield f"{root}/{read}"


@pytest.fixture
def attacked(room: Room) -> Room:
    """Files outside by the names that the lists ask for."""
    for name in ("etc/passwd", "etc/issue", "boot.ini"):
        path = room.root.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(SECRET)
    return room


@pytest.fixture
def forms(attacked: Room) -> list[str]:
    lines = attack_lines(TRAVERSALS)
    return list(dict.fromkeys(form for line in lines for form in forms_of(line, attacked.root)))


def leads_outside(root: Path, path: str) -> bool:
    """Whether the path would open a file outside of the root, were it just joined to it."""
    with suppress(OSError, ValueError):
        real = os.path.realpath(os.path.join(root, path), strict=True)
        return real != str(root) and not real.startswith(f"{root}/")
    return False


def test_no_published_traversal_escapes(
    sandbox: FileSandbox, attacked: Room, forms: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(os.path.realpath(attacked.root))
    would = sum(leads_outside(root, form) for form in forms)
    outcomes: Counter[str] = Counter()
    for form in forms:
        try:
            descriptor = sandbox.open_fd(form)
        except (SecurityError, OSError) as error:
            outcomes[type(error).__name__] += 1
            continue
        try:
            outcomes["opened"] += 1
            inside = os.fstat(descriptor)
            assert os.pread(descriptor, 100, 0) != SECRET.encode(), form
            assert any(os.path.samestat(inside, path.lstat()) for path in root.rglob("*")), form
        finally:
            os.close(descriptor)
    with capsys.disabled():
        print(
            f"\n{sandbox.resolver}: {len(forms)} forms, of which {would} lead outside when joined"
            f" naively: 0 escapes; {dict(outcomes)}"
        )
    assert would > 500  # the attacks are ones


def test_nothing_that_the_validator_lets_through_leads_outside(
    attacked: Room, forms: list[str]
) -> None:
    root = Path(os.path.realpath(attacked.root))
    validator = PathValidator([root], windows=False)
    passed = 0
    for form in forms:
        with suppress(SecurityError):
            path = validator.validate(form)
            passed += 1
            assert not leads_outside(root, str(path)), form
    assert passed  # forms that are only names


def test_every_file_of_the_standard_library_can_be_opened(
    resolver: ResolverName, capsys: pytest.CaptureFixture[str]
) -> None:
    library = sysconfig.get_path("stdlib")
    paths = []
    for folder, inner, names in os.walk(library):
        inner[:] = [name for name in inner if name not in {"site-packages", "__pycache__"}]
        paths += [
            os.path.join(folder, name)
            for name in names
            if not os.path.islink(os.path.join(folder, name))
        ]
    validator = PathValidator([library], windows=False)
    refused = []
    with FileSandbox(read_only=[library], resolver=resolver) as sandbox:
        for path in paths:
            try:
                validator.validate(path)
                os.close(sandbox.open_fd(os.path.relpath(path, library)))
            except SecurityError:
                refused.append(path)
    with capsys.disabled():
        print(f"\n{resolver}: {len(refused)} of {len(paths)} legitimate files refused")
    assert len(paths) > 500
    assert not refused

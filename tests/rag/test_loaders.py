"""Files to documents: types, encodings, and nothing passed over in silence."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from llmspell import errors
from llmspell.rag.loaders import load
from llmspell.rag.sources import Pending, Skipped, find
from llmspell.tenancy.documents import Blob, Document


def load_bytes(folder: Path, name: str, data: bytes) -> Document | Skipped:
    path = folder / name
    path.write_bytes(data)
    return load(Pending(path.as_posix(), path))


def test_folder_is_searched_in_a_fixed_order_and_every_omission_is_told(tmp_path: Path) -> None:
    for name in ("b.md", "a/z.txt", "a/b/c.py", ".hidden/x.md", ".env", "__pycache__/x.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = list(find(tmp_path))
    base = tmp_path.as_posix()
    assert [item.id for item in found if isinstance(item, Pending)] == [
        f"{base}/a/b/c.py",
        f"{base}/a/z.txt",
        f"{base}/b.md",
    ]
    reasons = {item.source: item.reason for item in found if isinstance(item, Skipped)}
    assert reasons == {
        f"{base}/.env": "hidden",
        f"{base}/.hidden": "hidden",
        f"{base}/__pycache__": "compiled Python",
        f"{base}/a/loop": "symbolic link; give its target as a source of its own",
        f"{base}/pipe": "not a regular file",
    }


def test_folders_may_be_nested_deeper_than_calls(tmp_path: Path) -> None:
    folders = [tmp_path]
    for _ in range(sys.getrecursionlimit()):
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    skipped = folders[-1] / ".hidden"
    skipped.touch()
    try:
        assert list(find(tmp_path)) == [Skipped(skipped.as_posix(), "hidden")]
    finally:  # what removes temporary folders may recurse
        skipped.unlink()
        for folder in reversed(folders[1:]):
            folder.rmdir()


def test_id_of_a_file_is_its_path_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "handbook").mkdir()
    (tmp_path / "handbook" / "leave.md").write_text("# Leave")
    monkeypatch.chdir(tmp_path)
    (found,) = find("handbook/")
    assert isinstance(found, Pending)
    assert found.id == "handbook/leave.md"


def test_iterables_mix_paths_and_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    document = Document("own", "text")
    assert list(find([document, tmp_path])) == [
        document,
        Pending(f"{tmp_path.as_posix()}/a.txt", tmp_path / "a.txt"),
    ]


def test_iterator_is_read_lazily() -> None:
    asked = []

    def stream() -> object:
        for n in range(3):
            asked.append(n)
            yield Document(str(n), "text")

    found = iter(find(stream()))  # type: ignore[arg-type]
    next(found)
    assert asked == [0]


def test_path_that_does_not_exist_raises(tmp_path: Path) -> None:
    with pytest.raises(errors.IngestError, match="nowhere"):
        find(tmp_path / "nowhere")
    with pytest.raises(errors.IngestError, match=r"give Document\(id, text\)") as raised:
        find("A text, which is no path. " * 1_000)
    assert len(str(raised.value)) < 300
    with pytest.raises(errors.IngestError, match=r"give WebPage\(url\)"):
        find("https://handbook.test/leave")
    with pytest.raises(errors.IngestError, match="got int"):
        find([1])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("name", "data", "media_type"),
    [
        ("a.md", b"# x", "text/markdown"),
        ("A.HTML", b"<p>x", "text/html"),
        ("a.py", b"x = 1", "text/x-python"),
        ("a.rst", b"x", "text/plain"),
        ("README", b"words", "text/plain"),
        ("page", b" <!DOCTYPE html><p>x", "text/html"),
        ("script", b"#!/usr/bin/env python3\nprint()", "text/x-python"),
        ("settings.toml", b"[a]\nb = 1", "text/plain"),
        ("a.csv", b"x,y\n1,2", "text/csv"),
        ("a.tsv", b"x\ty\n1\t2", "text/tab-separated-values"),
        ("a.ndjson", b"{}", "application/jsonl"),
        ("rows", b'{"a": 1}\n{"a": 2}\n', "application/jsonl"),
        ("one.json", b'{"a": 1}\n', "text/plain"),
        ("pretty.json", b'{\n"a": 1}\n', "text/plain"),
        ("people", b'name,age\nAnn,30\n"Bob, Jr",4\n', "text/csv"),
        ("people", b"name\tage\nAnn\t30\nBob\t4\n", "text/tab-separated-values"),
        ("prose", b"First, this\nthen, that\nat last, all\n", "text/plain"),
        ("list", b"Apples,pears\nare sold\nby weight\n", "text/plain"),
        ("notes", b"# Leave\n\nThirty days.\n\n## Who\n\nAll.\n", "text/markdown"),
        ("config", b"# A comment\n\na = 1\n# Another\nb = 2\n", "text/plain"),
        ("a.txt", b"<!doctype html><p>x", "text/html"),
        ("a.txt", b"name,age\nAnn,30\nBob,4\n", "text/plain"),
        ("a.txt", b"A PDF file begins with %PDF-1.7, as the standard says.", "text/plain"),
        ("magic.py", b'PDF = b"%PDF-"\n', "text/x-python"),
        ("run", b"#!/bin/sh\necho x", "text/x-shellscript"),
        ("main.rs", b"fn main() {}", "text/x-rust"),
        ("app.tsx", b"x", "text/x-tsx"),
    ],
)
def test_type_comes_from_extension_else_from_content(
    tmp_path: Path, name: str, data: bytes, media_type: str
) -> None:
    document = load_bytes(tmp_path, name, data)
    assert isinstance(document, Document)
    assert document.media_type == media_type
    assert document.metadata == {"media_type": media_type}


@pytest.mark.parametrize(
    ("name", "data", "encoding"),
    [
        ("a.txt", "naïve €".encode(), None),
        ("a.txt", "naïve €".encode("utf-8-sig"), None),
        ("a.txt", "naïve €".encode("utf-16"), "utf-16"),
        ("a.txt", "naïve €".encode("utf-32"), "utf-32"),
        ("a.txt", "naïve €".encode("cp1252"), "cp1252"),
        ("a.html", b"<meta charset=iso-8859-15>" + "naïve €".encode("iso-8859-15"), "iso-8859-15"),
        ("a.html", b'<meta charset="latin-1">' + "naïve €".encode("cp1252"), "cp1252"),
        ("a.py", b"# coding: iso-8859-15\n#" + "naïve €".encode("iso-8859-15"), "iso-8859-15"),
        ("a.py", b"# coding: no-such-thing\n#" + "naïve €".encode(), None),
        ("a.html", b"<meta charset=UTF8>" + "naïve €".encode(), None),
        ("a.html", b"<meta charset=utf-16>" + "naïve €".encode(), None),
        ("a.html", b"<meta charset=utf-32le>" + "naïve €".encode(), None),
        ("a.html", b"<meta charset=gb2312>" + "naïve €".encode("gb18030"), "gb18030"),
        ("a.py", b"# coding: utf-16\n#" + "naïve €".encode(), None),
    ],
)
def test_encoding_comes_from_mark_declaration_or_fallback(
    tmp_path: Path, name: str, data: bytes, encoding: str | None
) -> None:
    document = load_bytes(tmp_path, name, data)
    assert isinstance(document, Document)
    assert document.text.endswith("naïve €")
    assert not document.text.startswith("\ufeff")
    assert document.metadata.get("encoding") == encoding


@pytest.mark.parametrize(
    "name",
    ["undefined", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf-7", "hex"],
)
@pytest.mark.parametrize("form", ["a.html <meta charset={}>", "a.py # coding: {}\n#"])
def test_declared_codec_that_is_no_encoding_of_files_is_passed_over(
    tmp_path: Path, name: str, form: str
) -> None:
    file, _, declaration = form.partition(" ")
    text = declaration.format(name) + r"+2AA- \ud800 naïve €"
    document = load_bytes(tmp_path, file, text.encode())
    assert isinstance(document, Document)
    assert document.text == text
    assert "encoding" not in document.metadata


def test_line_ends_become_newlines(tmp_path: Path) -> None:
    document = load_bytes(tmp_path, "a.txt", b"a\r\nb\rc\n")
    assert isinstance(document, Document)
    assert document.text == "a\nb\nc\n"


@pytest.mark.parametrize("data", [b"\x7fELF\0\0", b"text\0text", bytes(range(1, 9)) * 4])
def test_binary_file_is_skipped_whatever_its_name(tmp_path: Path, data: bytes) -> None:
    skipped = load_bytes(tmp_path, "a.txt", data)
    assert skipped == Skipped((tmp_path / "a.txt").as_posix(), "binary")


def test_large_file_is_skipped_with_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x" * 2_000)
    assert isinstance(load(Pending("a", path), max_bytes=2_000), Document)
    assert load(Pending("a", path), max_bytes=1_999) == Skipped("a", "larger than 1,999 bytes")


def test_file_that_vanished_is_skipped_with_the_reason(tmp_path: Path) -> None:
    skipped = load(Pending("gone", tmp_path / "gone"))
    assert skipped == Skipped("gone", "No such file or directory")


def test_skipped_file_whose_name_is_not_utf_8_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b".\xff\xc3\xa4")).touch()
    (skipped,) = find(tmp_path)
    assert str(skipped).encode() == f"{tmp_path.as_posix()}/.\\udcffä: hidden".encode()


@pytest.mark.parametrize(
    ("blob", "media_type"),
    [
        (Blob("a", b"<p>x", media_type="text/html; charset=utf-8"), "text/html"),
        (Blob("a", b"<p>x", media_type="text/html; charset=\0"), "text/html"),
        (Blob("a", b"<p>x", media_type="text/html; charset=\ud800"), "text/html"),
        (Blob("a", b"x,y", media_type="TEXT/CSV"), "text/csv"),
        (Blob("a", b"{}", media_type="application/x-ndjson"), "application/jsonl"),
        (Blob("upload-7", b"# x", name="notes.md"), "text/markdown"),
        (Blob("notes.md", b"# x", media_type="text/plain"), "text/markdown"),
        (Blob("notes", b"# x", media_type="text/plain"), "text/plain"),
        (Blob("notes.md", b"# x", media_type="application/octet-stream"), "text/markdown"),
        (Blob("page", b"<html><p>x", media_type="application/unheard-of"), "text/html"),
    ],
)
def test_type_of_bytes_comes_from_what_is_declared_then_name_then_content(
    blob: Blob, media_type: str
) -> None:
    document = load(blob)
    assert isinstance(document, Document)
    assert (document.media_type, document.metadata) == (media_type, {"media_type": media_type})


def test_bytes_keep_their_metadata_and_source() -> None:
    blob = Blob(
        "a", "naïve".encode("cp1252"), {"lang": "fr", "encoding": "mine"}, source="s3://b/a"
    )
    assert load(blob) == Document(
        "a",
        "naïve",
        {"media_type": "text/plain", "encoding": "mine", "lang": "fr"},
        "text/plain",
        "s3://b/a",
    )


def test_bytes_are_limited_as_files_are() -> None:
    assert load(Blob("a", b"x" * 11), max_bytes=10) == Skipped("a", "larger than 10 bytes")
    assert load(Blob("a", b"\0\1")) == Skipped("a", "binary")
    assert "xxx" not in repr(Blob("a", b"xxx"))


def test_bare_bytes_are_refused_with_what_to_do() -> None:
    with pytest.raises(errors.IngestError, match="Blob"):
        find(b"text")  # type: ignore[arg-type]

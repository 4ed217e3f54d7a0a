"""Modules that attack while they are found, parsed or imported: they do so in the sandbox."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmspell.errors import InputError, LlmspellError, ToolFailed
from llmspell.security import SecurityRequirements
from tests.security.escapes.room import Room
from tests.security.escapes.running import Grounds

SAFE = SecurityRequirements.safe()
WELL = "def f():\n    return 42\n"


@pytest.fixture
def room(grounds: Grounds) -> Iterator[Room]:
    """Nothing of it changes, whatever is loaded; and others' tools are loaded and called."""
    grounds.room.reset()
    before = grounds.room.marks()
    yield grounds.room
    assert grounds.room.marks() == before
    with grounds.load("well", ["f"], SAFE, source=WELL, ready=1) as tool:
        assert tool.call("f").value == 42


def outcome(grounds: Grounds, source: str | None, *, path: tuple[Path, ...] = ()) -> object:
    """What a module's ``f`` returns, or the named error of loading or calling it."""
    try:
        with grounds.load("attack", ["f"], SAFE, source=source, path=path, ready=1) as tool:
            return tool.call("f", timeout=2).value
    except LlmspellError as error:
        return error


AT_IMPORT = {
    "reads": "RESULT = open({secret!r}).read()",
    "writes": "open({canary!r}, 'w').write('changed')",
    "deletes": "import os\nos.unlink({canary!r})",
    "runs": "import subprocess\nsubprocess.run(['/usr/bin/touch', {made!r}])",
    "forks": "import os\nos.fork()",
    "signals": "import os\nos.kill(os.getppid(), 9)",
    "connects": "import socket\nsocket.create_connection(('127.0.0.1', {port}))",
    "hooks": "import sys\nsys.meta_path.insert(0, object())\nimport importlib\n"
    "RESULT = open({secret!r}).read()",
}


@pytest.mark.parametrize("name", AT_IMPORT)
def test_what_a_module_does_at_its_import(grounds: Grounds, room: Room, name: str) -> None:
    places = {
        "secret": str(room.outside / "secret"),
        "canary": str(room.outside / "canary"),
        "made": str(room.outside / "made"),
        "port": room.listeners.described()["tcp4"],
    }
    source = AT_IMPORT[name].format(**places)
    found = outcome(grounds, f"{source}\ndef f():\n    return RESULT\n")
    assert isinstance(found, ToolFailed), found
    assert room.mark not in f"{found} {found.trace}".replace(source, "")


ENDS = {
    "exit": "import os\nos._exit(0)",
    "raise SystemExit": "raise SystemExit",
    "raise KeyboardInterrupt": "raise KeyboardInterrupt",
    "a crash": "import ctypes\nctypes.string_at(0)",
    "ready twice": "import os\nfor d in range(3, 9):\n"
    " try: os.write(d, b'\\4\\1\\0\\0\\0\\xc0' * 2)\n"
    " except OSError: pass",
    "a result": "import os\nfor d in range(3, 9):\n try: os.write(d, b'\\2\\1\\0\\0\\0\\xc0')\n"
    " except OSError: pass",
    "no socket": "import os\nos.closerange(3, 256)",
    "memory": "held = bytearray(1 << 30)",
}


@pytest.mark.parametrize("source", ENDS.values(), ids=ENDS.keys())
def test_modules_that_end_are_not_loaded(grounds: Grounds, room: Room, source: str) -> None:
    found = outcome(grounds, f"{source}\n{WELL}")
    # One that said of itself that it was ready lies about its own results alone.
    assert isinstance(found, LlmspellError) or found in (42, None)


PARSERS = {
    "brackets": "(" * 100_000,
    "brackets that close": "x = " + "[" * 5_000 + "]" * 5_000,
    "signs": "x = " + "-" * 200_000 + "1",
    "calls": "x = " + "f(" * 20_000 + ")" * 20_000,
    "attributes": "x = a" + ".a" * 100_000,
    "sum": "x = " + "+".join(["1"] * 100_000),
    "lambdas": "x = " + "lambda: " * 50_000 + "1",
    "comparison": "x = " + "<".join(["a"] * 100_000),
    "blocks": "".join(" " * n + "if 1:\n" for n in range(99)) + " " * 99 + "pass",
    "more blocks": "".join(" " * n + "if 1:\n" for n in range(2_000)),
    "elifs": "if 0: pass\n" + "elif 0: pass\n" * 20_000,
    "strings within": 'x = f"' + "{f'" * 200 + "}" * 200 + '"',
    "large number": "x = " + "9" * 1_000_000,
    "large number of base 16": "x = 0x" + "f" * 5_000_000,
    "power": "x = 10 ** 10 ** 10 ** 10\n",
    "shift": "x = 1 << 10 ** 12\n",
    "repetition": "x = 'a' * 10 ** 15\n",
    "repetition of repetition": "x = ((((((1,) * 255) * 255) * 255) * 255) * 255)\n",
    "NUL": "x = 1\x00y = 2\n",
    "form feeds": "\x0c" * 100_000 + "\n",
    "carriage returns": "x = 1\r" * 1_000,
    "BOM": "\ufeff\ufeffx = 1\n",
    "coding that isn't": "# coding: none-such\nx = 1\n",
    "coding of bytes": "# coding: hex\n7831\n",
    "coding by rotation": "# coding: rot13\nvzcbeg bf\n",
    "coding of seven bits": "# coding: utf-7\n+AGkAbQBwAG8AcgB0ACAAbwBz-\n",
    "names": "x = {" + ",".join(f"n{n}:0" for n in range(100_000)) + "}",
    "imports": "if 0:\n" + "".join(f" import none{n}\n" for n in range(2_000)),
    "an import of itself": "import attack\n",
    "a long name": "import " + "a" * 100_000 + "\n"
    if 0
    else "if 0: import " + "a" * 100_000 + "\n",
    "dots": "if 0: from " + "." * 10_000 + " import a\n",
    "marks": "x = '" + "\u0300" * 100_000 + "'\n",
    "decorators": "@a\n" * 10_000 + "def g(): pass\n",
    "arguments": "def g(" + ",".join(f"a{n}" for n in range(50_000)) + "): pass\n",
    "patterns": "match 1:\n case " + "[" * 5_000 + "]" * 5_000 + ": pass\n",
    "continued": "x = 1 + \\\n" * 50_000 + "1\n",
    "global": "def g():\n" + " global a\n" * 50_000,
}


@pytest.mark.parametrize("source", PARSERS.values(), ids=PARSERS.keys())
def test_what_parsers_have_died_of(grounds: Grounds, room: Room, source: str) -> None:
    found = outcome(grounds, f"{source}\n{WELL}")
    assert isinstance(found, LlmspellError) or found == 42, found


BYTES = {
    "NUL": b"\0" * 100,
    "no UTF-8": b"x = '\xff\xfe'\n",
    "UTF-16": "x = 1\n".encode("utf-16"),
    "compiled": b"\xa7\r\r\n" + bytes(12) + b"\xe3" + b"\x00" * 64,
    "a program": b"\x7fELF" + bytes(200),
    "an archive": b"PK\x03\x04" + bytes(200),
    "nothing": b"",
    "one line without end": b"x" * (17 << 20),
}


@pytest.mark.parametrize("raw", BYTES.values(), ids=BYTES.keys())
def test_files_that_are_no_modules(
    grounds: Grounds, room: Room, tmp_path: Path, raw: bytes
) -> None:
    (tmp_path / "attack.py").write_bytes(raw)
    assert isinstance(outcome(grounds, None, path=(tmp_path,)), LlmspellError)


def test_files_that_lead_elsewhere(grounds: Grounds, room: Room, tmp_path: Path) -> None:
    for target in (room.outside / "secret", Path("/etc/passwd"), Path("/dev/zero"), tmp_path):
        (tmp_path / "attack.py").unlink(missing_ok=True)
        (tmp_path / "attack.py").symlink_to(target)
        found = outcome(grounds, None, path=(tmp_path,))
        assert isinstance(found, LlmspellError)
        assert room.mark not in str(found)
        assert "root:" not in str(found)


def test_packages_within_packages_without_end(grounds: Grounds, room: Room, tmp_path: Path) -> None:
    (tmp_path / "attack").symlink_to(tmp_path)
    (tmp_path / "attack.py").write_text("from attack.attack.attack import f\n" + WELL)
    (tmp_path / "__init__.py").write_text("import attack.attack.attack.attack\n" + WELL)
    found = outcome(grounds, None, path=(tmp_path,))
    assert isinstance(found, LlmspellError) or found == 42


def test_a_chain_of_modules_that_is_too_deep(grounds: Grounds, room: Room, tmp_path: Path) -> None:
    for number in range(600):
        (tmp_path / f"link{number}.py").write_text(f"import link{number + 1}\n")
    (tmp_path / "link600.py").write_text("")
    (tmp_path / "attack.py").write_text("import link0\n" + WELL)
    found = outcome(grounds, None, path=(tmp_path,))
    assert isinstance(found, LlmspellError) or found == 42


NAMES = [
    *("json", "os", "socket", "encodings", "msgpack", "struct", "random", "traceback", "site"),
    *("sitecustomize", "usercustomize", "llmspell", "asyncio", "importlib", "gc", "builtins"),
    *("marshal", "llmspell/security", "encodings/utf_8", "_sandbox", "collections", "numpy"),
]


@pytest.mark.parametrize("is_package", [False, True])
def test_modules_named_as_libraries_run_in_the_sandbox_alone(
    grounds: Grounds, room: Room, tmp_path: Path, is_package: bool
) -> None:
    """Each writes to the canary where it is run by anybody whom nothing holds."""
    attack = f"open({str(room.outside / 'canary')!r}, 'w').write('changed')\n"
    for name in NAMES:
        place = tmp_path / (f"{name}/__init__.py" if is_package else f"{name}.py")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"try:\n    {attack}except OSError:\n    pass\n")
    imports = "".join(
        f"try:\n    import {name.replace('/', '.')}\nexcept BaseException:\n    pass\n"
        for name in NAMES
    )
    (tmp_path / "attack.py").write_text(imports + WELL)
    found = outcome(grounds, None, path=(tmp_path,))
    assert found == 42 or isinstance(found, LlmspellError), found


def test_modules_of_the_owner_are_not_the_tools(
    grounds: Grounds, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are on its path, in its working directory, and in its memory."""
    monkeypatch.syspath_prepend(str(room.outside))
    monkeypatch.chdir(room.outside)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # that would change the room
    import owners_settings  # type: ignore[import-not-found]

    assert room.mark == owners_settings.PASSWORD
    source = "import owners_settings\ndef f():\n    return owners_settings.PASSWORD\n"
    late = "def f():\n    import owners_settings\n    return owners_settings.PASSWORD\n"
    main = "import __main__, sys\ndef f():\n    return repr([sys.argv, sys.path, vars(__main__)])\n"
    try:
        for text in (source, late):
            found = outcome(grounds, text)
            assert isinstance(found, ToolFailed)
            assert found.error in ("ModuleNotFoundError", "ImportError")
        assert room.mark not in str(outcome(grounds, main))
    finally:
        del sys.modules["owners_settings"]


@pytest.mark.parametrize(
    "name",
    [
        "this",
        "antigravity",
        "unittest.__main__",
        "asyncio.__main__",
        "pip.__main__",
        "idlelib.idle",
    ],
)
def test_libraries_that_do_something_when_they_are_imported(
    grounds: Grounds, room: Room, name: str
) -> None:
    found = outcome(grounds, f"if 0:\n    import {name}\n{WELL}")
    assert found == 42 or isinstance(found, LlmspellError)


@pytest.mark.parametrize(
    "function",
    [
        *("f.__globals__", "f.__code__", "f.__class__", "__builtins__", "__dict__", "f.", ".f"),
        *("..", "f..f", "", "f ", "F", "__doc__", "f.__closure__", "a" * 100_000, "\0"),
    ],
)
def test_functions_are_what_was_loaded(grounds: Grounds, room: Room, function: str) -> None:
    tool = grounds.load("attack", ["f"], SAFE, source=WELL, ready=1)
    with tool, pytest.raises(InputError):
        tool.call(function)
    with contextlib.suppress(LlmspellError):
        grounds.load("attack", [function], SAFE, source=WELL, ready=1).close()


@pytest.mark.parametrize("module", ["../attack", "/etc/passwd", "attack/", "", ".", "a..b", "a b"])
def test_modules_are_names(grounds: Grounds, room: Room, tmp_path: Path, module: str) -> None:
    with pytest.raises(LlmspellError):
        grounds.load(module, ["f"], SAFE, path=[tmp_path])
    assert os.listdir(tmp_path) == []

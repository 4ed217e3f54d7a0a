"""Writes absent.json: what typeshed has for Linux and not for another system, module by module."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

MODULES: Final = ("os", "select", "signal", "socket", "time")
# Modules that Windows has not at all, see "Availability" in the documentation of Python.
UNIX_MODULES: Final = (
    "fcntl",
    "grp",
    "posix",
    "pty",
    "pwd",
    "resource",
    "syslog",
    "termios",
    "tty",
)


def holds(test: ast.expr, platform: str) -> bool | None:
    """Whether a condition on the system or the version holds; None where it is of neither."""
    if isinstance(test, ast.BoolOp):
        found = [holds(one, platform) for one in test.values]
        decides = isinstance(test.op, ast.Or)
        if decides in found:
            return decides
        return None if None in found else not decides
    if isinstance(test, ast.UnaryOp):
        within = holds(test.operand, platform)
        return None if within is None else not within
    text = ast.unparse(test)
    if "sys.platform" in text:
        return bool(eval(text.replace("sys.platform", repr(platform))))
    if "sys.version_info" in text:
        return bool(eval(text.replace("sys.version_info", "(3, 11)")))
    return None


def names(body: Sequence[ast.stmt], platform: str) -> Iterator[str]:
    """What statements of a stub define on a system."""
    for one in body:
        if isinstance(one, ast.If):
            found = holds(one.test, platform)
            if found is not False:
                yield from names(one.body, platform)
            if found is not True:
                yield from names(one.orelse, platform)
        elif isinstance(one, ast.FunctionDef | ast.ClassDef):
            yield one.name
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            yield one.target.id
        elif isinstance(one, ast.Assign):
            yield from (target.id for target in one.targets if isinstance(target, ast.Name))
        elif isinstance(one, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in one.names)


def main() -> None:
    """Write it."""
    mypy = find_spec("mypy")
    assert mypy is not None and mypy.origin is not None
    stubs = Path(mypy.origin).parent / "typeshed" / "stdlib"
    absent: dict[str, dict[str, list[str]]] = {"win32": {}, "darwin": {}}
    for module in MODULES:
        path = stubs / module / "__init__.pyi"
        path = path if path.exists() else stubs / f"{module}.pyi"
        body = ast.parse(path.read_text()).body
        for platform, found in absent.items():
            gone = {*names(body, "linux")} - {*names(body, platform)}
            found[module] = sorted(name for name in gone if not name.startswith("_"))
    absent["win32"][""] = list(UNIX_MODULES)
    lines = [
        f" {json.dumps(p)}: {{\n"
        + ",\n".join(f"  {json.dumps(m)}: {json.dumps(' '.join(n))}" for m, n in found.items())
        + "\n }"
        for p, found in absent.items()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Path(__file__).with_name("absent.json").write_text(text)


if __name__ == "__main__":
    main()

"""Who may import whom: only to the left. The order is that of docs/explanation/architecture.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A layer may import the layers of lower rank, and itself.
PYTHON_RANK = {
    "_lazy": 0,
    "errors": 0,
    "config": 1,
    "observability": 2,
    "index": 2,
    "quota": 2,
    "security": 3,
    "remote": 4,
    "storage": 3,
    "state": 4,
    "tenancy": 5,
    "rag": 6,
    "providers": 6,
    "tools": 7,
    "agents": 8,
    "database": 9,
    "aio": 9,
    "testing": 10,
    "integrations": 10,
    "cli": 11,
}
# errors and config may be imported by all; observability too, and it imports nothing else.
NATIVE = {
    "_core": {"index", "cli"},
    "_hot": {"quota", "security", "storage", "observability", "tenancy"},
    "_sandbox": {"security"},
}

CPP_MAY_INCLUDE = {
    "base": {"base"},
    "simd": {"simd", "base"},
    "index": {"index", "simd", "base"},
    "ledger": {"ledger", "base"},
    "sandbox": {"sandbox"},
    "bind": {"bind", "index", "simd", "base"},
    "hot": {"hot", "ledger", "sandbox", "base"},
}

PYTHON_FILES = sorted(
    path for path in (ROOT / "llmspell").rglob("*.py") if path.parent != ROOT / "llmspell"
) + [ROOT / "llmspell" / f"{name}.py" for name in ("_lazy", "aio", "config", "database", "errors")]
CPP_FILES = sorted(
    path for pattern in ("*.hpp", "*.cpp") for path in (ROOT / "csrc").rglob(pattern)
)


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT / "llmspell").parts[0].removesuffix(".py")


def imported_layers(path: Path) -> set[str]:
    """Names of llmspell's layers that a file imports, inside functions too."""
    layers = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert path.parts[-2] != "llmspell" or node.level == 0
            if node.level or node.module is None:
                continue
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "llmspell" and len(parts) > 1:
                layers.add(parts[1])
    return layers


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_python_layer_imports_only_those_below_it(path: Path) -> None:
    layer = layer_of(path)
    rank = PYTHON_RANK[layer]
    for imported in imported_layers(path) - {layer}:
        if imported in NATIVE:
            assert layer in NATIVE[imported], f"{layer} reaches past the binder of {imported}"
        elif imported not in PYTHON_RANK:
            # A name of the package itself, as a caller would use it: only the top may.
            assert layer == "cli", f"{path} imports llmspell.{imported}"
        else:
            together = {layer, imported} == {"database", "aio"}  # the root, in two files
            below = PYTHON_RANK[imported] < rank
            assert below or together, f"{layer} must not import {imported}"


@pytest.mark.parametrize("path", CPP_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_native_layer_includes_only_those_below_it(path: Path) -> None:
    layer = path.relative_to(ROOT / "csrc").parts[0]
    text = path.read_text(encoding="utf-8")
    for included in re.findall(r'#include "([a-z]+)/', text):
        assert included in CPP_MAY_INCLUDE[layer], f"{layer} must not include {included}"
    if layer not in {"bind", "hot"}:
        assert not re.search(r"#include [<\"](Python\.h|pybind11/)", text)


def test_every_folder_is_a_known_layer() -> None:
    found = {layer_of(path) for path in PYTHON_FILES}
    assert found == set(PYTHON_RANK)
    assert {p.name for p in (ROOT / "csrc").iterdir() if p.is_dir()} == set(CPP_MAY_INCLUDE)

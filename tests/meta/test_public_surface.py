"""The public names: what they are, that each is described, and what importing them costs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import llmspell
from llmspell import errors

ROOT = Path(__file__).parents[2]

SURFACE = {
    "AsyncDatabase",
    "AsyncTenant",
    "Blob",
    "CancelToken",
    "Chunking",
    "Database",
    "DatabaseScrubReport",
    "Document",
    "DocumentInfo",
    "DocumentPage",
    "DropReceipt",
    "ElementType",
    "EmbeddingCacheSettings",
    "EmbeddingCacheStats",
    "Evidence",
    "ExportReport",
    "GraphFaults",
    "Hit",
    "Hits",
    "Hold",
    "IdBitmap",
    "ImportReport",
    "Index",
    "IndexAudit",
    "IndexMemory",
    "IndexParams",
    "IndexRepairs",
    "IndexStats",
    "Ingest",
    "IngestProgress",
    "IngestReport",
    "IsolationLevel",
    "MMR",
    "MemoryEstimate",
    "Metric",
    "Neighbors",
    "Operation",
    "ParentDocument",
    "QuotaLimits",
    "QuotaUsage",
    "RangeNeighbors",
    "RecallCurve",
    "RecallPoint",
    "ReciprocalRank",
    "Record",
    "Rerank",
    "Retrieval",
    "Retrieve",
    "Retrieved",
    "RunAgent",
    "ScanPage",
    "ScrubDamage",
    "ScrubProgress",
    "ScrubReport",
    "Search",
    "SearchCounters",
    "SearchPages",
    "Span",
    "StateScope",
    "SnapshotReport",
    "Tenant",
    "TenantConfig",
    "TenantEvent",
    "TenantInfo",
    "Thresholds",
    "Usage",
    "WebPage",
    "WeightedScores",
    "current_operation",
    "errors",
    "estimate_memory",
    "open",
}


def test_the_surface_is_the_documented_one() -> None:
    assert {name for name in llmspell.__all__ if not name.startswith("__")} == SURFACE
    for name in SURFACE:
        assert getattr(llmspell, name) is not None


def test_every_public_name_and_method_is_described() -> None:
    undescribed = []
    for name in sorted(SURFACE):
        value = getattr(llmspell, name)
        if name in {"ElementType", "Metric"}:  # a type alias has no docstring of its own
            continue
        if not inspect.getdoc(value):
            undescribed.append(name)
        for member, attribute in vars(value).items():
            function = getattr(attribute, "__func__", getattr(attribute, "fget", attribute))
            public = inspect.isclass(value) and not member.startswith("_")
            if public and inspect.isfunction(function) and not inspect.getdoc(function):
                undescribed.append(f"{name}.{member}")
    assert undescribed == []


def test_every_setting_and_variable_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/configuration.md").read_text()
    settings = list(inspect.signature(llmspell.open).parameters)
    assert [name for name in settings if f"| `{name}` |" not in page] == []
    sources = "".join(path.read_text() for path in (ROOT / "llmspell").rglob("*.py"))
    variables = set(re.findall(r"\bLLMSPELL_[A-Z_]+", sources))
    assert {name for name in variables if f"| `{name}` |" not in page} == set()


def test_every_how_to_is_found_from_the_readme_and_from_the_index() -> None:
    pages = [path.stem for path in (ROOT / "docs/how-to").glob("*.md")]
    readme, index = ((ROOT / name).read_text() for name in ("README.md", "docs/index.md"))
    assert [name for name in pages if f"(docs/how-to/{name}.md)" not in readme] == []
    assert [name for name in pages if f"\nhow-to/{name}\n" not in index] == []


def test_the_drawn_error_tree_is_the_real_one() -> None:
    drawn: dict[str, str] = {}
    parents = ["LlmspellError"]
    for line in (errors.__doc__ or "").splitlines():
        match = re.search(r"[├└]── (\w+)", line)
        if match is None:
            continue
        depth = (match.start(1) - len("    ")) // len("├── ")
        del parents[depth:]
        drawn[match.group(1)] = parents[-1]
        parents.append(match.group(1))
    real = {
        name: next(
            base.__name__ for base in value.__bases__ if issubclass(base, errors.LlmspellError)
        )
        for name, value in vars(errors).items()
        if inspect.isclass(value) and name != "LlmspellError"
    }
    assert drawn == real
    assert set(errors.__all__) == {*real, "LlmspellError"}


def test_importing_llmspell_pulls_in_no_optional_dependency() -> None:
    optional = {
        "onnxruntime", "tokenizers", "semantic_text_splitter", "typer", "rich",
        "prometheus_client", "redis", "h11", "httpx", "requests", "pydantic",
        "asyncio.base_events", "hypothesis", "pytest",
        # Of Python itself what takes long, and is for exports and shared quotas alone.
        "importlib.metadata", "importlib.resources", "tempfile",
    }  # fmt: skip
    program = "import sys; from llmspell import *; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert optional & set(result.stdout.split()) == set()


def test_an_index_alone_loads_no_database() -> None:
    program = "import sys, llmspell; llmspell.Index; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "llmspell._core" in loaded
    assert loaded.isdisjoint({"lmdb", "msgpack", "llmspell.database"})


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(llmspell, "Indexx")
    assert set(llmspell.__all__) <= set(dir(llmspell))

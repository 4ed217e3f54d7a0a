"""The demo's documents."""

from __future__ import annotations

import pytest

from llmspell import Document
from llmspell.cli.demo.corpus import MODULES, own_documents, python_documents


@pytest.fixture(scope="module")
def whole() -> list[Document]:
    return python_documents(10_000)


def test_documents_are_docstrings_under_their_qualified_names(whole: list[Document]) -> None:
    documents = {document.id: document for document in whole}
    join = documents["threading.Thread.join"]
    assert join.text.startswith("threading.Thread.join(timeout=None)\n\nWait until the thread")
    assert join.metadata == {"module": "threading", "kind": "method"}
    for name in (
        "gzip.compress",
        "concurrent.futures.Future.result",
        "os.path.join",
        "datetime.datetime.strptime",
        "str.split",
        "time.sleep",
        "functools.lru_cache",
    ):
        assert documents[name].text.startswith((name, f"class {name}")), name
    assert not any(part.startswith("_") for name in documents for part in name.split("."))


def test_names_are_unique_and_smaller_selections_are_the_head(whole: list[Document]) -> None:
    names = [document.id for document in whole]
    assert len(names) == len(set(names)) > 3_000
    assert [document.id for document in python_documents(300)] == names[:300]


def test_small_selection_has_the_head_of_every_module(whole: list[Document]) -> None:
    small = {document.metadata["module"] for document in whole[:200]}
    assert {"gzip", "shutil", "threading", "zoneinfo"} <= small
    assert len(small) > 0.9 * len(MODULES)


def test_own_documents_hold_the_readme_and_the_public_api() -> None:
    documents = {document.id: document for document in own_documents(10_000)}
    assert documents["README.md"].media_type == "text/markdown"
    assert documents["llmspell.errors.QuotaExceeded"].text.startswith(
        "class llmspell.errors.QuotaExceeded\n\nA quota refused an operation"
    )
    assert len(own_documents(3)) == 3

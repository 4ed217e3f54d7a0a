"""The tests of a LlamaIndex integration of another maker, run as its package ships them.

``polign/vector_stores_polign.py`` is theirs to the last byte; ``polign/README.md`` says whence. It
imports its store from a module that stands here for theirs, and makes it over ``polign_url``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from llmspell import Database, QuotaLimits, TenantConfig
from llmspell.integrations import SCHEMA
from llmspell.integrations.llamaindex import LlmspellVectorStore


class PolignVectorStore(LlmspellVectorStore):
    """Their store is made of a server's address and a name; ours of a database and a tenant."""

    def __init__(self, collection_name: str, url: Any) -> None:
        quotas = QuotaLimits.unlimited()
        super().__init__(
            url.create_tenant(TenantConfig(id=collection_name, quotas=quotas, schema=SCHEMA))
        )


pytest.register_assert_rewrite("tests.integrations.llamaindex.polign.vector_stores_polign")
with pytest.MonkeyPatch.context() as patch:
    module = ModuleType("llama_index.vector_stores.polign")
    module.PolignVectorStore = PolignVectorStore
    patch.setitem(sys.modules, module.__name__, module)
    from tests.integrations.llamaindex.polign import vector_stores_polign as theirs
    from tests.integrations.llamaindex.polign.vector_stores_polign import *  # noqa: F403


@pytest.fixture
def polign_url(database: Database) -> Database:
    return database


def _except(name: str, mark: pytest.MarkDecorator) -> None:
    globals()[name] = mark(getattr(theirs, name))


_except("test_class", pytest.mark.skip(reason="asks that the store be called PolignVectorStore"))
_except(
    "test_filters",
    pytest.mark.xfail(
        raises=pytest.fail.Exception,  # all that it asserts before holds
        reason="its last line asks that TEXT_MATCH be refused, which works here",
    ),
)
_except(
    "test_text_modes_need_segment_store",
    pytest.mark.skip(reason="asks that searches by words be refused, which work here"),
)
_except(
    "test_unsupported_mode",
    pytest.mark.skip(reason="asks for NotImplementedError; here, as in the core, it's ValueError"),
)

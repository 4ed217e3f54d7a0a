"""What the retrievers of a document store have in common."""

from __future__ import annotations

from typing import Any, Self

from llmspell.integrations.haystack.document_store import LlmspellDocumentStore
from llmspell.integrations.haystack.framework import (
    FilterPolicy,
    apply_filter_policy,
    default_from_dict,
    default_to_dict,
)

__all__ = ["Retriever"]


class Retriever:
    """Settings of a retriever, which a run may give anew, and their way to a file and back."""

    def __init__(
        self,
        document_store: LlmspellDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        if not isinstance(document_store, LlmspellDocumentStore):
            raise TypeError(f"an LlmspellDocumentStore expected, got {document_store!r}")
        if top_k < 1:
            raise ValueError(f"top_k must be 1 or more, got {top_k}")
        self.document_store = document_store
        self.filter_policy = filter_policy
        self.settings: dict[str, Any] = {
            "filters": filters,
            "top_k": top_k,
            "scale_score": scale_score,
        }

    def _given(self, filters: dict[str, Any] | None, **given: Any) -> dict[str, Any]:
        """Settings of a run: what is None is as the component was made."""
        filters = apply_filter_policy(self.filter_policy, self.settings["filters"], filters)
        chosen = {name: value for name, value in given.items() if value is not None}
        return {**self.settings, **chosen, "filters": filters}

    def to_dict(self) -> dict[str, Any]:
        """For a pipeline that is written to a file."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filter_policy=self.filter_policy.value,
            **self.settings,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The component that :meth:`to_dict` described."""
        given = dict(data["init_parameters"])
        given["document_store"] = LlmspellDocumentStore.from_dict(given["document_store"])
        if "filter_policy" in given:
            given["filter_policy"] = FilterPolicy.from_str(given["filter_policy"])
        return default_from_dict(cls, {**data, "init_parameters": given})

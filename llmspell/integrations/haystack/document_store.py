"""A tenant as Haystack's document store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self

from llmspell.aio import AsyncDatabase
from llmspell.database import Database
from llmspell.errors import ConfigError, DuplicateId, IdNotFound
from llmspell.integrations.haystack.awaited import AwaitedCalls
from llmspell.integrations.haystack.databases import give_back, take
from llmspell.integrations.haystack.documents import to_document, to_fields_of, to_vectors
from llmspell.integrations.haystack.fields import FieldQueries
from llmspell.integrations.haystack.filters import asks_for_embedding, matcher, narrowed
from llmspell.integrations.haystack.framework import (
    Document,
    DuplicateDocumentError,
    DuplicatePolicy,
    default_from_dict,
    default_to_dict,
)
from llmspell.integrations.haystack.retrievals import Retrievals
from llmspell.integrations.matching import scan
from llmspell.integrations.metadata import EXACT, UNEMBEDDED, from_fields, to_fields
from llmspell.tenancy import Record

__all__ = ["LlmspellDocumentStore"]

#: A write that others came between is tried again.
ATTEMPTS: Final = 10


class LlmspellDocumentStore(FieldQueries, Retrievals, AwaitedCalls):
    """The records of a tenant, those that others wrote or ingested too. Thread-safe.

    Every call is charged to the tenant. Filters mean exactly what Haystack's own function says.
    Documents come in the order of their ids. Metadata, blobs and sparse embeddings come back equal;
    embeddings are kept as float32. The names that end in ``_async`` run in threads.

    Args:
        database: that the tenant is in, sync or async, or its path. A path is opened once for all
            stores, and closed with the last of them; a database that a store was made with is found
            by its path.
        tenant_id: of a tenant that is there.
        embedding_dim: length of the embeddings, where the tenant has neither ``dim`` nor a vector
            yet, and the first documents have no embedding. Those take the place of a vector all
            the same.

    Raises:
        DatabaseLocked: a path of a database that this process opened elsewhere.
        TenantNotFound: there is none of that id.
    """

    def __init__(
        self,
        database: Database | AsyncDatabase | str | os.PathLike[str],
        tenant_id: str,
        *,
        embedding_dim: int | None = None,
    ) -> None:
        self._database = take(database)
        try:
            self._tenant = self._database.tenant(tenant_id)
        except BaseException:
            give_back(self._database)
            raise
        self._embedding_dim = embedding_dim

    def close(self) -> None:
        """Close the handle, and the database where it was given by its path and is used no more."""
        self._tenant.close()
        database, self._database = self._database, None  # type: ignore[assignment]
        if database is not None:
            give_back(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def to_dict(self) -> dict[str, Any]:
        """Where the tenant is, for a pipeline that is written to a file."""
        return default_to_dict(
            self,
            database=os.fspath(self._database.path),
            tenant_id=self._tenant.id,
            embedding_dim=self._embedding_dim,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LlmspellDocumentStore:
        """The store that :meth:`to_dict` described."""
        return default_from_dict(cls, data)

    def count_documents(self) -> int:
        """Records that the tenant holds."""
        return self._tenant.count()

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Documents that match, with their embeddings; all where ``filters`` is None or empty.

        Raises:
            FilterError: Haystack's; a filter that can't be understood, or a document that can't be
                compared by it.
        """
        return [document for _, document in self._matching(filters, vectors=True)]

    def write_documents(
        self, documents: Sequence[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Write documents, all of them or none.

        Args:
            documents: of one id the last counts with ``OVERWRITE``, the first with ``SKIP``.
            policy: what becomes of ids that are there; ``NONE`` is ``FAIL``.

        Returns:
            How many were written.

        Raises:
            ConfigError: the length of embeddings isn't known.
            DuplicateDocumentError: Haystack's; an id is there, or given twice, with ``FAIL``.
            InputError: a document that can't be stored.
            ValueError: no list of documents.
        """
        if isinstance(documents, str) or not isinstance(documents, Iterable):
            raise ValueError(f"a list of documents expected, got {type(documents).__name__}")
        documents = list(documents)
        for one in documents:
            if not isinstance(one, Document):
                raise ValueError(f"a list of documents expected, got one with {one!r}")
        if not documents:
            return 0
        if policy == DuplicatePolicy.OVERWRITE:
            self._put(self._tenant.upsert, documents)
            return len(documents)
        if policy == DuplicatePolicy.SKIP:
            return self._put_new(documents)
        try:
            self._put(self._tenant.insert, documents)
        except DuplicateId as error:
            raise DuplicateDocumentError(str(error)) from error
        return len(documents)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Remove documents; ids that aren't there are passed over."""
        if document_ids:
            self._tenant.delete(document_ids)

    def delete_all_documents(self) -> None:
        """Remove every record of the tenant."""
        self._tenant.delete(filter={})

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Remove documents that match; gives how many."""
        ids = [record.id for record, _ in self._matching(filters)]
        return self._tenant.delete(ids) if ids else 0

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Set fields of the metadata of documents that match, all of them or none; gives how many.

        Raises:
            IdNotFound: documents that match were deleted again and again meanwhile.
            MetadataError: metadata that can't be kept.
        """
        given = to_fields(meta)
        for attempt in range(ATTEMPTS):
            records = [record for record, _ in self._matching(filters)]
            if not records:
                return 0
            ids = [record.id for record in records]
            try:
                if EXACT in given or any(EXACT in record.metadata for record in records):
                    whole = [_with_meta(record, meta) for record in records]
                    self._tenant.update_metadata(ids, whole, replace=True)
                else:
                    self._tenant.update_metadata(ids, [given] * len(ids))
                return len(ids)
            except IdNotFound:
                if attempt + 1 == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _matching(
        self, filters: Mapping[str, Any] | None, *, vectors: bool = False
    ) -> Iterable[tuple[Record, Document]]:
        if not filters:
            for record in scan(self._tenant, vectors=vectors):
                yield record, to_document(record, vector=record.vector)
            return
        matches = matcher(filters)
        narrow = narrowed(filters, self._tenant.config.schema)
        vectors = vectors or asks_for_embedding(filters)
        for record in scan(self._tenant, narrow, vectors=vectors):
            document = to_document(record, vector=record.vector)
            if matches(document):
                yield record, document

    def _put(self, write: Callable[..., None], documents: Sequence[Document]) -> None:
        dim = self._tenant.dim or self._embedding_dim
        if dim is None:
            lengths = (len(one.embedding) for one in documents if one.embedding is not None)
            dim = next(lengths, None)
        if dim is None:
            raise ConfigError("none of the documents has an embedding; say embedding_dim")
        vectors = to_vectors(documents, dim)
        fields = [to_fields_of(one) for one in documents]
        write([one.id for one in documents], vectors, fields, [one.content for one in documents])

    def _put_new(self, documents: Sequence[Document]) -> int:
        first: dict[str, Document] = {}
        for one in documents:
            first.setdefault(one.id, one)
        for attempt in range(ATTEMPTS):
            there = {record.id for record in self._tenant.get(list(first), missing_ok=True)}
            new = [one for one in first.values() if one.id not in there]
            try:
                if new:
                    self._put(self._tenant.insert, new)
                return len(new)
            except DuplicateId:  # another writer came between
                if attempt + 1 == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")


def _with_meta(record: Record, meta: Mapping[str, Any]) -> dict[str, Any]:
    old, beside = from_fields(record.metadata)
    fields = to_fields({**old, **meta}, beside)
    return {**fields, UNEMBEDDED: True} if UNEMBEDDED in record.metadata else fields

"""What an ingest may do to a tenant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import InputError, MetadataError, ShapeError
from llmspell.storage import OF_A_CHUNK, Room, check_document_id, unpack
from llmspell.tenancy.diff import Diff, Place
from llmspell.tenancy.documents import SplitDocument
from llmspell.tenancy.embedding import embedded, require_one_model
from llmspell.tenancy.inputs import as_vectors, check_vectors, pack_metadata, pack_text
from llmspell.tenancy.ports import Embed

if TYPE_CHECKING:
    from llmspell.storage import Write
    from llmspell.tenancy.residence import Residence

__all__ = ["EMBED_LEASE_S", "Target"]

#: A model may take minutes over a batch. What a dead process was embedding is given back at once.
EMBED_LEASE_S: Final = 3_600.0


class _MovedOn(Exception):
    """Another write came between, so that chunks are needed that aren't embedded."""


class Target:
    """Implements :class:`llmspell.tenancy.IngestTarget` for a tenant. Thread-safe.

    Args:
        change_model: whether documents may be of another model than those that are there.
    """

    def __init__(
        self, residence: Residence, enter: Callable[[], Room], *, change_model: bool = False
    ) -> None:
        self._residence = residence
        self._enter = enter
        self._change_model = change_model

    def document_hash(self, document_id: str) -> bytes | None:
        """Content hash of a document; empty where it lost chunks, None where it isn't there."""
        room = self._enter()
        room.flush()
        document = room.store.document(check_document_id(document_id))
        return None if document is None else document.content_hash

    def put_documents(self, batch: Sequence[SplitDocument], embed: Embed) -> int:
        """Embed and write what changed of some documents, in one transaction.

        Returns:
            Chunks embedded and written.

        Raises:
            EmbedderMismatch: there are documents of another model.
            InputError: a document that can't be stored, or two of one id.
            QuotaExceeded: documents, vectors, embeddings or storage; nothing was charged or
                written.
        """
        room = self._enter()
        batch = self._checked(batch)
        slot = self._residence.slot
        room.flush()
        vectors: dict[Place, bytes] = {}
        with ExitStack() as held:
            while True:
                diff = self._diff(room, batch)
                missing = [place for place in diff.new if place not in vectors]
                # Looked at, and not held while embedding: that takes seconds, in which others may
                # write.
                slot.require_room(**diff.growth)

                def charged(texts: Sequence[str]) -> NDArray[np.float32]:
                    held.enter_context(slot.reserve(embeddings=len(texts), lease=EMBED_LEASE_S))
                    return as_vectors(embed(texts))

                self._embed(room, batch, missing, charged, vectors)
                try:
                    room.write_as(partial(self._write, room, batch, vectors, diff))
                except _MovedOn:
                    continue
                return len(diff.new)

    def _checked(self, batch: Sequence[SplitDocument]) -> list[SplitDocument]:
        """Documents with metadata as a read would give it; raises what can't be stored."""
        schema = self._residence.entry.config.schema
        checked: dict[str, SplitDocument] = {}
        for document in batch:
            if document.id in checked:
                raise InputError(f"document {document.id!r} stands twice in one batch")
            if not document.content_hash:
                raise InputError(f"document {document.id!r} has an empty content hash")
            check_document_id(document.id)
            pack_text(document.source)
            for chunk in document.chunks:
                pack_text(chunk.text)
            try:
                metadata = unpack(pack_metadata(document.metadata, schema))
                source = _source(document, metadata)
            except MetadataError as error:
                raise MetadataError(f"document {document.id!r}: {error}") from None
            checked[document.id] = replace(document, metadata=metadata, source=source)
        return list(checked.values())

    def _diff(self, room: Room, batch: Sequence[SplitDocument]) -> Diff:
        now_us = room.views.now_us()
        with room.store.moment() as moment:
            if not self._change_model:
                names = [document.embedder for document in batch]
                require_one_model(self._residence, moment.embedders, names)
            return Diff(moment, batch, self._residence.entry.config.schema, now_us)

    def _embed(
        self,
        room: Room,
        batch: Sequence[SplitDocument],
        places: Sequence[Place],
        embed: Embed,
        vectors: dict[Place, bytes],
    ) -> None:
        if not places:
            return
        texts = [batch[d].chunks[c].text for d, c in places]
        made = embedded(self._residence, "passage", texts, embed)
        config = self._residence.entry.config
        check_vectors(made, config.metric, room.dim or config.dim)
        if len(made) != len(places):
            raise ShapeError(f"{len(places)} chunks, but {len(made)} vectors")
        rows = made.astype("<f4", copy=False)
        vectors.update((place, row.tobytes()) for place, row in zip(places, rows, strict=True))

    def _write(
        self,
        room: Room,
        batch: Sequence[SplitDocument],
        vectors: dict[Place, bytes],
        before: Diff,
    ) -> Write:
        """Decide while nobody else can write; mostly as ``before``, for nobody has meanwhile."""
        if before.holds(room.store.counters().sequence, room.views.now_us()):
            return before.write(vectors)
        diff = self._diff(room, batch)
        if any(place not in vectors for place in diff.new):
            raise _MovedOn
        return diff.write(vectors)


def _source(document: SplitDocument, metadata: Mapping[str, Any]) -> str | None:
    """Where it comes from, which its metadata may say too.

    Raises:
        MetadataError: it has what an ingest writes on every chunk, which would be lost.
    """
    taken = [name for name in OF_A_CHUNK if name in metadata and name != "source"]
    if taken:
        raise MetadataError(
            f"{', '.join(map(repr, taken))} of its metadata is what an ingest writes on every "
            "chunk; give it another name"
        )
    given = metadata.get("source")
    if given is None:
        return document.source
    if not isinstance(given, str) or not given:
        raise MetadataError(
            f"'source' of its metadata must be a str that isn't empty, got {given!r}"
        )
    if document.source not in (None, given):
        raise MetadataError(
            f"'source' of its metadata is {given!r}, and its source {document.source!r}; give one"
        )
    return given

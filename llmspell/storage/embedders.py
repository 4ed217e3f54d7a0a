"""Which models made the vectors of a tenant's documents: of how many documents each.

It is kept beside the counters, in the transaction that changes it, so that a search needn't walk
over the documents to know. A store of a release that didn't keep it has no such record; the first
write of documents counts what is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from llmspell.errors import CorruptFile
from llmspell.storage.chain import Chain
from llmspell.storage.codec import UNDECODABLE, pack_checked, unpack_checked
from llmspell.storage.stored_document import StoredDocument
from llmspell.storage.transaction import Transaction

__all__ = ["EmbedderChanges", "count_embedders", "read_embedders"]

#: Its key in the database "meta".
EMBEDDERS: Final = b"embedders"


class EmbedderChanges:
    """What one write changes; documents of which nobody said a model count nowhere."""

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: Counter[str] = Counter()

    def came(self, document: StoredDocument) -> None:
        """A document is written."""
        self._changes[_model_of(document)] += 1

    def went(self, document: StoredDocument) -> None:
        """A document is removed, or about to be replaced."""
        self._changes[_model_of(document)] -= 1

    def write(self, txn: Transaction, meta: Any, documents: Chain) -> None:
        """Write what holds now.

        Args:
            documents: as they are behind the write.
        """
        if not any(self._changes.values()):
            return
        before = read_embedders(txn, meta)
        if before is None:
            after = count_embedders(StoredDocument.decode(raw) for _, raw in documents.items())
        else:
            counts = Counter(before)
            counts.update(self._changes)
            after = _named(counts)
        txn.put(EMBEDDERS, pack_checked(after), db=meta)


def read_embedders(txn: Transaction, meta: Any) -> dict[str, int] | None:
    """Documents by model; None where no release that keeps it wrote any. Raises CorruptFile."""
    raw = txn.get(EMBEDDERS, db=meta)
    if raw is None:
        return None
    try:
        return {str(name): int(count) for name, count in unpack_checked("embedders", raw).items()}
    except UNDECODABLE as error:
        raise CorruptFile(f"embedders: they can't be decoded: {error!r}") from None


def count_embedders(documents: Iterable[StoredDocument]) -> dict[str, int]:
    """Documents by model."""
    return _named(Counter(map(_model_of, documents)))


def _model_of(document: StoredDocument) -> str:
    """The model of its vectors; empty where it has none, or nobody said."""
    return document.embedder if document.rows else ""


def _named(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if name and count}

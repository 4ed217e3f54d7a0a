"""The payload index: for each metadata field, which rows have which value."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap64

from llmspell.config import FieldType
from llmspell.errors import CorruptFile
from llmspell.index import IdBitmap
from llmspell.storage.answers import Answer, Answers
from llmspell.storage.evaluate import Evaluation
from llmspell.storage.field import Field
from llmspell.storage.filters import Filter
from llmspell.storage.kinds import microseconds
from llmspell.storage.payload_file import PayloadFile, Written, encode_block, write_payload
from llmspell.storage.schema import NO_SCHEMA, is_unindexed

__all__ = ["FieldSummary", "PayloadIndex"]

_KIND_NAMES: Final = {
    "s": "string",
    "i": "int",
    "f": "float",
    "b": "bool",
    "t": "time",
    "0": "none",
}

# Kinds of stored values, and how they lie in columns.
_KINDS: Final[dict[type, tuple[str, Callable[[Any], Any] | None]]] = {
    str: ("s", str.encode),
    int: ("i", None),
    float: ("f", None),
    bool: ("b", None),
    datetime: ("t", microseconds),
    type(None): ("0", lambda _: 0),
}
#: A list or a mapping: the field is there, and equals nothing.
_NESTED: Final = ""

#: What a field takes before it has a value, about.
FIELD_BYTES: Final = 1_000

_Act: TypeAlias = Callable[[Field, str, Any, int], None]


@dataclass(frozen=True, slots=True)
class FieldSummary:
    """What a payload index has seen of a field.

    Args:
        kinds: of its values, some of string, int, float, bool, time, none; ascending.
        rows: how many have it.
    """

    kinds: tuple[str, ...]
    rows: int


class PayloadIndex:
    """A view of the records' metadata that answers filters with rows. Thread-safe.

    Rows are added and removed with the metadata that they have, as the store gives it. Where a
    method raises CorruptFile a snapshot was damaged: the index must be built from the records.
    """

    def __init__(self, schema: Mapping[str, FieldType] = NO_SCHEMA) -> None:
        """An empty index.

        Args:
            schema: declared types; the fields that it declares unindexed are left out.
        """
        self._lock = threading.Lock()
        self._schema = schema
        self._sequence = 0
        self._stamp = 1
        self._rows = BitMap64()
        self._rows_stamp = 0
        self._fields: dict[str, Field] = {}
        self._file: PayloadFile | None = None
        self._answers = Answers()

    @classmethod
    def load(cls, path: Path, schema: Mapping[str, FieldType] = NO_SCHEMA) -> Self:
        """Open a snapshot, and read what lies before the fields; each is read when it is asked for.

        Raises:
            CorruptFile: it is damaged, or was made with other fields left out.
            UnsupportedFormat: no payload index, or one of another version.
            StorageError: it can't be read.
        """
        file = PayloadFile(path)
        if file.about.get("unindexed") != _unindexed(schema):
            raise CorruptFile(f"{path}: it was made with another schema")
        index = cls(schema)
        index._file = file
        index._sequence = file.sequence
        index._rows = file.rows
        for name, entry in file.entries.items():
            index._fields[name] = Field(
                _loader(file, name), rows=entry.rows, has_several=entry.has_several
            )
        return index

    def save(self, path: Path, sequence: int) -> None:
        """Replace a snapshot, durably; changes beside it wait for what is not written yet only.

        Args:
            sequence: of the log entry that the index has reached.

        Raises:
            StorageError: the old one stands.
            CorruptFile: what this index was loaded from is damaged.
        """
        with self._lock:
            # What is written doesn't change: the index can go on beside.
            fields = [self._written(name) for name in sorted(self._fields)]
            rows = BitMap64(self._rows)
        rows.run_optimize()
        about = {"unindexed": _unindexed(self._schema)}
        write_payload(path, sequence, about, rows, (one for one in fields if one is not None))

    @property
    def sequence(self) -> int:
        """Of the log entry that the snapshot had reached; 0 for an index that was never loaded."""
        return self._sequence

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, metadata: Mapping[str, Any]) -> None:
        """Add a row that isn't there."""
        self.add_many((row,), (metadata,))

    def add_many(self, rows: Iterable[int], metadata: Iterable[Mapping[str, Any]]) -> None:
        """Add rows that aren't there, each with its metadata; many at once are cheaper."""
        with self._lock:
            self._stamp += 1
            self._rows_stamp = self._stamp
            for row, one in zip(rows, metadata, strict=True):
                self._rows.add(row)
                self._walk(Field.add, row, one, "", False)

    def remove(self, row: int, metadata: Mapping[str, Any]) -> None:
        """Remove a row that was added with this metadata; does nothing where it isn't there."""
        with self._lock:
            if row not in self._rows:
                return
            self._stamp += 1
            self._rows_stamp = self._stamp
            self._rows.discard(row)
            self._walk(Field.remove, row, metadata, "", False)

    def remove_rows(self, rows: Iterable[int]) -> None:
        """Remove rows whose metadata is not at hand, as in a replay of the log.

        It looks at every field, where :meth:`remove` looks at those of the row.
        """
        gone = BitMap64(rows)
        with self._lock:
            gone &= self._rows
            if not gone:
                return
            self._stamp += 1
            self._rows_stamp = self._stamp
            self._rows -= gone
            for field in self._fields.values():
                field.stamp = self._stamp
                field.forget(gone)

    def matching(self, condition: Filter) -> NDArray[np.int64]:
        """Rows that a filter keeps, ascending; read-only. Kept while no write touches them."""
        return self._answer(condition).rows

    def allowed(self, condition: Filter) -> IdBitmap | NDArray[np.uint64]:
        """Rows that a filter keeps as :meth:`llmspell.Index.search` takes them soonest.

        Kept while no write touches them, so that a filter that comes again costs a look-up.
        """
        return self._answer(condition).allowed

    def count(self, condition: Filter) -> int:
        """How many rows a filter keeps."""
        return len(self._answer(condition).bitmap)

    def schema(self) -> dict[str, FieldSummary]:
        """The fields that rows have, by path, ascending; reads all of a snapshot."""
        with self._lock:
            found = {}
            for name, field in sorted(self._fields.items()):
                kinds = tuple(sorted(_KIND_NAMES[kind] for kind in field.kinds()))
                rows = len(field.present())
                if rows:
                    found[name] = FieldSummary(kinds, rows)
            return found

    def verify(self) -> None:
        """Read all of the snapshot that this was loaded from; raises CorruptFile."""
        if self._file is not None:
            for name in self._file.entries:
                self._file.block(name)

    @property
    def memory(self) -> int:
        """Bytes held, estimated; pages of a mapped snapshot are the system's and don't count."""
        with self._lock:
            fields = sum(field.memory for field in self._fields.values())
            return fields + len(self._fields) * FIELD_BYTES + self._answers.nbytes

    def _answer(self, condition: Filter) -> Answer:
        # Without the lock: an answer that is current was so when this call began, or later.
        answer = self._answers.get(condition, self._stamp_of, self._rows_stamp)
        if answer is None:
            with self._lock:
                evaluation = Evaluation(self._fields, self._rows)
                bitmap = evaluation.rows(condition)
                return self._answers.keep(condition, bitmap, self._stamp_of, self._rows_stamp)
        return answer

    def _written(self, name: str) -> Written | None:
        field = self._fields[name]
        if self._file is not None and field.is_as_stored:
            file, count = self._file, self._file.entries[name].rows
            return Written(name, count, field.has_several, lambda: [file.raw(name)])
        present, columns = field.fold()
        if not present:
            return None
        return Written(
            name, len(present), field.has_several, lambda: encode_block(present, columns)
        )

    def _stamp_of(self, path: str) -> int:
        field = self._fields.get(path)
        return 0 if field is None else field.stamp

    def _walk(
        self, act: _Act, row: int, metadata: Mapping[str, Any], prefix: str, several: bool
    ) -> None:
        """Do something with each value of a row: a list counts as all of its elements."""
        for name, value in metadata.items():
            path = prefix + name
            field = self._fields.get(path)
            if field is None:
                if is_unindexed(self._schema, path):
                    continue
                field = self._fields[path] = Field()
            field.stamp = self._stamp
            # {"a.b": 1, "a": {"b": 2}} gives one path two values, as a list does.
            if several or "." in name:
                field.has_several = True
            self._walk_value(act, row, value, path, field)

    def _walk_value(self, act: _Act, row: int, value: Any, path: str, field: Field) -> None:
        kind = _KINDS.get(type(value))
        if kind is not None:
            convert = kind[1]
            act(field, kind[0], value if convert is None else convert(value), row)
            return
        act(field, _NESTED, None, row)
        if isinstance(value, (list, tuple)):
            field.has_several = True
            for element in value:
                self._walk_value(act, row, element, path, field)
        else:
            self._walk(act, row, value, path + ".", field.has_several)


def _loader(file: PayloadFile, name: str) -> Callable[[], tuple[BitMap64, Any]]:
    return lambda: file.block(name)


def _unindexed(schema: Mapping[str, FieldType]) -> list[str]:
    return sorted(path for path, declared in schema.items() if declared == "unindexed")

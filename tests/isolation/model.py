"""What tenants should hold, and the bytes by which each one's data is known."""

from __future__ import annotations

import copy
import itertools
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.tenancy.texts import DIM, embed

_NUMBERS = itertools.count(1)
KINDS = ("id", "text", "metadata", "document", "name", "state")
MARK = re.compile(r"<(?:" + "|".join(KINDS) + r")-\d{5}>")


@dataclass
class Held:
    """A record, as every read should give it."""

    vector: np.ndarray
    text: str | None
    metadata: dict[str, Any]
    document: str | None = None


@dataclass
class Tenant:
    """A tenant of one generation: a dict of records. Nothing of its markers is another's.

    Args:
        number: of the marks of what is written to it now.
        numbers: of the marks that it may hold: its own, and of what it was copied from.
        documents: texts of those that were ingested, by name, whether chunks of them are left or
            not.
    """

    name: str
    generation: int = 0
    number: int = field(default_factory=lambda: next(_NUMBERS))
    numbers: set[int] = field(default_factory=set)
    suspension: str = "none"
    display: str = ""
    records: dict[str | int, Held] = field(default_factory=dict)
    documents: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    cursors: list[str] = field(default_factory=list)
    state: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers.add(self.number)
        self.display = self.display or self.mark("name")

    def mark(self, kind: str) -> str:
        """What every id, text, metadata value or document name written now to it holds."""
        return f"<{kind}-{self.number:05d}>"

    def marks(self) -> set[str]:
        """All that it may show."""
        own = {f"<{kind}-{number:05d}>" for kind in KINDS for number in self.numbers}
        return own | set(MARK.findall(self.display))

    def renumber(self) -> None:
        """Write with marks of its own from now on, which no copy made before may show."""
        self.number = next(_NUMBERS)
        self.numbers.add(self.number)

    def copied(self, name: str) -> Tenant:
        """A tenant that holds the same now, and shares nothing that is written later."""
        twin = copy.deepcopy(self)
        twin.name, twin.suspension, twin.cursors = name, "none", []
        twin.renumber()
        self.renumber()
        return twin

    def record(self, key: str | int, seed: int) -> tuple[str | int, Held]:
        """A record of a key and a seed, which no other tenant has."""
        identity = key if isinstance(key, int) else key + self.mark("id")
        vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
        vector[0] = self.number % 1_000
        metadata = {"seed": seed % 5, "of": self.mark("metadata")}
        return identity, Held(vector, f"text {seed} {self.mark('text')}", metadata)

    def document(self, key: str, lines: list[int]) -> tuple[str, str, dict[str, Any]]:
        """Name, text and metadata of a document to ingest."""
        text = "\n".join(f"line {line} {self.mark('text')}" for line in lines)
        return key + self.mark("document"), text, {"of": self.mark("metadata")}

    def ingest(self, name: str, text: str, metadata: dict[str, Any]) -> None:
        if self.documents.get(name) == (text, metadata):
            return  # unchanged, and so passed over
        # It goes with the last of its chunks, and with it its version.
        version = 1 + max((held.metadata["version"] for held in self.chunks(name)), default=0)
        self.forget_document(name)
        self.documents[name] = text, metadata
        start = 0
        for number, line in enumerate(text.split("\n")):
            where = {"document": name, "source": name, "version": version}
            where |= {"start": start, "end": start + len(line)}
            held = Held(embed([line])[0], line, {**metadata, **where}, name)
            self.records[f"{name}#{number}"] = held
            start += len(line) + 1

    def chunks(self, name: object) -> list[Held]:
        """Those that are left of a document."""
        return [held for held in self.records.values() if held.document == name]

    def forget_document(self, name: object) -> int:
        self.documents.pop(name, None)  # type: ignore[call-overload]
        gone = [key for key, held in self.records.items() if held.document == name]
        for key in gone:
            del self.records[key]
        return len(gone)

    def take_in(self, other: Tenant) -> None:
        """Hold what an export of another holds as well; its documents come as a whole."""
        for name in other.documents:
            self.forget_document(name)
        self.documents.update(other.documents)
        self.records.update(copy.deepcopy(other.records))
        self.numbers |= other.numbers

    def matching(self, condition: dict[str, Any] | None) -> dict[str | int, Held]:
        """Records whose metadata has these values."""
        return {
            key: held
            for key, held in self.records.items()
            if all(held.metadata.get(name) == value for name, value in (condition or {}).items())
        }

    def in_order(self) -> list[tuple[Any, ...]]:
        """Everything as a scan gives it."""

        def rank(key: str | int) -> tuple[int, int, bytes]:
            return (0, key, b"") if isinstance(key, int) else (1, 0, key.encode())

        return [
            (key, held.vector.tobytes(), held.text, held.metadata)
            for key, held in sorted(self.records.items(), key=lambda item: rank(item[0]))
        ]

"""The manifest of a snapshot: what it is of, and how long each of its files is, with a checksum.

It is the last file of a snapshot: one without a manifest was cut short. docs/reference/archive.md
gives the format.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from llmspell.config import TenantConfig
from llmspell.errors import CorruptFile, UnsupportedFormat
from llmspell.storage.catalog_entry import config_fields, config_of, is_number
from llmspell.storage.codec import FORMAT
from llmspell.storage.log import Counters

__all__ = ["ENVIRONMENT", "MANIFEST", "MAX_MANIFEST_BYTES", "ArchivedFile", "Manifest"]

ARCHIVE_FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
ENVIRONMENT: Final = "data.mdb"
#: A schema of 100,000 fields fits.
MAX_MANIFEST_BYTES: Final = 16 << 20


class ArchivedFile(NamedTuple):
    """A file of a snapshot; ``sha256`` is hexadecimal."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a snapshot is of.

    Args:
        llmspell: version that took it.
        taken_us: when, in microseconds since 1970, UTC.
        config: of the tenant.
        generation: of the tenant.
        counters: of its store, at the moment that the snapshot shows.
        files: all others of the snapshot.
    """

    llmspell: str
    taken_us: int
    config: TenantConfig
    generation: int
    counters: Counters
    files: tuple[ArchivedFile, ...]

    def encode(self) -> bytes:
        """A line with the SHA-256 of the next, and that line, JSON."""
        body = json.dumps(
            {
                "format": ARCHIVE_FORMAT,
                "store_format": FORMAT,
                "llmspell": self.llmspell,
                "taken_us": self.taken_us,
                "config": config_fields(self.config),
                "generation": self.generation,
                "counters": self.counters._asdict(),
                "files": [file._asdict() for file in self.files],
            },
        ).encode("ascii")
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body + b"\n"

    @classmethod
    def decode(cls, raw: bytes, name: str) -> Self:
        """The manifest of some bytes.

        Args:
            name: of the snapshot, for errors.

        Raises:
            CorruptFile: it is damaged.
            UnsupportedFormat: a later release wrote it, or its store is of another version.
        """
        checksum, _, rest = raw.partition(b"\n")
        body = rest.removesuffix(b"\n")
        if checksum != hashlib.sha256(body).hexdigest().encode() or rest == body:
            raise CorruptFile(f"{name}: the checksum of its {MANIFEST} does not match")
        try:
            fields: dict[str, Any] = json.loads(body)
            for key, expected in (("format", ARCHIVE_FORMAT), ("store_format", FORMAT)):
                if fields[key] != expected:
                    raise UnsupportedFormat(
                        f"{name}: a snapshot whose {key} is {fields[key]}, expected {expected}"
                    )
            made = cls(
                llmspell=fields["llmspell"],
                taken_us=fields["taken_us"],
                config=config_of(fields["config"]),
                generation=fields["generation"],
                counters=Counters(**fields["counters"]),
                files=tuple(ArchivedFile(**file) for file in fields["files"]),
            )
            made._check_types()
            return made
        # A config that there can't be is a ValueError, too.
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise CorruptFile(f"{name}: its {MANIFEST} can't be understood: {error!r}") from error

    def _check_types(self) -> None:
        """Raises TypeError where a value can't be what it stands for."""
        numbers = [self.taken_us, self.generation, *self.counters]
        texts = [self.llmspell]
        for file in self.files:
            numbers.append(file.bytes)
            texts += [file.name, file.sha256]
        if not all(map(is_number, numbers)):
            raise TypeError("a number is none")
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a text is none")

"""Transcripts: what a run did, entry by entry, to resume it by and to replay it."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from llmspell.errors import TranscriptDamaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmspell.agents.handle import Handle

__all__ = [
    "Entry",
    "FileTranscript",
    "MemoryTranscript",
    "Transcript",
    "Transcripts",
    "transcript_of",
]

Entry: TypeAlias = dict[str, Any]
"""A mapping that JSON can hold, with a ``kind``; see docs/reference/agents.md."""


class Transcript(Protocol):
    """Where the entries of one run are kept, in order; for one run at a time."""

    async def read(self) -> list[Entry]:
        """Entries so far."""

    async def append(self, *entries: Entry) -> None:
        """Keep entries, behind those that were read and appended before, all or none.

        Raises:
            RunConflict: others were appended elsewhere meanwhile; told by those kinds that can.
        """

    def child(self, call_id: str) -> Transcript:
        """That of the sub-agent of a call."""


Transcripts: TypeAlias = "Literal['state', 'memory'] | Callable[[str], Transcript]"
"""Where transcripts are kept: in the tenant's state, in memory, or what is given a run's id."""


def transcript_of(kind: Transcripts, tenant: Handle, run_id: str) -> Transcript:
    """That of a run of a tenant."""
    if callable(kind):
        return kind(run_id)
    if kind == "memory":
        return MemoryTranscript()
    from llmspell.agents.handle import state_of
    from llmspell.agents.state_transcript import StateTranscript

    return StateTranscript(state_of(tenant), run_id)


class MemoryTranscript:
    """In memory; gone with the process.

    Attributes: ``entries``, a list; ``children``, transcripts of sub-agents by the ids of calls.
    """

    def __init__(self, entries: list[Entry] | None = None) -> None:
        self.entries: list[Entry] = [] if entries is None else entries
        self.children: dict[str, MemoryTranscript] = {}

    async def read(self) -> list[Entry]:
        """As :meth:`Transcript.read`."""
        return list(self.entries)

    async def append(self, *entries: Entry) -> None:
        """As :meth:`Transcript.append`."""
        self.entries.extend(entries)

    def child(self, call_id: str) -> MemoryTranscript:
        """As :meth:`Transcript.child`."""
        return self.children.setdefault(call_id, MemoryTranscript())


class FileTranscript:
    """A file of JSON lines, durable when ``append`` returns; to look at, and to replay in tests.

    A last line that was cut short by a crash is left out, and overwritten. That of a sub-agent lies
    beside it: ``run.jsonl`` and ``run.CALL.jsonl``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._end = 0
        self._turn = threading.Lock()  # results of calls side by side come from several threads

    async def read(self) -> list[Entry]:
        """As :meth:`Transcript.read`; raises TranscriptDamaged."""
        return await asyncio.to_thread(self._read)

    async def append(self, *entries: Entry) -> None:
        """As :meth:`Transcript.append`."""
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        # What was asked may hold halves of surrogate pairs.
        await asyncio.to_thread(self._write, lines.encode(errors="replace"))

    def child(self, call_id: str) -> FileTranscript:
        """As :meth:`Transcript.child`."""
        safe = "".join(c if c.isalnum() or c in "-_" else f"%{ord(c):x}" for c in call_id)
        return FileTranscript(self.path.with_name(f"{self.path.stem}.{safe}{self.path.suffix}"))

    def _read(self) -> list[Entry]:
        with self._turn:
            try:
                raw = self.path.read_bytes()
            except FileNotFoundError:
                raw = b""
            self._end = end = raw.rfind(b"\n") + 1
        entries = []
        for number, line in enumerate(raw[:end].splitlines(), 1):
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise TranscriptDamaged(f"{self.path}:{number}: {error}") from None
            if not isinstance(entry, dict):
                raise TranscriptDamaged(f"{self.path}:{number}: no entry of a transcript")
            entries.append(entry)
        return entries

    def _write(self, lines: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._turn, self.path.open("ab") as file:
            file.truncate(self._end)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
            self._end = file.tell()

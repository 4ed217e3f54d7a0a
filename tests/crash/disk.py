"""What may be on a disk after the power went off: a model of a file system's promises.

It promises less than any file system in use:

- What a file's ``fsync`` or ``fdatasync`` covered is there, as is what was written through an
  ``O_DSYNC`` descriptor once that call returned. Everything else of the file, be it data or length,
  may be there or not: each 512-byte sector for itself, as it was after any of the writes to it.
  Where a file grew, its new length may be there without its data; zeros or rubbish are there then.
- A change to a directory is there when that directory was synced behind it; syncing the file alone
  doesn't keep its name. Of other changes any may be missing, but those to one name keep their
  order, and a rename happens at both of its names or at neither.
- A sync that fails covers nothing, and takes all that is pending of its file for written: reads
  show it, each of its sectors may be on the disk or not, and no later sync changes that, but one
  behind another write to the same page of memory (4,096 bytes), which is written as a whole. Names
  that a failed sync of a directory left pending stay so.
- What a program stored into a mapped file (a writable ``mmap``) is never promised: the file may be
  missing, empty, zero, as it was some time ago, or mixed from two such states by pages.

A sector is written as a whole or not at all: that is what disks promise, and what LMDB builds on,
which overwrites its 120-byte roots in place. Between its sectors a write tears anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.trace import Entry, Op

SECTOR = 512
PAGE = 4096


@dataclass(eq=False)
class File:
    """A file: what the disk is known to have, and what may have reached it since.

    Attributes:
        synced: what reads showed at the last sync, be it that this one failed.
        stale: by sector, what the disk may have in place of that, where one failed.
        promised: length that the disk has at least.
        pending: what was written since.
    """

    synced: bytearray = field(default_factory=bytearray)
    stale: dict[int, list[bytes]] = field(default_factory=dict)
    promised: int = 0
    pending: list[Entry] = field(default_factory=list)
    #: Of a mapped file, states that it was in: its length and the pages that aren't zero.
    copies: list[tuple[int, dict[int, bytes]]] = field(default_factory=list)

    def write(self, entry: Entry) -> None:
        self.pending.append(entry)
        if entry.flags:
            self._cover(entry)

    def sync(self) -> None:
        for entry in self.pending:
            self._cover(entry)
            _apply(self.synced, entry)
        self.pending.clear()

    def lose(self) -> None:
        """A sync failed: what was pending may be on the disk or not, and isn't dirty any more."""
        for entry in self.pending:
            if entry.flags:
                _apply(self.synced, entry)
                self._cover(entry)
                continue
            for piece in _sectors(entry):
                sector = piece.offset // SECTOR
                others = self.stale.setdefault(sector, [self._sector(sector)])
                _apply(self.synced, piece)
                others.append(self._sector(sector))
            if entry.op is Op.RESIZE:
                _apply(self.synced, entry)
                self.promised = min(self.promised, entry.offset)
        self.pending.clear()

    def _sector(self, sector: int) -> bytes:
        shown = bytes(self.synced[sector * SECTOR : (sector + 1) * SECTOR])
        return shown.ljust(SECTOR, b"\0")

    def _cover(self, entry: Entry) -> None:
        """A sync that succeeded covers an entry, and so all of the pages that it is in."""
        if entry.op is Op.RESIZE:
            self.promised = entry.offset
            return
        end = entry.offset + len(entry.data)
        self.promised = max(self.promised, end)
        first, last = entry.offset // PAGE, -(-end // PAGE)
        for sector in range(first * PAGE // SECTOR, last * PAGE // SECTOR):
            self.stale.pop(sector, None)

    def now(self) -> bytes:
        """Its content as the running program sees it."""
        image = bytearray(self.synced)
        for entry in self.pending:
            _apply(image, entry)
        return bytes(image)


@dataclass(eq=False)
class Directory:
    """A directory; its entries are the tree's."""


Node = File | Directory
Name = tuple[Directory, str]
Tree = dict[Name, Node]


@dataclass(frozen=True)
class Change:
    """A change to the names of one or two directories."""

    op: Op
    names: tuple[Name, ...]
    node: Node

    def apply(self, tree: Tree) -> None:
        if self.op is Op.REMOVE:
            tree.pop(self.names[0], None)
        else:
            if self.op is Op.RENAME:
                tree.pop(self.names[0], None)
            tree[self.names[-1]] = self.node


class Disk:
    """A directory tree that a trace is played on, and the states a power cut may leave of it."""

    def __init__(self) -> None:
        self.root = Directory()
        self._tree: Tree = {}  # as the program sees it
        self._synced: Tree = {}
        self._pending: list[Change] = []
        self._inodes: dict[int, Node] = {}

    def play(self, entry: Entry) -> None:
        """Take the next entry of the trace."""
        node = self._inodes.get(entry.ino)
        if entry.op in (Op.CREATE, Op.MKDIR):
            made = File() if entry.op is Op.CREATE else Directory()
            self._inodes[entry.ino] = made
            self._change(entry.op, (self._name(entry.path),), made)
        elif entry.op in (Op.RENAME, Op.LINK):
            names = self._name(entry.path), self._name(entry.data.decode())
            self._change(entry.op, names, self._tree[names[0]])
        elif entry.op is Op.REMOVE:
            name = self._name(entry.path)
            self._change(entry.op, (name,), self._tree[name])
        elif entry.op is Op.MAPPED:
            assert isinstance(node, File)
            if entry.flags:
                node.copies.append((entry.offset, {}))
            else:
                node.copies[-1][1][entry.offset] = entry.data
        elif entry.op is Op.SYNC:
            if isinstance(node, File):
                node.sync()
            elif node is not None:
                self._sync_names(node)
            else:
                self._sync_names(self.root)  # made before the recording
        elif entry.op is Op.LOST:
            if isinstance(node, File):
                node.lose()
        elif entry.op in (Op.WRITE, Op.RESIZE):
            assert isinstance(node, File)
            node.write(entry)

    def files(self) -> Iterator[tuple[str, File]]:
        """Paths and files as the running program sees them."""
        return _walk(self._tree, self.root, "")

    def cut(self, rng: random.Random, in_flight: Entry, into: Path) -> None:
        """Build a state that a power cut during a call, the next of the trace, may leave."""
        keep = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        tree = dict(self._synced)
        stopped: set[Name] = set()
        for change in self._pending:
            if stopped.isdisjoint(change.names) and rng.random() < keep:
                change.apply(tree)
            else:
                stopped.update(change.names)
        loose = self._inodes.get(in_flight.ino) if in_flight.op in (Op.WRITE, Op.RESIZE) else None
        _make(tree, self.root, into)
        for path, file in _walk(tree, self.root, ""):
            if file.copies:
                _write_mapped(rng, file, into / path)
            else:
                extra = (in_flight,) if file is loose else ()
                (into / path).write_bytes(_survivor(rng, file, extra))

    def _change(self, op: Op, names: tuple[Name, ...], node: Node) -> None:
        change = Change(op, names, node)
        change.apply(self._tree)
        self._pending.append(change)

    def _sync_names(self, directory: Directory) -> None:
        durable: list[Change] = []
        names: set[Name] = set()
        for change in reversed(self._pending):
            if any(name[0] is directory or name in names for name in change.names):
                names.update(change.names)
                durable.append(change)
        for change in reversed(durable):
            change.apply(self._synced)
            self._pending.remove(change)

    def _name(self, path: str) -> Name:
        *above, last = path.split("/")
        directory = self.root
        for part in above:
            found = self._tree[directory, part]
            assert isinstance(found, Directory)
            directory = found
        return directory, last


def _walk(tree: Tree, above: Directory, path: str) -> Iterator[tuple[str, File]]:
    for (directory, name), node in list(tree.items()):
        if directory is above:
            if isinstance(node, File):
                yield path + name, node
            else:
                yield from _walk(tree, node, f"{path}{name}/")


def _make(tree: Tree, above: Directory, path: Path) -> None:
    path.mkdir()
    for (directory, name), node in tree.items():
        if directory is above and isinstance(node, Directory):
            _make(tree, node, path / name)


def _apply(image: bytearray, entry: Entry) -> None:
    if entry.op is Op.RESIZE:
        del image[entry.offset :]
        image.extend(bytes(entry.offset - len(image)))
    else:
        image.extend(bytes(max(0, entry.offset - len(image))))
        image[entry.offset : entry.offset + len(entry.data)] = entry.data


def _survivor(rng: random.Random, file: File, in_flight: tuple[Entry, ...]) -> bytes:
    """What is left of a file: of what isn't promised, any sectors."""
    image = bytearray(file.synced)
    old = rng.choice((0.0, 0.5, 1.0))
    for sector, others in file.stale.items():
        if rng.random() < old and sector * SECTOR < len(image):
            at = sector * SECTOR
            image[at : at + SECTOR] = rng.choice(others)[: len(image) - at]
    keep = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    promised = file.promised
    changes = [(entry, bool(entry.flags)) for entry in file.pending]
    changes += [(entry, False) for entry in in_flight]
    for entry, is_durable in changes:
        if entry.op is Op.RESIZE:
            if rng.random() < keep:
                _apply(image, entry)
                promised = min(promised, entry.offset)
        elif is_durable:
            _apply(image, entry)
            promised = max(promised, entry.offset + len(entry.data))
        else:
            for piece in _sectors(entry):
                if rng.random() < keep:
                    _apply(image, piece)
    if len(image) > promised and rng.random() < 0.3:
        del image[rng.randint(promised, len(image)) :]
    elif rng.random() < 0.2:
        # The length is there, the data isn't.
        longest = max((e.offset + len(e.data) for e, _ in changes), default=0)
        rubbish = rng.randbytes if rng.random() < 0.5 else bytes
        image.extend(rubbish(max(0, longest - len(image))))
    return bytes(image)


def _sectors(entry: Entry) -> Iterator[Entry]:
    at = 0
    while at < len(entry.data):
        bytes_left = SECTOR - (entry.offset + at) % SECTOR
        yield entry._replace(offset=entry.offset + at, data=entry.data[at : at + bytes_left])
        at += bytes_left


def _write_mapped(rng: random.Random, file: File, path: Path) -> None:
    how = rng.choice(("missing", "empty", "zero", "old", "mixed", "mixed", "short"))
    if how == "missing":
        return
    (size, pages), (_, others) = rng.choice(file.copies), rng.choice(file.copies[-8:])
    with path.open("wb") as out:
        if how == "empty":
            return
        out.truncate(size)
        for at in sorted({*pages, *others} if how == "mixed" else pages):
            source = others if how == "mixed" and rng.random() < 0.5 else pages
            if how != "zero" and at in source:
                out.seek(at)
                out.write(source[at])
        if how == "short":
            out.truncate(rng.randint(0, size))
        else:
            out.truncate(size)

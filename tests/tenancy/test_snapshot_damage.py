"""Damaged and hostile snapshots: refused by name, and nothing of them is left."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from llmspell import Database, Tenant, errors
from llmspell.storage.archive import unpack_archive
from llmspell.storage.tar import BLOCK, tar_members
from tests.crash.trace import MEMORY
from tests.tenancy.copies import filled, members, nothing_is_left, packed, repacked, tree
from tests.tenancy.transfers import content


@pytest.fixture
def acme(db: Database) -> Tenant:
    return filled(db)


@pytest.fixture
def raw(acme: Tenant) -> bytes:
    return packed(acme)


def refused(
    db: Database, raw: bytes, match: str, error: type[Exception] = errors.CorruptFile
) -> None:
    before = tree(db)
    with pytest.raises(error, match=match):
        db.restore_tenant(io.BytesIO(raw), tenant_id="copy")
    nothing_is_left(db, before, len(db.tenants()))


def unpack(raw: bytes) -> None:
    """As restoring does; in memory, for it flushes what it writes."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as into:
        unpack_archive(
            "snapshot", tar_members(io.BytesIO(raw), "snapshot"), Path(into), map_size=sys.maxsize
        )


def test_a_flipped_bit_is_refused(db: Database, acme: Tenant, raw: bytes) -> None:
    wanted = content(acme)
    files = members(raw)
    at = 0
    regions = []
    for data in files.values():
        regions += [at, at + 100, at + 124, at + 148, at + 156, at + 257, at + 300]  # a header
        regions += np.linspace(at + BLOCK, at + BLOCK + len(data) - 1, 40, dtype=int).tolist()
        at += BLOCK + len(data) + -len(data) % BLOCK
    regions += [at, at + BLOCK + 3]  # the end
    for turn, place in enumerate(regions):
        flipped = bytearray(raw)
        flipped[place] ^= 1 << turn % 8
        with pytest.raises((errors.CorruptFile, errors.UnsupportedFormat)):
            unpack(bytes(flipped))
        if turn % 25 == 0:
            refused(db, bytes(flipped), ".", errors.StorageError)
    assert content(acme) == wanted


def test_a_snapshot_that_is_cut_short_is_refused(db: Database, raw: bytes) -> None:
    edges = [0]
    for data in members(raw).values():
        edges += [edges[-1] + BLOCK, edges[-1] + BLOCK + len(data) + -len(data) % BLOCK]
    inside = np.linspace(1, len(raw) - 1, 20, dtype=int).tolist()
    for end in sorted(
        {min(max(edge + near, 0), len(raw) - 1) for edge in edges for near in (-1, 0, 1)}
        | {*inside}
    ):
        with pytest.raises(errors.CorruptFile, match=r"cut off|cut short"):
            unpack(raw[:end])
    refused(db, raw[:-1], "cut off")
    refused(db, raw[: len(raw) // 2], "cut off")
    # Closed as tar would have it, without the last file.
    refused(db, raw[: edges[-3]] + bytes(2 * BLOCK), "manifest.json is missing")


@pytest.mark.parametrize(
    "name",
    [
        "../data.mdb",
        "/tmp/data.mdb",
        "a/data.mdb",
        "./data.mdb",
        "more",
        "index-1.snap",
        "writer.lock",
        "",
        "data.mdb ",
        "x" * 200,
    ],
)
def test_names_that_no_snapshot_has_are_refused(db: Database, raw: bytes, name: str) -> None:
    header = tarfile.TarInfo(name)
    refused(db, repacked(members(raw), (header, b"")), "no file of a snapshot|plain files")


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
    ],
)
def test_members_that_are_no_plain_files_are_refused(db: Database, raw: bytes, kind: bytes) -> None:
    header = tarfile.TarInfo("recall.json")
    header.type = kind
    header.linkname = "/etc/passwd"
    refused(db, header.tobuf(tarfile.USTAR_FORMAT) + raw, "plain files alone")


def test_files_that_are_there_twice_missing_or_too_many_are_refused(
    db: Database, raw: bytes
) -> None:
    files = members(raw)
    again = tarfile.TarInfo("data.mdb")
    again.size = len(files["data.mdb"])
    refused(db, repacked(files, (again, files["data.mdb"])), "there twice")
    refused(db, repacked(files, (tarfile.TarInfo("recall.json"), b"")), "doesn't name the files")
    for name in files.keys() - {"manifest.json"}:
        refused(db, repacked({key: files[key] for key in files if key != name}), "is missing")
    refused(db, repacked({"manifest.json": files["manifest.json"], **files}), "comes behind")
    refused(db, bytes(2 * BLOCK), "manifest.json is missing")
    refused(db, b"", "cut off")


def test_sizes_that_lie_are_refused(db: Database, raw: bytes) -> None:
    for size in (0, 1, 512, len(raw), 1 << 34):
        header = tarfile.TarInfo("data.mdb")
        header.size = size
        refused(
            db,
            header.tobuf(tarfile.GNU_FORMAT) + raw[BLOCK:],
            "cut off|no header|does not match|manifest.json is missing",
        )
    big = tarfile.TarInfo("manifest.json")
    big.size = 1 << 40
    refused(db, big.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20), "manifest.json has")


def test_what_is_compressed_or_something_else_is_refused(db: Database, raw: bytes) -> None:
    import gzip

    refused(db, gzip.compress(raw), "not compressed")
    refused(db, np.random.default_rng(0).bytes(10_000), "no header of a tar file")
    with gzip.open(io.BytesIO(gzip.compress(raw))) as file:
        assert db.restore_tenant(file, tenant_id="copy").count() > 0  # type: ignore[arg-type]


def forged(raw: bytes, **changed: object) -> bytes:
    """A snapshot whose manifest says something else, with a checksum that holds."""
    files = members(raw)
    fields = {**json.loads(files["manifest.json"].splitlines()[1]), **changed}
    body = json.dumps(fields).encode()
    files["manifest.json"] = sha256(body).hexdigest().encode() + b"\n" + body + b"\n"
    return repacked(files)


def test_a_manifest_that_says_something_else_is_refused(db: Database, raw: bytes) -> None:
    fields = json.loads(members(raw)["manifest.json"].splitlines()[1])
    config, counters = fields["config"], fields["counters"]
    for changed in (
        {"counters": {**counters, "vectors": 7}},
        {"counters": {**counters, "sequence": counters["sequence"] + 1}},
        {"config": {**config, "dim": 3}},
    ):
        refused(db, forged(raw, **changed), "says other than")
    for changed in (
        {"config": {**config, "id": ""}},
        {"config": {**config, "id": 7}},
        {"config": {**config, "more": 1}},
        {"config": {**config, "metric": "hamming"}},
        {"config": {**config, "quotas": {"max_vectors": -1}}},
        {"config": {**config, "index": []}},
        {"config": None},
        {"counters": {"vectors": 1, "more": 2}},
        {"files": 7},
        {"files": [{"name": "data.mdb"}]},
        {"files": [{"name": [], "bytes": 1, "sha256": ""}, *fields["files"]]},
    ):
        refused(db, forged(raw, **changed), "can't be understood")
    for name in ("format", "store_format"):
        refused(db, forged(raw, **{name: 99}), f"{name} is 99", errors.UnsupportedFormat)


def test_an_environment_that_holds_something_else_is_refused(db: Database, raw: bytes) -> None:
    for size in (0, 100, 4_096, 40_960):
        files = {**members(raw)}
        files["data.mdb"] = files["data.mdb"][:size]
        named = [
            {"name": name, "bytes": len(data), "sha256": sha256(data).hexdigest()}
            for name, data in files.items()
            if name != "manifest.json"
        ]
        refused(db, forged(repacked(files), files=named), ".", errors.StorageError)


def test_a_directory_is_held_to_the_same(db: Database, acme: Tenant, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    acme.snapshot(snapshot)
    before = tree(db)

    def is_refused(match: str, error: type[Exception] = errors.CorruptFile) -> None:
        with pytest.raises(error, match=match):
            db.restore_tenant(snapshot, tenant_id="copy")
        nothing_is_left(db, before, 1)

    (snapshot / "more").write_bytes(b"")
    is_refused("'more' is no file of a snapshot")
    (snapshot / "more").unlink()
    payload = snapshot / "payload.snap"
    kept = payload.rename(tmp_path / "kept")
    is_refused("payload.snap is missing")
    payload.symlink_to(kept)
    is_refused("symbolic link", errors.StorageError)
    payload.unlink()
    payload.mkdir()
    is_refused("'payload.snap' is not a plain file")
    payload.rmdir()
    os.mkfifo(payload)
    is_refused("'payload.snap' is not a plain file")
    payload.unlink()
    payload.write_bytes(kept.read_bytes()[:-1])
    is_refused("payload.snap is missing, or its checksum")
    payload.write_bytes(kept.read_bytes())
    (snapshot / "manifest.json").unlink()
    is_refused("manifest.json is missing")

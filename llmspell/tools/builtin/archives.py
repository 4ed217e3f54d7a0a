"""Archives: what is in them, without unpacking to the disk."""

from __future__ import annotations

import os
import tarfile
import zipfile
from typing import IO, Any, Final

from llmspell.security import FileSandbox, SecurityRequirements
from llmspell.tools import FunctionTool, tool

__all__ = ["archive_tools"]

_MAX_BYTES: Final = 256 << 10
#: Imported by zipfile and tarfile when they first meet what needs them.
_LAZY: Final = ("bz2", "encodings.cp437", "gzip", "lzma")


def archive_tools(root: str | os.PathLike[str]) -> list[FunctionTool[..., Any]]:
    """Tools for zip and tar files beneath a directory: ``list_archive`` and ``read_archive``.

    They run confined, as RESTRICTED tools that may read ``root``. Nothing is unpacked to the disk,
    and an archive that unpacks to too much runs into the limits of the worker.

    Raises:
        ConfigError, RequirementDenied: a path that no RESTRICTED tool may have.
    """
    needs, place = SecurityRequirements.restricted().with_read_only(root), os.fspath(root)
    return [
        one.with_options(requirements=needs, idempotent=True, preload=_LAZY).bind(root=place)
        for one in (list_archive, read_archive)
    ]


@tool
def list_archive(path: str, root: str, max_members: int = 500) -> dict[str, Any]:
    """List what is in a zip or tar file (also gzip, bzip2, xz).

    Args:
        path: of the archive, relative.
        max_members: that are listed at most.
    """
    found: list[dict[str, Any]] = []
    is_complete = True
    with FileSandbox(read_only=[root]) as files, files.open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                is_complete = len(members) <= max_members
                for one in members[:max_members]:
                    found.append(
                        {
                            "name": one.filename,
                            "bytes": one.file_size,
                            "packed_bytes": one.compress_size,
                            "kind": "directory" if one.is_dir() else "file",
                        }
                    )
            return {"format": "zip", "members": found, "is_complete": is_complete}
        with _tar(file) as archive:
            for member in archive:
                if len(found) >= max_members:
                    is_complete = False
                    break
                name = member.name.encode(errors="surrogateescape").decode(errors="replace")
                found.append({"name": name, "bytes": member.size, "kind": _kind_of(member)})
    return {"format": "tar", "members": found, "is_complete": is_complete}


@tool
def read_archive(path: str, member: str, root: str, max_bytes: int = 65_536) -> dict[str, Any]:
    """Read a text file in a zip or tar file.

    Args:
        path: of the archive, relative.
        member: its name in the archive.
        max_bytes: that are read at most.
    """
    most = min(max(max_bytes, 0), _MAX_BYTES)
    with FileSandbox(read_only=[root]) as files, files.open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive, archive.open(member) as found:
                raw = found.read(most + 1)
        else:
            with _tar(file) as tape:
                inner = tape.getmember(member)
                if not inner.isreg():
                    raise ValueError(f"{member!r} is a {_kind_of(inner)}, no file")
                opened = tape.extractfile(inner)
                assert opened is not None
                with opened:
                    raw = opened.read(most + 1)
    return {
        "text": raw[:most].decode(errors="replace"),
        "is_cut": len(raw) > most,
    }


def _tar(file: IO[bytes]) -> tarfile.TarFile:
    file.seek(0)
    try:
        # Not by the file's own name, which tarfile would look for in the working directory.
        return tarfile.open("/archive", fileobj=file, mode="r:*")
    except tarfile.ReadError:
        raise ValueError("the file is neither a zip nor a tar file") from None


def _kind_of(member: tarfile.TarInfo) -> str:
    if member.isreg():
        return "file"
    if member.isdir():
        return "directory"
    return "link" if member.issym() or member.islnk() else "special file"

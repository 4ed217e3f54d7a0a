"""Kernels of Debian's releases, fetched by apt, which checks them against the signed archive."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["RELEASES", "Package", "fetched", "packages"]

#: The release that has each kernel.
RELEASES: Final = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie"}
_KEYS: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True, slots=True)
class Package:
    """A package file."""

    path: Path

    def files(self, wanted: re.Pattern[str]) -> dict[str, bytes]:
        """What is in it whose path, without the leading "./", matches in full."""
        command = ["dpkg-deb", "--fsys-tarfile", str(self.path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found = {}
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if member.isfile() and wanted.fullmatch(name):
                    file = archive.extractfile(member)
                    assert file is not None
                    found[name] = file.read()
        return found


def fetched(release: str, architecture: str, name: str, folder: Path) -> Package:
    """The package that ``name`` is or, where it has no files of its own, depends on.

    Args:
        release: of Debian.
        architecture: by Debian's name.
        name: of the package.
        folder: where lists and packages are kept; what is there isn't fetched again.
    """
    kept = folder / release / architecture
    found = sorted((kept / name).glob("*.deb"))
    if not found:
        apt = _Apt(kept, release, architecture)
        apt.run("apt-get", "-q", "update")
        (kept / name).mkdir(exist_ok=True)
        arriving = kept / "arriving"
        arriving.mkdir(exist_ok=True)
        shown = apt.run("apt-cache", "depends", "--important", name)
        real = re.search(r"Depends: (linux-image-\S+)", shown)
        apt.run("apt-get", "-q", "download", real[1] if real else name, at=arriving)
        for file in arriving.glob("*.deb"):
            file.replace(kept / name / file.name)
        found = sorted((kept / name).glob("*.deb"))
    return Package(found[-1])


def packages(release: str, architecture: str, names: Sequence[str], folder: Path) -> list[Package]:
    """Packages with all that they depend on, of one release; kept in ``folder``."""
    apt = _Apt(folder, release, architecture)
    apt.run("apt-get", "-q", "update")
    apt.run(
        *("apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "install", *names)
    )
    return [Package(path) for path in sorted((folder / "archives").glob("*.deb"))]


class _Apt:
    """apt with its own lists of one release; that of this machine is left as it is."""

    def __init__(self, folder: Path, release: str, architecture: str) -> None:
        for part in ("lists/partial", "archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        source = folder / "sources.list"
        source.write_text(
            f"deb [arch={architecture} signed-by={_KEYS}] {_archive()} {release} main\n"
        )
        self._options = [
            "-oDir::State::status=/dev/null",
            f"-oDir::State::lists={folder / 'lists'}",
            f"-oDir::Cache={folder}",
            f"-oDir::Etc::sourcelist={source}",
            "-oDir::Etc::sourceparts=/dev/null",
            f"-oAPT::Architecture={architecture}",
            f"-oAPT::Architectures={architecture}",
            "-oAPT::Sandbox::User=",
        ]

    def run(self, program: str, *arguments: str, at: Path | None = None) -> str:
        done = subprocess.run(
            [program, *self._options, *arguments],
            cwd=at,
            env={**os.environ, "LC_ALL": "C"},
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
        )
        return done.stdout


def _archive() -> str:
    """Where this machine has its own packages from."""
    shown = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    ).stdout
    for uri in shown.splitlines():
        if uri.endswith("/debian/"):
            return uri
    raise SystemExit("apt on this machine has no archive of Debian to fetch kernels from")

"""A root of arm64: Debian's Python, what the tests import, and this checkout, built for it.

Nothing of it is run here, so nothing is configured: files are unpacked, and modules cross-compiled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

from tests.kernels.debian import packages

__all__ = ["made"]

_RELEASE: Final = "bookworm"
_PYTHON: Final = "3.11"
_TAG: Final = _PYTHON.replace(".", "")
# From bash on: what attempts run, and what a machine does first.
_PACKAGES: Final = (
    *(f"python{_PYTHON}", f"libpython{_PYTHON}-dev", "libstdc++6", "base-files", "base-passwd"),
    *("bash", "coreutils", "dash", "findutils", "gcc", "grep", "iproute2", "libc6-dev", "mount"),
    *("perl-base", "procps", "sed", "util-linux"),
)
_OF_TESTS: Final = (
    *("httpx", "hypothesis", "pytest", "pytest-timeout", "requests", "sybil", "trustme"),
)


def made(checkout: Path, folder: Path) -> Path:
    """A root in ``folder``, made where there is none; the checkout in it is that of now."""
    root = folder / "root"
    if not root.exists():
        arriving = folder / "arriving"
        shutil.rmtree(arriving, ignore_errors=True)
        _unpack(folder / _RELEASE, arriving)
        _install(checkout, arriving / f"usr/local/lib/python{_PYTHON}/dist-packages")
        arriving.rename(root)
    _copy(checkout, root)
    for module in _built(checkout, root, folder / "modules"):
        # What may stand between says the Python and the architecture of this machine.
        name = f"{module.name.partition('.')[0]}.so"
        shutil.copy(module, f"{root}{checkout}/llmspell/{name}")
    return root


def _unpack(kept: Path, root: Path) -> None:
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("dev", "proc", "root", "run", "sys", "tmp"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    for package in packages(_RELEASE, "arm64", _PACKAGES, kept):
        # Not by dpkg-deb alone, which would put directories where the links are.
        command = ["dpkg-deb", "--fsys-tarfile", str(package.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as archive:
            extract = ["tar", "-x", "--keep-directory-symlink", "-C", str(root)]
            subprocess.run(extract, stdin=archive.stdout, check=True)
    # What the packages' scripts would do.
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n", encoding="ascii")
    for name, program in (("python3", f"python{_PYTHON}"), ("cc", "gcc"), ("sh", "dash")):
        link = root / "usr/bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(program)


def _install(checkout: Path, folder: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["security"], *_OF_TESTS]
    command = [
        *(sys.executable, "-m", "pip", "install", "-q", "--target", str(folder)),
        *("--python-version", _PYTHON, "--implementation", "cp", "--only-binary", ":all:"),
        *("--platform", "manylinux_2_17_aarch64", "--platform", "manylinux_2_28_aarch64"),
        *("--platform", "manylinux2014_aarch64"),
        *("--abi", f"cp{_TAG}", "--abi", "abi3", "--abi", "none"),
    ]
    subprocess.run([*command, *wanted], check=True)
    (folder / "checkout.pth").write_text(f"{checkout}\n", encoding="utf-8")


def _copy(checkout: Path, root: Path) -> None:
    there = Path(f"{root}{checkout}")
    shutil.rmtree(there, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=checkout,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not (checkout / name).is_file():  # deleted, and not yet for git
            continue
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkout / name, there / name)


def _built(checkout: Path, root: Path, folder: Path) -> list[Path]:
    """The modules that the sandbox needs."""
    import pybind11  # what builds the package needs it, and the tests don't

    headers = folder / "headers"
    name = f"python{_PYTHON}"
    shutil.copytree(root / "usr/include" / name, headers, dirs_exist_ok=True)
    shutil.copy2(root / f"usr/include/aarch64-linux-gnu/{name}/pyconfig.h", headers)
    given = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": "aarch64",
        "CMAKE_CXX_COMPILER": "aarch64-linux-gnu-g++",
        "Python_EXECUTABLE": sys.executable,
        "Python_INCLUDE_DIR": str(headers),
        "pybind11_DIR": pybind11.get_cmake_dir(),
    }
    options = [f"-D{key}={value}" for key, value in given.items()]
    subprocess.run(["cmake", "-S", checkout, "-B", folder, *options], check=True)
    jobs = str(os.cpu_count() or 1)
    targets = ("--target", "_sandbox", "_hot")
    subprocess.run(["cmake", "--build", folder, "--parallel", jobs, *targets], check=True)
    return sorted((folder / "csrc" / "hot").glob("*.so"))

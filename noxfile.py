"""The checks that .ci/run makes, and longer ones: `nox -s lint` runs one, `nox -l` lists them.

`nox --no-venv` runs them in the environment that is active, as .ci/run does.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox
from nox.virtualenv import PassthroughEnv

PROCESSORS = str(os.cpu_count() or 1)  # make would start every compilation at once

nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests", "lint", "types", "cpp", "docs"]


def install(session: nox.Session, *requirements: str) -> None:
    """Install into the environment that nox made; leave one that was there as it is."""
    if not isinstance(session.virtualenv, PassthroughEnv):
        session.install(*requirements)


@nox.session
def tests(session: nox.Session) -> None:
    """The Python tests, with the lines they cover."""
    install(session, "-e", ".[test]")
    session.run("pytest", "-n", "auto", "--cov", "--cov-report=term:skip-covered", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format of Python and C++."""
    install(session, "-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    sources = session.run(
        "git", "ls-files", "*.cpp", "*.hpp", external=True, silent=True, log=False
    )
    session.run("clang-format", "--dry-run", "-Werror", *str(sources).split())


@nox.session
def types(session: nox.Session) -> None:
    """Types of the package and the benchmarks; stubs against the compiled modules."""
    install(session, "-e", ".[dev]")
    session.run("mypy")
    for system in ("win32", "darwin"):  # that no check runs on
        session.run("mypy", "--platform", system, "--config-file", ".ci/mypy-elsewhere.ini")
    modules = ["llmspell._core", "llmspell._hot"]
    if sys.platform == "linux":
        modules.append("llmspell._sandbox")
    session.run("python", "-m", "mypy.stubtest", "--allowlist", ".ci/stubtest-allowlist", *modules)


@nox.session
@nox.parametrize("preset", ["default", "asan", "tsan"])
def cpp(session: nox.Session, preset: str) -> None:
    """The C++ tests of one preset, warnings as errors."""
    install(session, "cmake>=3.24")
    session.run("cmake", "--preset", preset, external=True)
    session.run("cmake", "--build", "--preset", preset, "--parallel", PROCESSORS, external=True)
    session.run("ctest", "--preset", preset, "--parallel", PROCESSORS, external=True)


@nox.session
def arm64(session: nox.Session) -> None:
    """The C++ tests for 64-bit ARM under qemu-user, with pages of 4 KiB and of 64."""
    for program in ("aarch64-linux-gnu-g++", "qemu-aarch64"):
        if shutil.which(program) is None:
            session.error(f"no {program}: Debian has g++-aarch64-linux-gnu and qemu-user")
    install(session, "cmake>=3.24")
    session.run("cmake", "--preset", "arm64", external=True)
    session.run("cmake", "--build", "--preset", "arm64", "--parallel", PROCESSORS, external=True)
    run = ("ctest", "--preset", "arm64", "--parallel", PROCESSORS)
    session.run(*run, external=True)
    env = {"QEMU_PAGESIZE": "65536"}
    session.run(*run, "-R", "^(aligned|ledger|snapshot)$", external=True, env=env)


@nox.session
def kernels(session: nox.Session) -> None:
    """The sandbox on kernels of Debian in virtual machines, as root and as a user; hours."""
    install(session, "-e", ".[test]", "cmake>=3.24", "cython>=3.3", "pybind11>=3.1")
    session.run("python", "-m", "tests.kernels", *session.posargs)


@nox.session
def cpp_coverage(session: nox.Session) -> None:
    """Lines of C++ that the C++ and the Python tests run together (gcc and gcovr)."""
    # Atomic, for threads that count a line at once would lose or wreck the count.
    flags = "CMAKE_CXX_FLAGS=--coverage -fprofile-update=atomic"
    install(session, "gcovr>=8", "cmake>=3.24", "ninja")
    install(
        session,
        f"-Ccmake.define.{flags}",
        "-Ccmake.build-type=Debug",
        "-Cbuild-dir=build/coverage-python",
        "-Cinstall.strip=false",
        "-e",
        ".[test]",
    )
    configure = ("--preset", "default", "-B", "build/coverage", "-DCMAKE_BUILD_TYPE=Debug")
    session.run("cmake", *configure, f"-D{flags}", external=True)
    session.run("cmake", "--build", "build/coverage", "--parallel", PROCESSORS, external=True)
    session.run("ctest", "--test-dir", "build/coverage", "--output-on-failure", external=True)
    folders = ("index", "property", "quota", "simd", "storage", "observability")
    session.run("pytest", "-q", *(f"tests/{folder}" for folder in folders))
    # The headers of the isolated build's own packages are gone by now, and not ours to count.
    report = ("--root", ".", "--filter", "csrc/", "--gcov-ignore-errors=no_working_dir_found")
    session.run("gcovr", *report, "build", external=True)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Snapshots made to harm, searched for by libFuzzer; arguments are its own. Needs clang."""
    names = ("clang++", *(f"clang++-{version}" for version in range(30, 14, -1)))
    compiler = next(filter(None, map(shutil.which, names)), None)
    if compiler is None:
        session.error("fuzzing needs clang with its run-time libraries")
    install(session, "cmake>=3.24")
    session.run("cmake", "--preset", "fuzz", f"-DCMAKE_CXX_COMPILER={compiler}", external=True)
    session.run("cmake", "--build", "--preset", "fuzz", "--parallel", PROCESSORS, external=True)
    found, seeds = Path("build/fuzz/corpus"), Path("build/fuzz/seeds")
    for folder in (found, seeds):
        folder.mkdir(exist_ok=True)
    session.run("build/fuzz/tests/fuzz/seed_snapshots", str(seeds), external=True)
    options = session.posargs or ["-max_total_time=300"]
    target = (
        "build/fuzz/tests/fuzz/fuzz_snapshot",
        "-max_len=262144",
        "-artifact_prefix=build/fuzz/",
    )
    session.run(*target, *options, str(found), str(seeds), external=True)


@nox.session
def fuzz_python(session: nox.Session) -> None:
    """Parsers in Python, by atheris: a target and libFuzzer's options, or all for five minutes."""
    install(session, "-e", ".[test]", "atheris>=3")
    names = sorted(path.stem for path in Path("tests/fuzz/targets").glob("[!_]*.py"))
    runs = [session.posargs] if session.posargs else [[n, "-max_total_time=300"] for n in names]
    for arguments in runs:
        session.run("python", "-m", "tests.fuzz", *arguments)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, warnings as errors."""
    install(session, "-e", ".[docs]")
    session.run("sphinx-build", "-W", "-q", "-b", "html", "docs", "docs/_build")

"""The filters that are shipped are those that libseccomp makes of their source."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FILTERS = Path(__file__).parents[3] / "csrc" / "sandbox" / "filters"
ARCHITECTURES = ("x86_64", "aarch64")
LEVELS = ("safe", "restricted", "processes", "programs", "networked")


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not Path("/usr/include/seccomp.h").exists():
        pytest.skip("no C compiler or no libseccomp-dev, from which the filters are made")
    made = tmp_path_factory.mktemp("filters") / "generate"
    source = str(FILTERS / "generate.c")
    subprocess.run(
        [compiler, "-Wall", "-Werror", "-D_GNU_SOURCE", source, "-lseccomp", "-o", str(made)],
        check=True,
    )
    return made


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("level", LEVELS)
def test_a_filter_is_what_its_source_makes(generator: Path, architecture: str, level: str) -> None:
    made = subprocess.run(
        [str(generator), architecture, level], check=True, capture_output=True, text=True
    ).stdout
    assert made.count("\n") > 100
    shipped = FILTERS / f"{level}.{architecture}.inc"
    assert shipped.read_text() == made, f"make {shipped.name} again, see generate.c"


def test_no_filter_is_without_its_source() -> None:
    shipped = {path.name for path in FILTERS.glob("*.inc")}
    assert shipped == {f"{level}.{one}.inc" for level in LEVELS for one in ARCHITECTURES}

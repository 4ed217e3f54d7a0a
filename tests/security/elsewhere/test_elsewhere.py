"""On macOS and Windows all imports, and works but for tools, which are refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_all_imports_and_works_but_for_tools(system: str, tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "pretence.py"), system, str(HERE / "uses.py")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (done.returncode, done.stdout) == (0, "all is used\n"), done.stderr

"""Examples of README and docs, as the conftest.py beside both folders runs them."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from conftest import enter_empty_folder, leave_folder


def test_what_a_page_opened_whose_end_another_process_runs_is_no_later_test_s() -> None:
    here = Path.cwd()
    page: dict[str, Any] = {}
    enter_empty_folder(page)
    try:
        page["server"] = socket.socket()
        folder = Path.cwd()
    finally:
        leave_folder(page)  # else the garbage is told of, as an error
    assert not page and not folder.exists()
    assert os.getcwd() == str(here)


def test_each_conftest_of_tests_is_in_a_package() -> None:
    # Another would take the name of the one beside both folders, for all that is imported later.
    found = [*Path(__file__).parents[1].rglob("conftest.py")]
    assert found
    assert [path for path in found if not path.with_name("__init__.py").exists()] == []

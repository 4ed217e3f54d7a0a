"""The same rules with every command in a process of its own, as people run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.isolation.elsewhere import Door
from tests.isolation.machine import NAMES, SHELL
from tests.isolation.rooms import Rooms
from tests.isolation.shell import Shell


@pytest.fixture
def rooms(doors: list[Door], data: Path, tmp_path: Path) -> Iterator[Rooms]:
    shell = Shell(data, is_process=True)
    machine = Rooms([*doors[:SHELL], Door(shell.ask, "sync", SHELL, is_shell=True)], tmp_path)
    yield machine
    machine.teardown()
    shell.close()


def test_commands_in_processes_of_their_own_keep_tenants_apart(rooms: Rooms) -> None:
    rooms.begin(names=NAMES[:3], hand=0, seed=1)
    rooms.export_and_import(SHELL, SHELL, 0)
    rooms.clone(SHELL, 0, 0, NAMES[3])
    rooms.drop(SHELL, 0)
    rooms.list_tenants(SHELL, NAMES[0])

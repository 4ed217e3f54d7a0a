"""Where control groups can be made, on hosts that mount them in their several ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmspell.security.host import control_groups
from llmspell.security.host.control_groups import ControlGroup, find_control_group, places

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = """31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def paths(controller: str, groups: str, mounts: str) -> list[str]:
    return [f"v{place.version} {place.path}" for place in places(controller, groups, mounts)]


def test_a_session_of_systemd_looks_in_its_scope_and_above() -> None:
    groups = "0::/user.slice/user-7.slice/session.scope\n"
    assert paths("memory", groups, V2_MOUNT) == [
        "v2 /sys/fs/cgroup/user.slice/user-7.slice/session.scope",
        "v2 /sys/fs/cgroup/user.slice/user-7.slice",
        "v2 /sys/fs/cgroup/user.slice",
        "v2 /sys/fs/cgroup",
    ]


def test_a_container_looks_no_higher_than_what_it_is_given() -> None:
    mount = "30 23 0:26 /docker/ab /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert paths("pids", "0::/docker/ab\n", mount) == ["v2 /sys/fs/cgroup"]
    assert paths("pids", "0::/docker/ab/in\n", mount) == [
        "v2 /sys/fs/cgroup/in",
        "v2 /sys/fs/cgroup",
    ]
    assert paths("pids", "0::/docker/abc\n", mount) == ["v2 /sys/fs/cgroup"]
    assert paths("pids", "0::/../other\n", V2_MOUNT) == ["v2 /sys/fs/cgroup"]


def test_of_both_versions_the_one_that_has_the_controller_is_taken() -> None:
    groups = "4:memory:/jobs/7\n2:cpu,cpuacct:/\n0::/\n"
    assert paths("memory", groups, HYBRID) == [
        "v1 /sys/fs/cgroup/memory/jobs/7",
        "v1 /sys/fs/cgroup/memory/jobs",
        "v1 /sys/fs/cgroup/memory",
    ]
    assert paths("pids", groups, HYBRID) == ["v2 /sys/fs/cgroup/unified"]


def test_escaped_mount_points_and_colons_in_groups_are_read() -> None:
    mount = r"30 23 0:26 / /mnt/µ\040my\134groups rw - cgroup2 cgroup2 rw" + "\n"
    assert paths("memory", "0::/a:b\n", mount)[0] == r"v2 /mnt/µ my\groups/a:b"


@pytest.mark.parametrize(
    "groups, mounts", [("", ""), ("0::/\n", HYBRID.splitlines()[0]), ("", V2_MOUNT)]
)
def test_nothing_mounted_is_no_place(groups: str, mounts: str) -> None:
    assert paths("memory", groups, mounts) == []


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory that is the only place, and is no control group's."""
    place = ControlGroup(2, str(tmp_path))
    monkeypatch.setattr(control_groups, "places", lambda *_: iter([place]))
    return tmp_path


def test_a_controller_that_is_not_handed_down_is_named(only: Path) -> None:
    found, why = find_control_group("memory")
    assert found is None
    assert why == f"{only}/cgroup.subtree_control doesn't hand memory down"
    assert list(only.iterdir()) == []


def test_a_place_that_is_not_there_is_named(only: Path) -> None:
    only.rmdir()
    found, why = find_control_group("pids")
    assert (found, why) == (None, f"{only} takes no group: ENOENT")

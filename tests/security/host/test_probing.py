"""What this host can enforce: measured, and missed where the kernel lacks it or lies."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import ConfigError
from llmspell.security import SecurityLevel, SecurityRequirements
from llmspell.security.host import probing
from llmspell.security.host.control_groups import ControlGroup
from llmspell.security.host.probing import MEASURES, HostSupport, probe

SAFE, RESTRICTED, PRIVILEGED = SecurityLevel
GROUP = ControlGroup(2, "/sys/fs/cgroup/tools")
ALL = HostSupport(
    no_new_privs=True,
    landlock_abi=6,
    seccomp=True,
    user_namespaces=True,
    network_namespaces=True,
    memory_group=GROUP,
    pids_group=GROUP,
    openat2=True,
    pidfd=True,
)

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is for Linux")
NUMBERS = {"x86_64": {"prctl": 157, "unshare": 272}, "aarch64": {"prctl": 167, "unshare": 97}}
OF_MACHINE = NUMBERS.get(platform.machine(), {})
LANDLOCK_CREATE, LANDLOCK_RESTRICT, OPENAT2, PIDFD_OPEN, PIDFD_SIGNAL = 444, 446, 437, 434, 424


@pytest.fixture(scope="module")
def here() -> HostSupport:
    return probe()


def trials_refused(number: int, error: int) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("refusing.py")), str(number), str(error)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return dict(json.loads(done.stdout))


def test_every_measure_is_a_field_that_holds_or_has_a_reason(here: HostSupport) -> None:
    assert {field.name for field in fields(HostSupport)} == {*MEASURES, "reasons"}
    for measure in MEASURES:
        assert bool(getattr(here, measure)) == (here.why_not(measure) == "")
        assert here.why_not(measure) != "not tried"


def test_a_probe_leaves_no_group_behind(here: HostSupport) -> None:
    for group in {here.memory_group, here.pids_group} - {None}:
        assert list(Path(group.path).glob(f"llmspell-trial-{os.getpid()}-*")) == []


@on_linux
def test_a_probe_confines_a_child_and_not_the_caller(here: HostSupport) -> None:
    before = Path("/proc/self/status").read_text(encoding="utf-8")
    probe()
    after = Path("/proc/self/status").read_text(encoding="utf-8")
    for name in ("NoNewPrivs", "Seccomp", "Seccomp_filters"):
        kept = [line for line in before.splitlines() if line.startswith(f"{name}:")]
        assert kept == [line for line in after.splitlines() if line.startswith(f"{name}:")]
    assert Path("/").is_dir() and list(Path("/").iterdir())


@on_linux
@pytest.mark.parametrize(
    "name, number, error, why",
    [
        ("landlock_abi", LANDLOCK_CREATE, errno.ENOSYS, "landlock_create_ruleset: ENOSYS"),
        ("landlock_abi", LANDLOCK_CREATE, errno.ENOTSUP, "landlock_create_ruleset: ENOTSUP"),
        ("landlock_abi", LANDLOCK_RESTRICT, 0, "/ could still be listed"),
        ("openat2", OPENAT2, errno.ENOSYS, "openat2: ENOSYS"),
        ("openat2", OPENAT2, 0, ".. could be opened"),
        ("pidfd", PIDFD_OPEN, errno.ENOSYS, "pidfd_open: ENOSYS"),
        ("pidfd", PIDFD_SIGNAL, errno.EPERM, "pidfd_send_signal: EPERM"),
        ("user_namespaces", "unshare", errno.EPERM, "unshare(CLONE_NEWUSER): EPERM"),
        ("user_namespaces", "unshare", 0, "the namespace is the same"),
        ("network_namespaces", "unshare", errno.EPERM, "unshare(CLONE_NEWNET): EPERM"),
        ("network_namespaces", "unshare", 0, "the namespace is the same"),
        ("no_new_privs", "prctl", errno.EINVAL, "PR_SET_NO_NEW_PRIVS: EINVAL"),
        ("no_new_privs", "prctl", 0, "PR_SET_NO_NEW_PRIVS was taken and isn't set"),
        ("seccomp", "prctl", errno.EINVAL, "EINVAL"),
    ],
)
def test_what_the_kernel_lacks_or_lies_about_is_missed(
    here: HostSupport, name: str, number: int | str, error: int, why: str
) -> None:
    if not (here.seccomp and getattr(here, name)):
        pytest.skip(f"{name} isn't here to be taken away, or no filter to take it")
    if isinstance(number, str):
        if number not in OF_MACHINE:
            pytest.skip(f"the number of {number} isn't known on {platform.machine()}")
        number = OF_MACHINE[number]
    answer = trials_refused(number, error)[name]
    assert "value" not in answer
    assert why in answer["reason"]


@on_linux
def test_what_is_not_taken_away_still_holds(here: HostSupport) -> None:
    if not here.seccomp:
        pytest.skip("no filter to take anything away with")
    answers = trials_refused(OPENAT2, errno.ENOSYS)
    for name in ("no_new_privs", "landlock_abi", "seccomp", "user_namespaces", "pidfd"):
        assert answers[name].get("value", 0) == getattr(here, name)


@pytest.mark.parametrize(
    "executable, why",
    [("", "no Python to start"), ("/no/such/python", "FileNotFoundError"), ("/bin/false", "1")],
)
def test_a_host_on_which_nothing_can_be_tried_has_nothing(
    monkeypatch: pytest.MonkeyPatch, executable: str, why: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "executable", executable)
    support = probe()
    assert not any(getattr(support, measure) for measure in MEASURES)
    assert all(why in support.why_not(measure) for measure in MEASURES)


def test_another_system_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for level in SecurityLevel:
        assert "darwin isn't Linux" in " ".join(probe().missing_for(level))


def test_a_trial_without_end_counts_as_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "trials.py").write_text("import time; time.sleep(600)", encoding="utf-8")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(probing, "_TRIALS", tmp_path / "trials.py")
    monkeypatch.setattr(probing, "_SECONDS", 0.05)
    assert "TimeoutExpired" in probe().why_not("seccomp")


@pytest.mark.parametrize("level", SecurityLevel)
def test_a_host_with_everything_lacks_nothing(level: SecurityLevel) -> None:
    assert ALL.missing_for(level) == ()


@pytest.mark.parametrize(
    "name, value, lacking",
    [
        ("no_new_privs", False, {SAFE, RESTRICTED, PRIVILEGED}),
        ("seccomp", False, {SAFE, RESTRICTED, PRIVILEGED}),
        ("pidfd", False, {SAFE, RESTRICTED, PRIVILEGED}),
        ("landlock_abi", 0, {SAFE, RESTRICTED, PRIVILEGED}),
        ("landlock_abi", 2, {RESTRICTED, PRIVILEGED}),
        ("landlock_abi", 3, {PRIVILEGED}),
        ("landlock_abi", 5, {PRIVILEGED}),
        ("network_namespaces", False, {PRIVILEGED}),
        ("user_namespaces", False, set()),
        ("openat2", False, set()),
        ("memory_group", None, set()),
    ],
)
def test_one_thing_missing_is_named_for_the_levels_that_need_it(
    name: str, value: Any, lacking: set[SecurityLevel]
) -> None:
    held = {field.name: getattr(ALL, field.name) for field in fields(ALL)}
    support = HostSupport(**held | {name: value, "reasons": ((name, "ENOSYS"),)})
    for level in SecurityLevel:
        missing = support.missing_for(level)
        assert [text.split()[0].rstrip(":") for text in missing] == [name] * (level in lacking)


supports = st.builds(
    HostSupport,
    landlock_abi=st.integers(0, 8),
    memory_group=st.none() | st.just(GROUP),
    pids_group=st.none() | st.just(GROUP),
    **{
        name: st.booleans()
        for name in (
            "no_new_privs", "seccomp", "user_namespaces", "network_namespaces", "openat2", "pidfd",
        )
    },
)  # fmt: skip


@settings(deadline=None)
@given(supports)
def test_a_higher_level_never_needs_less(support: HostSupport) -> None:
    counts = [len(support.missing_for(level)) for level in sorted(SecurityLevel)]
    assert counts == sorted(counts)


@settings(deadline=None)
@given(supports, st.integers(0, 16))
def test_processes_need_control_groups_and_signals_kept_inside(
    support: HostSupport, processes: int
) -> None:
    required = SecurityRequirements.restricted().with_processes(processes)
    more = set(support.missing_for(required)) - set(support.missing_for(RESTRICTED))
    names = {"memory_group", "pids_group"} if processes else set()
    lacking = {name for name in names if getattr(support, name) is None}
    if processes and 3 <= support.landlock_abi < 6:
        lacking.add(f"landlock_abi is {support.landlock_abi}, and 6 is needed for signals")
    if processes and 0 < support.landlock_abi < 3:
        more = {text for text in more if not text.startswith("landlock_abi")}
    assert {text.split(":")[0].removesuffix(" of processes") for text in more} == lacking


def test_only_a_level_or_requirements_can_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="needed must be"):
        ALL.missing_for("safe")  # type: ignore[arg-type]

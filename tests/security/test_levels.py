"""The order of the levels, and what a tool is refused at each."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import ConfigError, LevelMismatch, RequirementDenied
from llmspell.security import SecurityLevel, SecurityRequirements, check_level

SAFE, RESTRICTED, PRIVILEGED = SecurityLevel
LEAST = {
    SAFE: SecurityRequirements.safe(),
    RESTRICTED: SecurityRequirements.restricted(),
    PRIVILEGED: SecurityRequirements.privileged(),
}
MEMORY = {SAFE: 50 << 20, RESTRICTED: 100 << 20, PRIVILEGED: 500 << 20}
PROCESSES = {SAFE: 0, RESTRICTED: 16, PRIVILEGED: 256}

levels = st.sampled_from(list(SecurityLevel))


def test_safe_is_below_restricted_is_below_privileged() -> None:
    assert SAFE < RESTRICTED < PRIVILEGED
    assert sorted([PRIVILEGED, SAFE, RESTRICTED]) == [SAFE, RESTRICTED, PRIVILEGED]


@settings(deadline=None)
@given(levels, levels, levels)
def test_levels_are_totally_ordered(a: SecurityLevel, b: SecurityLevel, c: SecurityLevel) -> None:
    assert (a < b) + (a == b) + (a > b) == 1
    assert (a <= b) == (a < b or a == b) == (not a > b)
    assert (a >= b) == (b <= a)
    if a <= b <= c:
        assert a <= c


@pytest.mark.parametrize("other", [0, "safe", None])
def test_a_level_has_no_order_with_anything_else(other: object) -> None:
    for compare in ("__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(SAFE, compare)(other) is NotImplemented
    assert other != SAFE


@pytest.mark.parametrize("level", SecurityLevel)
def test_a_level_is_stored_as_its_value_and_pickled_as_itself(level: SecurityLevel) -> None:
    assert SecurityLevel(level.value) is level
    assert pickle.loads(pickle.dumps(level)) is level


@pytest.mark.parametrize("level", SecurityLevel)
def test_who_asks_for_nothing_has_the_memory_of_the_level_and_no_more(
    level: SecurityLevel,
) -> None:
    least = LEAST[level]
    assert (least.level, least.memory_bytes, least.processes) == (level, MEMORY[level], 0)
    assert least.read_only == least.writable == least.domains == least.environment == ()


@pytest.mark.parametrize("level", SecurityLevel)
def test_a_level_takes_as_much_as_its_limit_and_not_one_more(level: SecurityLevel) -> None:
    least, memory, processes = LEAST[level], MEMORY[level], PROCESSES[level]
    assert least.with_memory_limit(memory).memory_bytes == memory
    assert least.with_processes(processes).processes == processes
    with pytest.raises(RequirementDenied, match=f"at most {memory:,}") as denied:
        least.with_memory_limit(memory + 1)
    assert (denied.value.requirement, denied.value.level) == ("memory_bytes", level.value)
    with pytest.raises(RequirementDenied, match=f"at most {processes:,}"):
        least.with_processes(processes + 1)


@pytest.mark.parametrize(
    "call, value, name",
    [
        ("with_file_access", "/workspace", "writable"),
        ("with_read_only", "/workspace", "read_only"),
        ("with_network_access", "api.company.com", "domains"),
        ("with_network_access", "*", "domains"),
        ("with_environment", "LANG", "environment"),
        ("with_processes", 1, "processes"),
    ],
)
def test_safe_has_no_files_network_environment_or_processes(
    call: str, value: object, name: str
) -> None:
    with pytest.raises(RequirementDenied) as denied:
        getattr(LEAST[SAFE], call)(value)
    assert denied.value.requirement == name
    assert str(denied.value).endswith("or make it restricted, or make it privileged")


@pytest.mark.parametrize("path", ["/", "//", "/./", "/proc", "/proc/self/mem", "/sys", "/dev/shm"])
def test_only_privileged_has_the_root_and_the_kernels_files(path: str) -> None:
    for write in (True, False):
        with pytest.raises(RequirementDenied, match="or make it privileged"):
            LEAST[RESTRICTED].with_file_access(path, write=write)
        LEAST[PRIVILEGED].with_file_access(path, write=write)


@pytest.mark.parametrize("path", ["/processes", "/device", "/srv/proc", "/system"])
def test_a_path_that_only_looks_like_the_kernels_is_fine(path: str) -> None:
    assert LEAST[RESTRICTED].with_read_only(path).read_only == (path,)


def test_only_privileged_has_every_host() -> None:
    with pytest.raises(RequirementDenied, match="every host"):
        LEAST[RESTRICTED].with_network_access("*")
    assert LEAST[PRIVILEGED].with_network_access("*").domains == ("*",)


@settings(deadline=None)
@given(levels, levels)
def test_a_tool_is_refused_unless_its_requirements_are_of_its_level(
    declared: SecurityLevel, required: SecurityLevel
) -> None:
    if declared is required:
        check_level(declared, LEAST[required])
        return
    with pytest.raises(LevelMismatch) as mismatch:
        check_level(declared, LEAST[required])
    assert mismatch.value.declared == declared.value
    assert mismatch.value.required == required.value
    assert f"SecurityRequirements.{declared.value}()" in str(mismatch.value)


def test_check_takes_a_level_and_requirements_alone() -> None:
    with pytest.raises(ConfigError, match="level must be a SecurityLevel, got 'safe'"):
        check_level("safe", LEAST[SAFE])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must be SecurityRequirements"):
        check_level(SAFE, {"level": "safe"})  # type: ignore[arg-type]


def test_errors_of_levels_survive_a_pickle() -> None:
    with pytest.raises(RequirementDenied) as denied:
        LEAST[SAFE].with_processes(1)
    again = pickle.loads(pickle.dumps(denied.value))
    assert (str(again), again.requirement) == (str(denied.value), "processes")

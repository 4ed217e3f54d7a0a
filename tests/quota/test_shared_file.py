"""What only the native ledger promises: one file, many processes, damage and death."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from llmspell import _hot
from llmspell.config import QuotaLimits
from llmspell.errors import QuotaExceeded, StorageError
from llmspell.quota import Quota, _native

KEY = b"k" * 16

RESERVE = """
import sys
from llmspell.quota._native import Ledger
slot = Ledger(sys.argv[1]).slot(b"k" * 16)
reservation = slot.reserve(documents=1, vectors=10, storage=1000, tokens=7, cost=9)
print("reserved", flush=True)
sys.stdin.readline()
"""

LATE = """
import sys
from llmspell.errors import ReservationExpired
from llmspell.quota._native import Ledger
reservation = Ledger(sys.argv[1]).slot(b"k" * 16).reserve(vectors=10, lease=0.01)
print("reserved", flush=True)
sys.stdin.readline()
try:
    reservation.settle()
except ReservationExpired:
    print("expired")
"""


def start(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_names_of_quotas_agree_with_the_native_ones() -> None:
    assert tuple(quota.limit_name for quota in Quota) == _hot.QUOTA_NAMES


def test_killed_process_gives_back_what_it_had_reserved(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = _native.Ledger(path)
    slot = ledger.slot(KEY)
    slot.charge(Quota.VECTORS, 3)
    process = start(RESERVE, path)
    assert process.stdout is not None and process.stdout.readline() == "reserved\n"
    assert slot.read(Quota.VECTORS)[0] == 13
    assert ledger.sweep() == 0
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert _native.Ledger(path).slot(KEY).usage().vectors.used == 3
    usage = slot.usage()
    assert (usage.documents.used, usage.storage.used) == (0, 0)
    assert (usage.tokens.used, usage.cost.used) == (0, 0)
    assert ledger.sweep() == 0


@pytest.mark.parametrize("quota", [Quota.VECTORS, Quota.TOKENS])
def test_what_a_killed_process_held_does_not_refuse_others(tmp_path: Path, quota: Quota) -> None:
    path = tmp_path / "ledger"
    slot = _native.Ledger(path).slot(KEY)
    slot.set_limit(quota, 10)
    process = start(RESERVE, path)
    assert process.stdout is not None and process.stdout.readline() == "reserved\n"
    with pytest.raises(QuotaExceeded):
        slot.charge(quota, 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.15)  # a process sweeps for this once in 100 ms at most
    slot.charge(quota, 10)


def test_a_stopped_process_is_told_that_its_lease_has_passed(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    slot = _native.Ledger(path).slot(KEY)
    process = start(LATE, path)
    assert process.stdout is not None and process.stdout.readline() == "reserved\n"
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    assert slot.ledger.sweep() == 1
    process.send_signal(signal.SIGCONT)
    assert process.communicate("go\n")[0] == "expired\n"
    assert slot.usage().vectors.used == 0


def test_slots_are_small(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    _native.Ledger(path, 100_000)
    assert path.stat().st_size <= 100_000 * 1_024


def test_reservation_waits_while_its_tenant_has_as_many_as_it_leaves(tmp_path: Path) -> None:
    ledger = _native.Ledger(tmp_path / "ledger")
    slot = ledger.slot(KEY)
    # A thread looks for a place where it found the ones before, and so meets all of them.
    open_ones = [slot.reserve(vectors=1) for _ in range(1_900)]
    waited_at = 0

    def give_back() -> None:
        nonlocal waited_at
        seen = 1_900
        while len(open_ones) == seen:
            time.sleep(0.01)
        while seen < len(open_ones):
            seen = len(open_ones)
            time.sleep(0.2)
        ledger.slot(b"o" * 16).reserve(vectors=1).settle()  # others don't wait
        waited_at = seen
        for one in open_ones[:400]:
            one.cancel()

    giving = threading.Thread(target=give_back)
    giving.start()
    for _ in range(400):
        open_ones.append(slot.reserve(vectors=1))
    giving.join()
    assert 1_900 < waited_at < 2_200
    assert slot.read(Quota.VECTORS)[0] == 1_900


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_forked_child_reserves_in_its_own_name(tmp_path: Path) -> None:
    ledger = _native.Ledger(tmp_path / "ledger")
    slot = ledger.slot(KEY)
    mine = slot.reserve(vectors=1)
    child = os.fork()
    if child == 0:
        held = slot.reserve(vectors=10)
        os._exit(0 if held is not None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert slot.read(Quota.VECTORS)[0] == 11
    assert ledger.sweep() == 1
    assert slot.read(Quota.VECTORS)[0] == 1
    mine.cancel()
    assert slot.read(Quota.VECTORS)[0] == 0


def test_counts_outlive_the_process_that_made_them(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    slot = _native.Ledger(path).slot(KEY)
    slot.set_limits(QuotaLimits(max_embeddings_per_day=10))
    slot.charge(Quota.EMBEDDINGS, 10)
    del slot
    again = _native.Ledger(path).slot(KEY)
    with pytest.raises(QuotaExceeded):
        again.charge(Quota.EMBEDDINGS)


@pytest.mark.parametrize("where", [0, 8, 12, 16, 20, 24, 40, 72, 80, 88])
def test_damaged_header_is_rebuilt(tmp_path: Path, where: int) -> None:
    path = tmp_path / "ledger"
    _native.Ledger(path).slot(KEY).charge(Quota.VECTORS, 5)
    # Of a clock that has gone on, so that it isn't taken for a change that was cut short.
    _native.Ledger(path)
    content = bytearray(path.read_bytes())
    content[where] ^= 0x10
    path.write_bytes(content)
    ledger = _native.Ledger(path)
    assert len(ledger) == 0
    assert ledger.slot(KEY).read(Quota.VECTORS) == (0, None)


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 5000, bytes(1 << 20)])
def test_foreign_file_is_rebuilt(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(content)
    slot = _native.Ledger(path).slot(KEY)
    slot.charge(Quota.VECTORS, 5)
    assert slot.read(Quota.VECTORS) == (5, None)


def test_file_of_version_1_is_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"LLMSLEDG" + (1).to_bytes(4, "little") + bytes(4_084 + 1_280 * 8))
    ledger = _native.Ledger(path)
    assert len(ledger) == 0
    assert int.from_bytes(path.read_bytes()[8:12], "little") == 2


def test_damage_under_an_open_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = _native.Ledger(path)
    with path.open("r+b") as file:
        file.write(b"damaged!")
    with pytest.raises(StorageError, match="other processes"):
        _native.Ledger(path)
    del ledger
    assert len(_native.Ledger(path)) == 0


def test_full_ledger_grows_under_all_who_have_it_open(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger, other = _native.Ledger(path, 6), _native.Ledger(path, 6)
    at_first = ledger.capacity
    early = ledger.slot(KEY)
    early.charge(Quota.VECTORS, 7)
    keys = [(1_000 + i).to_bytes(16, "little") for i in range(20 * at_first)]
    for i, key in enumerate(keys):
        (ledger, other)[i % 2].slot(key).charge(Quota.VECTORS, i)
    assert ledger.capacity >= len(ledger) == len(other) == len(keys) + 1
    for one in (other, ledger):
        assert [one.slot(key).read(Quota.VECTORS)[0] for key in keys] == list(range(len(keys)))
    early.charge(Quota.VECTORS, 1)
    assert other.slot(KEY).read(Quota.VECTORS) == (8, None)
    capacity = ledger.capacity
    del ledger, other, one, early
    again = _native.Ledger(path, 6)
    assert again.capacity == capacity
    assert [again.slot(key).read(Quota.VECTORS)[0] for key in keys] == list(range(len(keys)))


def test_ledger_that_the_disk_has_no_room_for_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = _native.Ledger(path, 6)
    keys = [i.to_bytes(16, "little") for i in range(ledger.capacity)]
    for i, key in enumerate(keys):
        ledger.slot(key).charge(Quota.VECTORS, i)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            ledger.slot(KEY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [ledger.slot(key).read(Quota.VECTORS)[0] for key in keys] == list(range(len(keys)))
    assert ledger.slot(KEY).read(Quota.VECTORS) == (0, None)


def test_missing_directory_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        _native.Ledger(tmp_path / "missing" / "ledger")


def test_environment_variable_chooses_the_pure_twin() -> None:
    code = "from llmspell.quota import Ledger; print(Ledger.__module__)"
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LLMSPELL_PURE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout == "llmspell.quota._pure\n"


HIDDEN = """
import os, pathlib, sys
from llmspell.quota import _native
root = pathlib.Path(sys.argv[1])
root.chmod(0o777)
ledger = _native.Ledger(root / "ledger")
held = ledger.slot(b"k" * 16).reserve(tokens=5)
for path in root.iterdir():
    path.chmod(0o666)
child = os.fork()
if child == 0:
    os.chdir(root)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    os._exit(_native.Ledger("ledger").sweep())
assert os.waitpid(child, 0)[1] == 0, "a living process lost what it held"
held.settle()
"""


def test_process_of_a_user_whose_processes_are_hidden_is_alive(tmp_path: Path) -> None:
    mount = "mount -t proc -o hidepid=2 proc /proc || exit 77; exec "
    command = shlex.join([sys.executable, "-c", HIDDEN, str(tmp_path / "shared")])
    (tmp_path / "shared").mkdir()
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("takes root and unshare")
    found = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount + command], capture_output=True, text=True
    )
    if found.returncode == 77 or "unshare" in found.stderr:
        pytest.skip("takes a file system of processes of its own")
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("count", [0, 2**63, 2**64 - 1])
def test_damaged_count_of_slots_neither_fills_the_file_nor_the_disk(
    tmp_path: Path, count: int
) -> None:
    path = tmp_path / "ledger"
    ledger = _native.Ledger(path, 6)
    keys = [bytes([i]) * 16 for i in range(30)]
    slots = [ledger.slot(key) for key in keys[:6]]
    with path.open("r+b") as file:
        file.seek(104)  # `live` of the header, see csrc/ledger/format.hpp
        file.write(count.to_bytes(8, "little"))
    slots += [ledger.slot(key) for key in keys[6:]]
    assert (len(ledger), ledger.capacity) == (30, 48)
    for i, slot in enumerate(slots):
        slot.charge(Quota.VECTORS, i)
    assert [ledger.slot(key).read(Quota.VECTORS)[0] for key in keys] == list(range(30))


def test_what_somebody_appended_beyond_all_growth_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    slot = _native.Ledger(path, 6).slot(KEY)
    slot.charge(Quota.TOKENS, 7)
    del slot
    os.truncate(path, 1 << 36)
    ledger = _native.Ledger(path, 6)
    assert ledger.capacity <= 1 << 22
    assert ledger.slot(KEY).read(Quota.TOKENS)[0] == 7


@pytest.mark.parametrize("offset", [-1_000, 1_000])
def test_process_with_another_clock_takes_nothing_from_the_living(
    tmp_path: Path, offset: int
) -> None:
    path = tmp_path / "ledger"
    slot = _native.Ledger(path).slot(KEY)
    held = slot.reserve(tokens=5)
    if shutil.which("unshare") is None or time.monotonic() < 1_000:
        pytest.skip("takes unshare")
    inside = ["unshare", "--time", "--boottime", str(offset), "--fork", sys.executable, "-c"]
    program = f"from llmspell.quota import _native; _native.Ledger({str(path)!r})"
    found = subprocess.run([*inside, program], capture_output=True, text=True)
    if "unshare: " in found.stderr:
        pytest.skip("takes a time namespace")
    assert "another start of the machine" in found.stderr
    held.settle()
    assert slot.read(Quota.TOKENS)[0] == 5

"""What the validators deny, in the audit log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from llmspell.errors import (
    CommandDenied,
    ConfigError,
    HostUnresolved,
    InvalidCommand,
    InvalidPath,
    InvalidUrl,
    PathEscape,
    PathNotAllowed,
    SecurityError,
    UrlDenied,
)
from llmspell.security import (
    AuditLog,
    CommandValidator,
    DomainRules,
    FileSandbox,
    PathBeneath,
    PathValidator,
    ProgramRule,
    Text,
    UrlValidator,
    read_audit,
)
from tests.security.audit.sinks import Keeping, Kept
from tests.security.urls.zone import Zone


@pytest.fixture
def sink() -> Keeping:
    return Keeping()


@pytest.fixture
def sandbox(tmp_path: Path, sink: Keeping) -> FileSandbox:
    for name in ("room", "manual"):
        (tmp_path / name).mkdir()
    (tmp_path / "room" / "link").symlink_to("/etc/passwd")
    (tmp_path / "room" / "file").write_text("x")
    return FileSandbox(
        [tmp_path / "room"], read_only=[tmp_path / "manual"], audit=sink, tenant="acme"
    )


FILES: list[tuple[str, type[SecurityError], Callable[[FileSandbox, str], object]]] = [
    ("../x", PathEscape, lambda sandbox, path: sandbox.open(path)),
    ("/etc/passwd", PathNotAllowed, lambda sandbox, path: sandbox.absolute(path)),
    ("link", PathEscape, lambda sandbox, path: sandbox.open_fd(path)),
    ("link", PathEscape, lambda sandbox, path: sandbox.stat(path)),
    ("link/x", PathEscape, lambda sandbox, path: sandbox.mkdir(path, parents=True)),
    ("link", PathEscape, lambda sandbox, path: sandbox.mkdir(path, exist_ok=True)),
    ("link/x", PathEscape, lambda sandbox, path: sandbox.listdir(path)),
    ("link/x", PathEscape, lambda sandbox, path: sandbox.unlink(path)),
    ("link/x", PathEscape, lambda sandbox, path: sandbox.rmdir(path)),
    ("link/x", PathEscape, lambda sandbox, path: sandbox.rename("file", path)),
    ("{manual}/x", PathNotAllowed, lambda sandbox, path: sandbox.open(path, "w")),
    ("{manual}/x", PathNotAllowed, lambda sandbox, path: sandbox.rename("file", path)),
]


@pytest.mark.parametrize(("path", "error", "call"), FILES)
def test_each_denial_of_a_sandbox_is_recorded_once(
    path: str,
    error: type[SecurityError],
    call: Callable[[FileSandbox, str], object],
    sandbox: FileSandbox,
    sink: Keeping,
    tmp_path: Path,
) -> None:
    asked = path.format(manual=tmp_path / "manual")
    with pytest.raises(error):
        call(sandbox, asked)
    (kept,) = sink.kept
    assert kept[:4] == ("file.access", asked, "denied", "acme")
    assert kept.details["error"] == error.__name__


def test_what_is_allowed_or_not_there_is_no_denial(sandbox: FileSandbox, sink: Keeping) -> None:
    with sandbox.open("file", "r+") as file:
        assert file.read() == "x"
    with pytest.raises(FileNotFoundError):
        sandbox.open("none")
    with pytest.raises(InvalidPath):
        sandbox.open("a\0b")
    assert sink.kept == []


def test_a_special_file_and_one_with_two_names_are_denied(tmp_path: Path, sink: Keeping) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "one").write_text("x")
    os.link(tmp_path / "one", tmp_path / "two")
    sandbox = FileSandbox([tmp_path], single_links=True, audit=sink)
    for name in ("fifo", "two"):
        with pytest.raises(PathNotAllowed):
            sandbox.open(name)
    details = {"error": "PathNotAllowed", "root": str(tmp_path)}
    assert sink.kept == [
        Kept("file.access", name, "denied", None, details | {"component": name})
        for name in ("fifo", "two")
    ]


def test_denials_of_paths_are_recorded(sink: Keeping) -> None:
    paths = PathValidator(["/workspace"], audit=sink, tenant="acme")
    paths.validate("/workspace/a")
    for path, error in (("a/../b", PathEscape), ("/workspace-evil/x", PathNotAllowed)):
        with pytest.raises(error):
            paths.validate(path)
        details = {"error": error.__name__}
        assert sink.kept.pop() == Kept("file.access", path, "denied", "acme", details)
    with pytest.raises(InvalidPath):
        paths.validate("a\nb")
    assert sink.kept == []


def test_denials_of_commands_are_recorded_without_arguments(
    sink: Keeping, sandbox: FileSandbox
) -> None:
    rules = {"echo": ProgramRule(rest=Text(9)), "cat": ProgramRule(rest=PathBeneath(sandbox))}
    commands = CommandValidator(rules, audit=sink, tenant="acme")
    commands.validate("echo hello")
    with pytest.raises(InvalidCommand):
        commands.validate("echo a; id")
    assert sink.kept == []
    for command, program, refused in (
        ("curl -u me:hunter22", "curl", "program"),
        ("echo hunter22hunter22", "echo", "argument"),
    ):
        with pytest.raises(CommandDenied):
            commands.validate(command)
        details = {"error": "CommandDenied", "refused": refused}
        assert sink.kept.pop() == Kept("command.run", program, "denied", "acme", details)
        assert sink.kept == []
    # A file that the command may not have is a denial of the sandbox, too.
    with pytest.raises(CommandDenied):
        commands.validate("cat link")
    assert [(one.kind, one.subject) for one in sink.kept] == [
        ("file.access", str(sandbox.absolute("link"))),
        ("command.run", "cat"),
    ]


def test_denials_of_urls_are_recorded_without_path_and_query(sink: Keeping) -> None:
    zone = Zone({"a.com": ["8.8.8.8"], "in.a.com": ["10.1.2.3"]})
    urls = UrlValidator(
        DomainRules(["a.com", "in.a.com", "none.a.com", "2a00::1"]),
        resolver=zone,
        ports=[80, 443],
        max_redirects=1,
        denied=["8.8.8.8"],
        audit=sink,
        tenant="acme",
    )
    other = UrlValidator(DomainRules(["a.com"]), resolver=zone, max_redirects=1, audit=sink)
    checked = other.validate("https://a.com/")
    followed = other.follow(checked, "/2")
    for call, subject, scheme, reason in (
        (lambda: urls.validate("http://b.com/hunter22?key=hunter22"), "b.com:80", "http", "host"),
        (lambda: urls.validate("https://[2a00::2]/"), "[2a00::2]:443", "https", "host"),
        (lambda: urls.validate("http://a.com:81/"), "a.com:81", "http", "port"),
        (lambda: urls.validate("http://a.com/"), "a.com:80", "http", "address"),
        (lambda: urls.validate("http://in.a.com/"), "in.a.com:80", "http", "address"),
        (lambda: other.follow(followed, "/3"), "a.com:443", "https", "redirects"),
        (lambda: other.follow(checked, "http://a.com/"), "a.com:80", "http", "downgrade"),
        (lambda: other.follow(checked, "https://b.com/"), "b.com:443", "https", "host"),
    ):
        with pytest.raises(UrlDenied) as caught:
            call()
        (kept,) = sink.kept
        sink.kept.clear()
        details = {"error": "UrlDenied", "scheme": scheme, "reason": reason}
        assert kept[:3] == ("network.access", subject, "denied") and kept.details == details
        assert caught.value.reason == reason
    with pytest.raises(InvalidUrl):
        urls.validate("http://a.com\\b/")
    with pytest.raises(HostUnresolved):
        urls.validate("http://none.a.com/")
    assert sink.kept == []


def test_a_denial_stands_where_it_cannot_be_recorded(caplog: pytest.LogCaptureFixture) -> None:
    paths = PathValidator(audit=Keeping("denied"))
    with pytest.raises(PathEscape) as caught:
        paths.validate("../x")
    assert caught.value.__notes__ == ["not in the audit log: the disk is full"]
    assert "isn't in the audit log" in caplog.text


def test_a_loop_of_denials_is_counted(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "log") as log:
        paths = PathValidator(audit=log, tenant="acme")
        for number in range(1000):
            for path in ("../x", f"/{number}", "../\udcff"):
                with pytest.raises((PathEscape, PathNotAllowed)):
                    paths.validate(path)
    records = list(read_audit(tmp_path / "log"))
    assert sum(record.count for record in records) == 3000
    assert len(records) < 60


@pytest.mark.parametrize("guard", [PathValidator, CommandValidator, UrlValidator, FileSandbox])
@pytest.mark.parametrize("wrong", [{"audit": "log"}, {"audit": 7}, {"tenant": ""}, {"tenant": 7}])
def test_what_is_no_sink_and_no_tenant_is_refused(
    guard: Callable[..., object], wrong: dict[str, Any], tmp_path: Path
) -> None:
    first: dict[Any, Any] = {
        PathValidator: ["/workspace"],
        CommandValidator: {},
        UrlValidator: DomainRules(["a.com"]),
        FileSandbox: [tmp_path],
    }
    with pytest.raises(ConfigError, match=r"audit|tenant"):
        guard(first[guard], **wrong)


def test_a_guard_without_a_sink_loads_no_log() -> None:
    program = (
        "import sys; from llmspell.security import PathValidator\n"
        "try: PathValidator().validate('../x')\n"
        "except PermissionError: print('llmspell.security.audit' in sys.modules)"
    )
    done = run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

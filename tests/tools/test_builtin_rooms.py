"""Tools made for one directory, file, host or list of programs: what they may, and no more."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import tarfile
import zipfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from llmspell import Tenant
from llmspell.errors import ConfigError
from llmspell.security import (
    Broker,
    Matching,
    ProgramRule,
    Sandbox,
    SecurityLevel,
    ToolDefinition,
    host,
)
from llmspell.tools import FaultKind, TenantTools, ToolRegistry
from llmspell.tools.builtin import (
    archive_tools,
    command_tool,
    file_tools,
    sqlite_tools,
    web_tools,
)
from tests.security.broker.servers import Server, ok, redirect

pytestmark = pytest.mark.usefixtures("confines")

PAGE = b"""<html><head><title>Tea</title><style>p {}</style></head><body><h1>Tea &amp; co</h1>
<script>alert(1)</script><p>Hot <b>tea</b>, <a href="/more">more</a>.</p>
<ul><li>green</li><li>black</li></ul></body></html>"""


def to_loopback(definition: ToolDefinition) -> Broker:
    """a.test is the loopback, as an owner may allow."""
    return Broker(
        [*definition.requirements.domains, "127.0.0.1"],
        resolver=lambda name, port: [ip_address("127.0.0.1")],
    )


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with files, archives and a database, and what lies beside it."""
    above = tmp_path_factory.mktemp("above")
    (above / "secret.txt").write_text("secret tea")
    room = above / "room"
    (room / "sub").mkdir(parents=True)
    (room / "a.txt").write_text("one\ntwo Tea\nthree\n")
    (room / "sub" / "b.md").write_text("tea\n")
    (room / "binary").write_bytes(b"\0tea")
    (room / "link.txt").symlink_to(above / "secret.txt")
    with zipfile.ZipFile(room / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/one.txt", "tea in a zip")
        archive.writestr("bomb", b"\0" * (64 << 20))
    with tarfile.open(room / "t.tar.gz", "w:gz") as tape:
        found = tarfile.TarInfo("../one.txt")
        found.size = 3
        tape.addfile(found, io.BytesIO(b"tea"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tape.addfile(link)
    base = sqlite3.connect(room / "shop.db")
    base.executescript(
        "CREATE TABLE teas (name TEXT, price REAL, picture BLOB);"
        "INSERT INTO teas VALUES ('green', 2.5, x'0001'), ('black', 3, NULL);"
    )
    base.close()
    base = sqlite3.connect(room / "tables.db")
    base.executescript(
        "CREATE TABLE kept (data); INSERT INTO kept VALUES ('{\"a\": [1, 2]}');"
        "CREATE VIRTUAL TABLE notes USING fts5(text); INSERT INTO notes VALUES ('hot tea');"
        "CREATE VIRTUAL TABLE boxes USING rtree(id, low, high); INSERT INTO boxes VALUES (7, 0, 1);"
    )
    base.close()
    return room


@pytest.fixture(scope="module")
def shared(room: Path) -> Iterator[ToolRegistry]:
    with (
        Sandbox(make_broker=to_loopback) as sandbox,
        ToolRegistry(sandbox=sandbox) as made,
    ):
        made.add(*file_tools(room, write=True))
        made.add(*archive_tools(room), *sqlite_tools(room / "shop.db"), *web_tools(["a.test"]))
        yield made


@pytest.fixture
def tools(shared: ToolRegistry, tenant: Tenant) -> TenantTools:
    return shared.bind(tenant)


def value(tools: TenantTools, name: str, **arguments: Any) -> Any:
    result = tools.call(name, arguments)
    assert result.fault is None, result.text
    return result.value


def failed(tools: TenantTools, name: str, **arguments: Any) -> str:
    result = tools.call(name, arguments)
    assert result.fault is not None
    return result.fault.error


def test_no_model_sees_what_is_fixed(tools: TenantTools) -> None:
    for spec in tools.specs():
        assert spec.is_confined
        assert spec.level is SecurityLevel.RESTRICTED
        assert not {"root", "file"} & spec.parameters["properties"].keys()


def test_files_are_read_in_whole_or_in_part(tools: TenantTools) -> None:
    assert value(tools, "read_file", path="a.txt")["text"] == "one\ntwo Tea\nthree\n"
    part = value(tools, "read_file", path="a.txt", first_line=2, max_lines=1)
    assert part == {"text": "two Tea\n", "first_line": 2, "lines": 1, "total_lines": 3}


def test_files_are_listed_and_searched(tools: TenantTools) -> None:
    found = value(tools, "list_files", pattern="*.[tm][xd]*")
    assert [one["path"] for one in found["files"]] == ["a.txt", "sub/b.md"]
    assert value(tools, "list_files", max_files=1)["is_complete"] is False
    matches = value(tools, "search_files", text="TEA", pattern="*.[tm][xd]*")["matches"]
    assert matches == [
        {"path": "a.txt", "line": 2, "text": "two Tea"},
        {"path": "sub/b.md", "line": 1, "text": "tea"},
    ]
    assert value(tools, "search_files", text="^t.o", is_regex=True)["matches"][0]["line"] == 2


def test_a_name_that_is_no_text_hides_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "tea.txt").write_text("tea")
    (tmp_path / os.fsdecode(b"th\xe9.txt")).write_text("tea")
    kept: Any = {"encoding": "latin-1", "format": tarfile.GNU_FORMAT}
    with tarfile.open(tmp_path / "t.tar", "w", **kept) as tape:
        tape.addfile(tarfile.TarInfo("th\xe9"))
    given = str(tmp_path)
    (_, list_files, search_files), (list_archive, _) = file_tools(given), archive_tools(given)
    listed = list_files(root=given, pattern="*.txt")["files"]
    found = search_files(text="tea", root=given, pattern="*.txt")["matches"]
    for names in ([one["path"] for one in listed], [one["path"] for one in found]):
        assert sorted(names) == ["tea.txt", "th\ufffd.txt"]
    assert list_archive("t.tar", given)["members"][0]["name"] == "th\ufffd"


def test_a_file_is_written_and_added_to(tools: TenantTools, room: Path) -> None:
    try:
        assert value(tools, "write_file", path="new/deep/c.txt", text="ä\n")["bytes"] == 3
        value(tools, "write_file", path="new/deep/c.txt", text="b\n", append=True)
        assert (room / "new/deep/c.txt").read_text() == "ä\nb\n"
    finally:
        shutil.rmtree(room / "new", ignore_errors=True)  # others list what there is


@pytest.mark.parametrize(
    "path", ["../secret.txt", "link.txt", "/etc/passwd", "sub/../../secret.txt"]
)
def test_nothing_outside_is_read_or_written(tools: TenantTools, room: Path, path: str) -> None:
    for name, more in (("read_file", {}), ("write_file", {"text": "x"}), ("list_archive", {})):
        assert failed(tools, name, path=path, **more) in {"PathEscape", "PathNotAllowed"}
    assert (room.parent / "secret.txt").read_text() == "secret tea"


def test_what_only_reads_can_not_write_whatever_it_runs(room: Path) -> None:
    needs = [one.options.requirements for one in (*file_tools(room), *archive_tools(room))]
    assert all(one is not None and not one.writable for one in needs)


def test_archives_are_looked_into(tools: TenantTools) -> None:
    found = value(tools, "list_archive", path="z.zip")
    assert [one["name"] for one in found["members"]] == ["in/one.txt", "bomb"]
    assert value(tools, "read_archive", path="z.zip", member="in/one.txt")["text"] == "tea in a zip"
    cut = value(tools, "read_archive", path="z.zip", member="bomb", max_bytes=10)
    assert cut == {"text": "\0" * 10, "is_cut": True}
    found = value(tools, "list_archive", path="t.tar.gz")
    assert [(one["name"], one["kind"]) for one in found["members"]] == [
        ("../one.txt", "file"),
        ("link", "link"),
    ]
    assert value(tools, "read_archive", path="t.tar.gz", member="../one.txt")["text"] == "tea"
    assert failed(tools, "read_archive", path="t.tar.gz", member="link") == "ValueError"
    assert failed(tools, "list_archive", path="a.txt") == "ValueError"


def test_a_database_is_asked(tools: TenantTools) -> None:
    assert value(tools, "describe_database") == [
        {
            "name": "teas",
            "kind": "table",
            "columns": [
                {"name": "name", "type": "TEXT"},
                {"name": "price", "type": "REAL"},
                {"name": "picture", "type": "BLOB"},
            ],
        }
    ]
    asked = "SELECT * FROM teas WHERE price < ? ORDER BY price"
    assert value(tools, "query_database", sql=asked, parameters=[9], max_rows=1) == {
        "columns": ["name", "price", "picture"],
        "rows": [["green", 2.5, "<2 bytes>"]],
        "is_complete": False,
    }
    counted = value(tools, "query_database", sql="SELECT count(*), max(price) FROM teas")
    assert counted["rows"] == [[2, 3]]


@pytest.mark.parametrize(
    "sql, rows",
    [
        ("SELECT value FROM kept, json_each(data, '$.a')", [[1], [2]]),
        ("SELECT text FROM notes WHERE notes MATCH 'tea' ORDER BY rank", [["hot tea"]]),
        ("SELECT id FROM boxes WHERE low < 1 AND high > 0", [[7]]),
    ],
    ids=["json_each", "fts5", "rtree"],
)
def test_virtual_tables_are_asked_too(room: Path, sql: str, rows: list[Any]) -> None:
    query, _ = sqlite_tools(room / "tables.db")
    assert query(sql, str(room / "tables.db"))["rows"] == rows


def test_no_table_of_a_tree_is_written(room: Path) -> None:
    query, _ = sqlite_tools(room / "tables.db")
    before = (room / "tables.db").read_bytes()
    for sql in ("DELETE FROM boxes_node", "WITH x AS (SELECT 1) DELETE FROM boxes_rowid"):
        with pytest.raises(sqlite3.DatabaseError):
            query(sql, str(room / "tables.db"))
    assert (room / "tables.db").read_bytes() == before


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM teas",
        "DROP TABLE teas",
        "CREATE TEMP TABLE x (y)",
        "ATTACH '/etc/passwd' AS x",
        "PRAGMA query_only = OFF",
        "SELECT load_extension('x')",
        "UPDATE sqlite_master SET sql = ''",
        "INSERT INTO a_node VALUES (1)",
        "VACUUM INTO '/tmp/x.db'",
        "SELECT 1; SELECT 2",
    ],
)
def test_a_database_is_only_read(tools: TenantTools, room: Path, sql: str) -> None:
    before = (room / "shop.db").read_bytes()
    error = failed(tools, "query_database", sql=sql)
    assert error in {"DatabaseError", "OperationalError", "ProgrammingError"}
    assert (room / "shop.db").read_bytes() == before


def test_a_query_that_does_not_end_is_ended(tools: TenantTools) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    result = tools.call("query_database", {"sql": endless}, timeout=0.5)
    assert result.fault is not None
    assert result.fault.kind is FaultKind.TIMEOUT


def test_a_page_is_fetched_and_read(tools: TenantTools) -> None:
    with Server(ok(PAGE, "Content-Type: text/html; charset=utf-8")) as server:
        page = value(tools, "read_web_page", url=server.url())
        assert (page["title"], page["is_cut"]) == ("Tea", False)
        assert page["markdown"] == ("# Tea & co\n\nHot **tea**, [more](/more).\n\n* green\n* black")
        raw = value(tools, "fetch_url", url=server.url("/x"), method="POST", body="q", max_chars=6)
        assert (raw["status"], raw["text"], raw["is_cut"]) == (200, "<html>", True)
        assert server.requests[-1].startswith(b"POST /x ")
        assert server.requests[-1].endswith(b"q")


@pytest.mark.parametrize(
    "header, said, encoding",
    [
        ("; charset=windows-1252", "", "cp1252"),
        ("; charset=Shift_JIS", "", "shift_jis"),
        ("", '<meta charset="iso-8859-15">', "iso8859_15"),
        ("", '<meta charset="no-such">', "utf-8"),
        ("; charset=no-such", "", "utf-8"),
    ],
)
def test_a_page_is_read_in_its_own_encoding(
    tools: TenantTools, header: str, said: str, encoding: str
) -> None:
    text = "お茶" if encoding == "shift_jis" else "thé"
    page = f"<html><head>{said}</head><p>{text}</p></html>".encode(encoding)
    with Server(ok(page, f"Content-Type: text/html{header}")) as server:
        assert value(tools, "read_web_page", url=server.url())["markdown"] == text


def test_no_other_host_is_reached(tools: TenantTools) -> None:
    assert failed(tools, "fetch_url", url="http://b.test/") == "EgressDenied"
    with Server(redirect("http://b.test/")) as server:
        assert failed(tools, "read_web_page", url=server.url()) == "EgressDenied"
    with Server(ok(b"no", status="404 Not Found")) as server:
        assert failed(tools, "read_web_page", url=server.url()) == "HttpStatusError"


@pytest.fixture(scope="module")
def programs(room: Path) -> Iterator[ToolRegistry]:
    tool = command_tool(
        {
            "ls": ProgramRule(flags=["-1"], positionals=[Matching("[a-z.]+")]),
            "sleep": ProgramRule(positionals=[Matching("[0-9]+")]),
        },
        read_only=[room],
        timeout=20,
    )
    missing = host.probe().missing_for(tool.options.requirements)  # type: ignore[arg-type]
    if missing:
        pytest.skip(f"this host holds no processes of tools: {'; '.join(missing)}")
    with ToolRegistry([tool]) as made:
        yield made


def test_a_program_is_run_by_its_rule(programs: ToolRegistry, tenant: Tenant) -> None:
    tools = programs.bind(tenant)
    done = value(tools, "run_command", command=["ls", "-1", "sub"])
    assert (done["exit_code"], done["stdout"]) == (0, "b.md\n")
    assert value(tools, "run_command", command=["ls", "nothing"])["exit_code"] != 0
    assert "ls, sleep" in tools.specs()[0].description


@pytest.mark.parametrize(
    "command, error",
    [
        (["cat", "a.txt"], "CommandDenied"),
        (["ls", "-R"], "CommandDenied"),
        (["ls", "../"], "CommandDenied"),
        (["ls", "a\0b"], "InvalidCommand"),
        ([], ""),
    ],
)
def test_no_other_program_or_argument_passes(
    programs: ToolRegistry, tenant: Tenant, command: list[str], error: str
) -> None:
    result = programs.bind(tenant).call("run_command", {"command": command})
    assert result.fault is not None
    assert result.fault.error == error
    expected = FaultKind.DENIED if error else FaultKind.INVALID_ARGUMENTS
    assert result.fault.kind is expected


def test_a_program_that_takes_too_long_ends_with_its_call(
    programs: ToolRegistry, tenant: Tenant
) -> None:
    result = programs.bind(tenant).call("run_command", {"command": ["sleep", "60"]}, timeout=0.3)
    assert result.fault is not None
    assert result.fault.kind is FaultKind.TIMEOUT


def test_what_can_not_be_a_place_is_refused() -> None:
    with pytest.raises(ConfigError, match="file must be an absolute path"):
        sqlite_tools("shop.db")
    for none in ([], "a.test"):
        with pytest.raises(ConfigError, match="domains must list the hosts"):
            web_tools(none)

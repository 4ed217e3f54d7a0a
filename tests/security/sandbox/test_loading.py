"""How a tool is loaded: its own modules within the sandbox, its libraries before."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from pathlib import Path

import pytest

from llmspell.errors import (
    ConfigError,
    LevelMismatch,
    SandboxUnavailable,
    ToolFailed,
    ToolNotLoaded,
)
from llmspell.security import (
    ConfinedTool,
    Sandbox,
    SecurityLevel,
    SecurityRequirements,
    ToolDefinition,
    UnconfinedTool,
)
from llmspell.security.host import HostSupport
from llmspell.security.sandbox.worker.scanning import MAX_MODULES
from tests.security.sandbox.conftest import SAFE, TOOLS, skip_where_missing


def of_source(sandbox: Sandbox, source: str, **options: object) -> ConfinedTool:
    tool = sandbox.load("made", ["run"], SAFE, source=source, **options)  # type: ignore[arg-type]
    assert isinstance(tool, ConfinedTool)
    return tool


def test_a_package_of_several_modules_is_loaded(sandbox: Sandbox) -> None:
    with sandbox.load("parcel", ["weight", "depth", "lazily"], SAFE, path=[TOOLS]) as tool:
        assert tool.call("weight", [9]).value == 3.0
        assert tool.call("depth").value == [2.0, "neighbour", "parcel.inner.deep"]
        assert tool.call("lazily").value == "late"


def test_a_module_within_a_package_is_loaded_after_it(sandbox: Sandbox) -> None:
    with sandbox.load("parcel.inner.deep", ["depth"], SAFE, path=[TOOLS]) as tool:
        assert tool.call("depth").value == [2.0, "neighbour", "parcel.inner.deep"]


def test_modules_that_import_one_another_in_a_long_chain_are_all_found(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    for number in range(MAX_MODULES):
        source = f"def run():\n    import link{number + 1}\n    return link{number + 1}.END\n"
        (tmp_path / f"link{number}.py").write_text(source)
    last = MAX_MODULES - 1
    (tmp_path / f"link{last}.py").write_text(f"END = {last}\ndef run():\n    import link0\n")
    ends = f"def run():\n    import link1, link{last}\n    return link{last}.END\n"
    (tmp_path / "link0.py").write_text(ends)
    with sandbox.load("link0", ["run"], SAFE, path=[tmp_path], ready=0) as tool:
        assert tool.call("run").value == last
    (tmp_path / f"link{last}.py").write_text("def run():\n    import beyond\n")
    (tmp_path / "beyond.py").write_text("")
    with pytest.raises(ToolNotLoaded, match="more than 2,000 modules"):
        sandbox.load("link0", ["run"], SAFE, path=[tmp_path], ready=0)


def test_a_tool_is_loaded_from_text(sandbox: Sandbox) -> None:
    with of_source(sandbox, "import math\ndef run(x):\n    return math.sqrt(x)\n") as tool:
        assert tool.call("run", [16]).value == 4.0


def test_numpy_is_there_where_it_is_imported(sandbox: Sandbox) -> None:
    source = "import numpy as np\ndef run(n):\n    return float(np.arange(n).sum())\n"
    with of_source(sandbox, source) as tool:
        assert tool.call("run", [10]).value == 45.0


def test_what_wasn_t_imported_before_says_how_to(sandbox: Sandbox) -> None:
    source = "def run(name):\n    return __import__(name).__name__\n"
    with of_source(sandbox, source) as tool, pytest.raises(ToolFailed, match="preload="):
        tool.call("run", ["colorsys"])
    with of_source(sandbox, source, preload=["colorsys"]) as tool:
        assert tool.call("run", ["colorsys"]).value == "colorsys"


def test_an_extension_module_of_the_tool_s_own_is_preloaded_where_it_is_installed(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec("llmspell._sandbox")
    assert found is not None and found.origin is not None
    crate = tmp_path / "site-packages" / "crate"
    crate.mkdir(parents=True)
    shutil.copy(found.origin, crate)
    (crate / "__init__.py").write_text(
        "from crate import _sandbox\ndef run():\n    return sorted(_sandbox.FILTERS)[0]\n"
    )
    with pytest.raises(ToolNotLoaded, match="name it in preload="):
        sandbox.load("crate", ["run"], SAFE, path=[crate.parent])
    with pytest.raises(ToolNotLoaded, match="No module named 'crate'"):
        sandbox.load("crate", ["run"], SAFE, path=[crate.parent], preload=["crate._sandbox"])
    monkeypatch.syspath_prepend(crate.parent)
    with sandbox.load("crate", ["run"], SAFE, preload=["crate._sandbox"]) as tool:
        assert tool.call("run").value == "networked"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def run(:", "SyntaxError"),
        ("x = 1", "no attribute 'run'"),
        ("run = 3", "made.run can't be called"),
        ("raise LookupError('as it began')", "LookupError: as it began"),
        ("import nowhere_at_all\ndef run(): pass", "nowhere_at_all"),
        ("(" * 20000, "made"),
        ("import os\nos._exit(0)", "its process ended"),
        ("while True: pass", "processor time|not done|process ended"),
        ("x = bytearray(1 << 30)", "MemoryError"),
    ],
)
def test_what_can_t_be_loaded_is_named(sandbox: Sandbox, source: str, says: str) -> None:
    with pytest.raises(ToolNotLoaded, match=says):
        of_source(sandbox, source)


def test_a_module_that_isn_t_there_is_named(sandbox: Sandbox) -> None:
    with pytest.raises(ToolNotLoaded, match="there is no module 'nowhere'"):
        sandbox.load("nowhere", ["run"], SAFE, path=[TOOLS])
    with pytest.raises(ToolNotLoaded, match="No module named 'nothing_here'"):
        of_source(sandbox, "def run(): pass", preload=["nothing_here"])


def test_no_code_of_the_tool_runs_outside(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "marks.py").write_text(
        f"try:\n    open({str(mark)!r}, 'w').close()\nexcept OSError:\n    pass\n"
        "import helper\ndef run():\n    return helper.SEEN\n"
    )
    (tmp_path / "helper.py").write_text(
        f"import os\nSEEN = os.path.exists({str(mark)!r})\n"
        f"try:\n    open({str(mark)!r}, 'w').close()\nexcept OSError:\n    pass\n"
    )
    with sandbox.load("marks", ["run"], SAFE, path=[tmp_path]) as tool:
        assert tool.call("run").value is False
    assert not mark.exists()


def test_the_owner_s_own_modules_are_none_of_the_libraries(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owners_secrets.py").write_text("KEY = 'secret'\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = "def run():\n    import owners_secrets\n    return owners_secrets.KEY\n"
    with of_source(sandbox, source) as tool, pytest.raises(ToolFailed, match="owners_secrets"):
        tool.call("run")


def test_arguments_out_of_range_are_refused(sandbox: Sandbox) -> None:
    for wrong in ({"ready": -1}, {"ready": True}, {"functions": []}, {"functions": "run"}):
        with pytest.raises(ConfigError):
            sandbox.load(**{"module": "made", "functions": ["run"], "requirements": SAFE, **wrong})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="dotted name"):
        sandbox.load("not a name", ["run"], SAFE)
    with pytest.raises(ConfigError, match="SecurityRequirements"):
        sandbox.load("made", ["run"], "safe")  # type: ignore[arg-type]


NOTHING = HostSupport(reasons=(("landlock_abi", "ENOSYS"), ("seccomp", "EINVAL")))


def test_a_host_that_can_t_enforce_refuses_and_names_what_is_missing() -> None:
    with Sandbox(host=NOTHING) as sandbox:
        with pytest.raises(SandboxUnavailable, match="landlock_abi: ENOSYS") as caught:
            sandbox.load("plain", ["words"], SAFE, path=[TOOLS])
        assert caught.value.level == "safe"
        assert "seccomp: EINVAL" in caught.value.missing
        assert sandbox.counters.refused.value == 1


def test_only_allow_unsandboxed_runs_it_then_and_it_is_logged_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Sandbox(host=NOTHING, allow_unsandboxed=True) as sandbox:
        with caplog.at_level(logging.WARNING):
            tool = sandbox.load("plain", ["words", "raises", "later"], SAFE, path=[TOOLS])
        assert isinstance(tool, UnconfinedTool)
        assert "runs without a sandbox" in caplog.text and "landlock_abi" in caplog.text
        assert tool.call("words", ["a a"]).value == {"a": 2}
        assert tool.call("later", [0]).value == "later"
        with pytest.raises(ToolFailed, match="LookupError: x"):
            tool.call("raises", ["x"])
        assert sandbox.counters.unsandboxed.value == 3


def test_a_host_that_can_enforce_confines_even_where_it_needn_t() -> None:
    with Sandbox(allow_unsandboxed=True) as sandbox:
        if sandbox.host.missing_for(SAFE):
            pytest.skip("this host can't confine tools")
        tool = sandbox.load("plain", ["reads"], SAFE, path=[TOOLS])
        with pytest.raises(ToolFailed, match="PermissionError"):
            tool.call("reads", ["/etc/passwd"])


def test_requirements_decide_what_is_reached(sandbox: Sandbox, tmp_path: Path) -> None:
    read_only, writable, outside = (tmp_path / name for name in ("read", "write", "write-evil"))
    for place in (read_only, writable, outside):
        place.mkdir()
        (place / "here").write_text("here")
    functions = ["reads", "writes", "lists"]
    needs = SecurityRequirements.restricted().with_read_only(read_only).with_file_access(writable)
    skip_where_missing(sandbox, needs)
    with sandbox.load("plain", functions, needs, path=[TOOLS]) as tool:
        assert tool.call("reads", [str(read_only / "here")]).value == "here"
        assert tool.call("lists", [str(writable)]).value == ["here"]
        assert tool.call("writes", [str(writable / "made"), "four"]).value == 4
        for refused in (["writes", str(read_only / "here"), "x"], ["reads", str(outside / "here")]):
            with pytest.raises(ToolFailed, match="PermissionError"):
                tool.call(refused[0], refused[1:])
    assert (read_only / "here").read_text() == "here"


def test_only_variables_that_are_listed_are_passed_on(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTED", "yes")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    needs = SecurityRequirements.restricted().with_environment("LISTED").with_environment("UNSET")
    skip_where_missing(sandbox, needs)
    with sandbox.load("plain", ["environment"], needs, path=[TOOLS]) as tool:
        found = tool.call("environment").value
    assert found["LISTED"] == "yes"
    assert not {"OPENAI_API_KEY", "UNSET", "HOME", "PATH"} & found.keys()


def test_registering_starts_nothing_until_the_first_call() -> None:
    with Sandbox() as own:
        if own.host.missing_for(SAFE):
            pytest.skip("this host can't confine tools")
        definition = ToolDefinition(
            module="plain", functions=("words",), requirements=SAFE, path=(str(TOOLS),), ready=0
        )
        tool = own.register(definition)
        assert own._server.process is None
        assert tool.call("words", ["a"]).value == {"a": 1}
        assert tool.call("words", ["b"]).value == {"b": 1}
        assert own.counters.waited.value >= 1


def test_a_tool_of_another_level_than_its_requirements_is_refused_when_it_is_defined() -> None:
    with pytest.raises(LevelMismatch, match="declared restricted"):
        ToolDefinition(
            module="plain",
            functions=("words",),
            requirements=SAFE,
            level=SecurityLevel.RESTRICTED,
        )
    made = ToolDefinition(module="plain", functions=("words",), requirements=SAFE)
    assert made.level is SecurityLevel.SAFE

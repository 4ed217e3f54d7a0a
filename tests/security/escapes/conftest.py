"""One room and one sandbox for all attempts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmspell.security import Sandbox, SecurityLevel
from tests.security.escapes.room import ENVIRONMENT, Room
from tests.security.escapes.running import Grounds

#: So many attempts are shown both ways at least, wherever the sandbox can be had.
LEAST = 80


def require_so_many_shown(grounds: Grounds, told: Path) -> None:
    """Of all attempts, which processes side by side may have made: the last one looks."""
    from tests.security.escapes.test_attempts import CASES

    shown = grounds.proven & grounds.refused
    told.mkdir(exist_ok=True)
    unnamed = told / f"{os.getpid()}.writing"
    unnamed.write_text(json.dumps([sorted(grounds.made), sorted(shown)]))
    unnamed.rename(told / f"{os.getpid()}.json")  # whole, for another one that looks just then
    parts = [json.loads(one.read_text()) for one in told.glob("*.json")]
    if len({one for made, _ in parts for one in made}) == len(CASES):
        assert len({one for _, shown in parts for one in shown}) >= LEAST


@pytest.fixture(scope="session")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    # Of a path that programs of other users may pass.
    room = Room(tmp_path_factory.mktemp("escapes"))
    with pytest.MonkeyPatch.context() as patch:
        # Before the fork server begins: it must not have it, nor what is open.
        patch.setenv(ENVIRONMENT, room.mark)
        try:
            with Sandbox() as sandbox:
                # Profiles that need more than that are skipped one by one.
                missing = sandbox.host.missing_for(SecurityLevel.SAFE)
                if missing:
                    pytest.skip(f"this host can't confine tools: {'; '.join(missing)}")
                with Grounds(sandbox, room) as made:
                    yield made
                base = tmp_path_factory.getbasetemp()
                of_all = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
                require_so_many_shown(made, of_all / "attempts")
        finally:
            room.close()

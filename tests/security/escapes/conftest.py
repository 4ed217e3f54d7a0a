"""One room and one sandbox for all attempts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmspell.security import Sandbox, SecurityLevel
from tests.security.escapes.room import ENVIRONMENT, Room
from tests.security.escapes.running import Grounds


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
        finally:
            room.close()

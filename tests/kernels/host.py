"""Prints JSON of what this host can enforce, for the table, and what a tool of each level does."""

import json
import sys

from llmspell.errors import SandboxUnavailable
from llmspell.security import Sandbox, SecurityLevel, SecurityRequirements
from llmspell.security.host import MEASURES, HostSupport, probe

LEVELS = {
    "SAFE": SecurityRequirements.safe(),
    "RESTRICTED": SecurityRequirements.restricted(),
    "PRIVILEGED": SecurityRequirements.privileged(),
    "processes": SecurityRequirements.restricted().with_processes(2),
}


def outcome(host: HostSupport, requirements: SecurityRequirements) -> str:
    """ "" where a tool runs confined; else what its owner is told."""
    with Sandbox(host=host) as sandbox:
        try:
            with sandbox.load("made", ["f"], requirements, source="def f(): return 7") as tool:
                assert tool.is_confined and tool.call("f").value == 7
        except SandboxUnavailable as error:
            return str(error)
    return ""


def main() -> None:
    host = probe()
    assert set(SecurityLevel.__members__) < LEVELS.keys()
    found = {
        "landlock_abi": host.landlock_abi,
        "groups": [place.path for place in (host.memory_group, host.pids_group) if place],
        "lacks": {name: host.why_not(name) for name in MEASURES if host.why_not(name)},
        "told": {name: outcome(host, requirements) for name, requirements in LEVELS.items()},
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()

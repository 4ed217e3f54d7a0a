"""Prints JSON of what this host can enforce, for the table."""

import json
import sys

from llmspell.security import SecurityLevel
from llmspell.security.host import MEASURES, probe

host = probe()
json.dump(
    {
        "landlock_abi": host.landlock_abi,
        "memory_group": host.memory_group and host.memory_group.path,
        "pids_group": host.pids_group and host.pids_group.path,
        "lacks": {measure: host.why_not(measure) for measure in MEASURES if host.why_not(measure)},
        "missing": {level.name: list(host.missing_for(level)) for level in SecurityLevel},
    },
    sys.stdout,
)

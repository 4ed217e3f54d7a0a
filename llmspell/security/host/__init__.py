"""What this host can enforce on tools, found by trying it."""

from llmspell.security.host.control_groups import ControlGroup
from llmspell.security.host.probing import MEASURES, HostSupport, probe

__all__ = ["MEASURES", "ControlGroup", "HostSupport", "probe"]

"""Tools that the kernel confines; validators, and secrets."""

from llmspell.security.levels import SecurityLevel
from llmspell.security.requirements import SecurityRequirements, check

__all__ = ["SecurityLevel", "SecurityRequirements", "check"]

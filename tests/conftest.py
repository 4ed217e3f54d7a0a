"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# On a busy machine a deadline is a test that fails by itself.
settings.register_profile("llmspell", deadline=None)
settings.load_profile("llmspell")

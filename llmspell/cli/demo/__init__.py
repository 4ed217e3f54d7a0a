"""``llmspell demo``: the main job, end to end, on text that every machine with Python has."""

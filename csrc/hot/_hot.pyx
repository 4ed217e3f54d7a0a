# cython: language_level=3
"""Native quota ledger and hot counters of llmspell."""

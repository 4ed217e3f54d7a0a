"""The named inputs of the corpus, as what a sound or a hostile writer would give."""

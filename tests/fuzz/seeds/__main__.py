"""``python -m tests.fuzz.seeds`` writes the named inputs into tests/fuzz/corpus."""

from __future__ import annotations

from tests.fuzz.replay import CORPUS
from tests.fuzz.seeds import filters, imports, lines, settings, texts, worker

for seeds in (filters, imports, lines, settings, texts, worker):
    folder = CORPUS / seeds.__name__.rpartition(".")[2]
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.inputs().items():
        (folder / name).write_bytes(data)

"""Names of the tables of a tenant's store: databases of one LMDB environment."""

from __future__ import annotations

from typing import Final

__all__ = [
    "CHAINS",
    "COUNTERS",
    "DATABASES",
    "DOCUMENTS",
    "EXPIRY",
    "IDS",
    "LOG",
    "META",
    "RECORDS",
    "STATE",
    "VECTORS",
]

LOG: Final = b"log"
RECORDS: Final = b"records"
VECTORS: Final = b"vectors"
IDS: Final = b"ids"
DOCUMENTS: Final = b"documents"
EXPIRY: Final = b"expiry"
STATE: Final = b"state"
META: Final = b"meta"
#: All of them.
DATABASES: Final = (LOG, RECORDS, VECTORS, IDS, DOCUMENTS, EXPIRY, STATE, META)
#: Those whose entries name the key behind them; see :mod:`llmspell.storage.chain`.
CHAINS: Final = (IDS, DOCUMENTS, EXPIRY, STATE)
#: The key in ``META`` of what the store holds, counted.
COUNTERS: Final = b"counters"

"""The ledger that the rest of llmspell uses.

It is the native one, shared by processes. ``LLMSPELL_PURE=1`` chooses the twin in pure Python,
which counts within one process only: see :mod:`llmspell.quota._pure`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING or os.environ.get("LLMSPELL_PURE") != "1":
    from llmspell.quota._native import Ledger, Reservation, Slot
else:
    from llmspell.quota._pure import Ledger, Reservation, Slot

__all__ = ["Ledger", "Reservation", "Slot"]

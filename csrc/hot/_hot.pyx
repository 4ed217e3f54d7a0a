# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
# cython: freethreading_compatible=True, auto_pickle=False, autotestdict=False
"""Native quota ledger and hot counters of llmspell."""

include "ledger.pxi"
include "reservation.pxi"
include "instruments.pxi"
include "position.pxi"
include "unread.pxi"
include "lock_file.pxi"
include "door.pxi"
include "uses.pxi"
include "crossings.pxi"
include "naming.pxi"
include "checksum.pxi"
include "record.pxi"
include "chain.pxi"
include "open_beneath.pxi"

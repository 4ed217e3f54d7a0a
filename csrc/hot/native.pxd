"""The C++ that the hot module binds."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.string cimport string


cdef extern from "<array>" namespace "std" nogil:
    cdef cppclass Key "std::array<std::uint64_t, 2>":
        uint64_t& operator[](size_t)


cdef extern from "<filesystem>" namespace "std::filesystem" nogil:
    cdef cppclass Path "std::filesystem::path":
        Path()
        Path(const string&) except +


cdef extern from "<span>" namespace "std" nogil:
    cdef cppclass Items "std::span<const llmspell::ledger::Item>":
        Items(const Item*, size_t)


cdef extern from "ledger/system.hpp" namespace "llmspell::ledger" nogil:
    cdef cppclass EnvironmentSource:
        pass
    EnvironmentSource system_environment_source()
    uint64_t boot_time_ns()
    uint64_t own_process()


cdef extern from "ledger/slot.hpp" namespace "llmspell::ledger" nogil:
    cdef enum class Quota(uint8_t):
        documents
        vectors
        storage
        embeddings
        api_calls
    const int64_t unlimited
    const size_t level_count
    const size_t quota_count
    cdef cppclass Now:
        uint64_t boot_ns
        uint64_t utc_ns
    cdef cppclass Receipt:
        pass
    cdef cppclass Item:
        Quota quota
        int64_t amount
    cdef cppclass Refusal:
        Quota quota
        int64_t limit
        int64_t used
        int64_t requested
        int64_t retry_after_ns
    cdef cppclass CUsage "llmspell::ledger::Usage":
        int64_t used
        int64_t limit
    cdef cppclass CSlot "llmspell::ledger::Slot":
        pass
    cbool try_charge(CSlot&, Item, Now, Refusal&)
    cbool try_charge_all(CSlot&, Items, Now, Refusal&)
    void refund(CSlot&, Item, const Receipt&, Now)
    Receipt receipt_at(const CSlot&, Item, Now)
    CUsage usage(const CSlot&, Quota, Now)
    void set_limit(CSlot&, Quota, int64_t)


cdef extern from "ledger/reservation.hpp" namespace "llmspell::ledger" nogil:
    cdef cppclass Levels:
        int64_t& operator[](size_t)
    const size_t no_hold
    size_t open_hold(CSlot&, uint64_t)
    cbool reserve(CSlot&, size_t, Items, Now, Refusal&, Receipt&)
    void settle(CSlot&, size_t, const Levels&)
    void set_level(CSlot&, Quota, int64_t)


cdef extern from "ledger/ledger.hpp" namespace "llmspell::ledger" nogil:
    cdef enum class Status:
        ok
        system_error
        in_use
        full
        unsupported
    cdef cppclass Handle:
        CSlot* slot
        cbool is_stale()
    cdef cppclass CLedger "llmspell::ledger::Ledger":
        @staticmethod
        Status open(const Path&, size_t, EnvironmentSource, unique_ptr[CLedger]&, int&) except +
        Status slot(const Key&, Handle&, int&) except +
        Status release(const Key&, cbool&, int&) except +
        Status sweep(EnvironmentSource, size_t&, int&) except +
        Now now()
        Now at(uint64_t)
        size_t capacity()
        size_t size()


cdef extern from "base/instruments.hpp" namespace "llmspell" nogil:
    cdef cppclass CCounter "llmspell::Counter":
        void add(uint64_t)
        uint64_t value()
    cdef cppclass CHistogram "llmspell::Histogram":
        void record(uint64_t)
        uint64_t count_in(size_t)
        uint64_t sum()
    const size_t bucket_count "llmspell::Histogram::bucket_count"
    uint64_t bound_of "llmspell::Histogram::bound_of"(size_t)

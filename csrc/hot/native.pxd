"""The C++ that the hot module binds."""

from cpython.object cimport PyObject
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.string cimport string


cdef extern from "<atomic>" namespace "std" nogil:
    cdef cppclass AtomicLong "std::atomic<long>":
        long fetch_add(long)
        long fetch_sub(long)
        long load()


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


cdef extern from "ledger/layout.hpp" namespace "llmspell::ledger" nogil:
    cdef enum class Quota(uint8_t):
        documents
        vectors
        storage
        dimensions
        embeddings
        tokens
        cost
        api_calls
        queries
    const int64_t unlimited
    const size_t level_count
    const size_t part_count
    const size_t quota_count
    const size_t hold_count
    const uint64_t levels_known_flag
    const uint64_t no_writes_flag
    const uint64_t suspended_flag
    cdef cppclass Atomic "llmspell::ledger::Word":
        uint64_t load()
        void store(uint64_t)
    cdef cppclass CSlot "llmspell::ledger::Slot":
        Atomic log_head
        Atomic flags
    cdef cppclass Handle:
        CSlot* slot
        cbool is_stale()


cdef extern from "ledger/slot.hpp" namespace "llmspell::ledger" nogil:
    cdef cppclass Now:
        uint64_t boot_ns
        uint64_t utc_ns
    cdef cppclass Reached "decltype(llmspell::ledger::Receipt::reached)":
        const int64_t* data()
    cdef cppclass Receipt:
        uint32_t crossed
        Reached reached
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
    cbool try_charge(const Handle&, Item, Now, Refusal&, Receipt&)
    cbool try_charge_all(const Handle&, Items, Now, Refusal&, Receipt&)
    void refund(const Handle&, Item, const Receipt&, Now)
    void refund_latest(const Handle&, Item, Now)
    cbool has_room(const Handle&, Item, Refusal&)
    CUsage usage(const Handle&, Quota, Now)
    void set_limit(const Handle&, Quota, int64_t, cbool)
    void publish(const Handle&, uint64_t)


cdef extern from "ledger/reservation.hpp" namespace "llmspell::ledger" nogil:
    cdef cppclass Levels:
        int64_t& operator[](size_t)
    cdef cppclass Parts:
        int64_t& operator[](size_t)
    cdef cppclass Ticket:
        size_t hold
    cbool open_hold(const Handle&, uint64_t, uint64_t, Ticket&)
    cbool reserve(const Handle&, Ticket&, Items, Now, Refusal&, Receipt&)
    cbool settle(const Handle&, const Ticket&, const Parts&)
    cbool renew(const Handle&, Ticket&, uint64_t)
    void set_level(const Handle&, Quota, int64_t)
    void set_suspension(const Handle&, uint64_t)
    void set_levels(const Handle&, const Levels&)


cdef extern from "ledger/ledger.hpp" namespace "llmspell::ledger" nogil:
    cdef enum class Status:
        ok
        system_error
        in_use
        other_boot
        full
        unsupported
    cdef cppclass CLedger "llmspell::ledger::Ledger":
        @staticmethod
        Status open(const Path&, size_t, EnvironmentSource, unique_ptr[CLedger]&, int&) except +
        Status slot(const Key&, Handle&, int&) except +
        Status release(const Key&, cbool&, int&) except +
        Status sweep(EnvironmentSource, size_t&, int&) except +
        cbool sweep_before_refusal(EnvironmentSource)
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


cdef extern from "base/one_search.hpp" namespace "llmspell":
    cdef cppclass OneQuery:
        const float* vector
        size_t dim
        size_t k
    cdef cppclass OneSearcher:
        cbool take(PyObject*, PyObject*, PyObject*, PyObject*, OneQuery&)
        ptrdiff_t search(const OneQuery&, int64_t*, float*) nogil
    const char* one_searcher_capsule


cdef extern from "hot/ring.hpp" namespace "llmspell::hot" nogil:
    cdef cppclass Link:
        void* owner
    cdef cppclass Ring:
        void add(Link&)
        void remove(Link&)
        Link* first()
        void lock()
        void unlock()

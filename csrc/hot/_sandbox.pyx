# cython: language_level=3
# cython: freethreading_compatible=True
# What a process applies to itself before it runs a tool. It imports nothing: it is loaded by a
# process that has no package, see llmspell/security/worker.

from libc.stdint cimport uint64_t

cdef extern from "<span>" namespace "std" nogil:
    cdef cppclass IntSpan "std::span<const int>":
        IntSpan()
        IntSpan(const int*, size_t)
    cdef cppclass RuleSpan "std::span<const llmspell::sandbox::PathRule>":
        RuleSpan()
        RuleSpan(const PathRule*, size_t)

cdef extern from "sandbox/confine.hpp" namespace "llmspell::sandbox" nogil:
    cdef cppclass Failure:
        const char* step
        int error
    cdef cppclass PathRule:
        int descriptor
        bint writes
        bint executes
    cdef cppclass Limits:
        uint64_t address_space
        uint64_t cpu_seconds
        uint64_t file_size
        uint64_t open_files
        uint64_t processes
    cdef enum class Filter(int):
        loading
        safe
        restricted
        privileged
    cdef cppclass Confinement:
        int parent
        IntSpan kept
        RuleSpan rules
        int landlock_abi
        Limits limits
        Filter filter
    int native_landlock_abi "llmspell::sandbox::landlock_abi"()
    bint native_has_filters "llmspell::sandbox::has_filters"()
    Failure native_confine "llmspell::sandbox::confine"(const Confinement&)

cdef enum:
    most = 64

FILTERS = {
    "loading": <int>Filter.loading,
    "safe": <int>Filter.safe,
    "restricted": <int>Filter.restricted,
    "privileged": <int>Filter.privileged,
}


def landlock_abi():
    """The interface of Landlock that the kernel has and enforces; 0 without."""
    return native_landlock_abi()


def has_filters():
    """Whether the kernel filters system calls, and there is a filter for this architecture."""
    return native_has_filters()


def confine(
    *, int parent, kept, rules, str filter, uint64_t address_space, uint64_t cpu_seconds,
    uint64_t file_size, uint64_t open_files, uint64_t processes,
):
    """Confine this process, which has one thread, for good; where it fails it must end.

    Args:
        parent: process id of the one that it dies with.
        kept: descriptors that stay open.
        rules: (descriptor, whether it may be changed, whether it may be executed) of what stays
            reachable of files.
        filter: "loading", "safe", "restricted" or "privileged".
        address_space, cpu_seconds, file_size, open_files, processes: limits.

    Raises:
        OSError: the step that failed is its file name.
    """
    cdef Confinement all
    cdef int[most] descriptors
    cdef PathRule[most] given
    cdef size_t count = 0
    cdef size_t rule_count = 0
    cdef Failure failure
    for descriptor in sorted(kept):
        if count == most:
            raise ValueError(f"at most {most} descriptors")
        descriptors[count] = descriptor
        count += 1
    for descriptor, writes, executes in rules:
        if rule_count == most:
            raise ValueError(f"at most {most} rules")
        given[rule_count].descriptor = descriptor
        given[rule_count].writes = writes
        given[rule_count].executes = executes
        rule_count += 1
    all.parent = parent
    all.kept = IntSpan(descriptors, count)
    all.rules = RuleSpan(given, rule_count)
    all.landlock_abi = native_landlock_abi()
    all.limits.address_space = address_space
    all.limits.cpu_seconds = cpu_seconds
    all.limits.file_size = file_size
    all.limits.open_files = open_files
    all.limits.processes = processes
    all.filter = <Filter><int>FILTERS[filter]
    failure = native_confine(all)
    if failure.step != NULL:
        raise OSError(failure.error, "confining failed", failure.step.decode())

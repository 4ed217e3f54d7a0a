# cython: language_level=3
# cython: freethreading_compatible=True
# cython: autotestdict=False
# What a process applies to itself before it runs a tool. It imports nothing of the package, see
# llmspell/security/sandbox/worker.

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
        safe
        restricted
        processes
        programs
        networked
    cdef cppclass Confinement:
        int parent
        IntSpan kept
        int directory
        bint is_root
        RuleSpan rules
        int port
        int landlock_abi
        Limits limits
        Filter filter
    int native_landlock_abi "llmspell::sandbox::landlock_abi"()
    bint native_has_filters "llmspell::sandbox::has_filters"()
    Failure native_die_with "llmspell::sandbox::die_with"(int)
    Failure native_give_up_new_rights "llmspell::sandbox::give_up_new_rights"()
    Failure native_restrict_reach "llmspell::sandbox::restrict_reach"(RuleSpan, int, int)
    Failure native_confine "llmspell::sandbox::confine"(const Confinement&)

cdef extern from "sandbox/namespaces.hpp" namespace "llmspell::sandbox" nogil:
    cdef cppclass Namespaces:
        bint network
        bint processes
        bint ipc
        bint mounts
        bint changes_root
    bint native_hide_the_outside "llmspell::sandbox::hide_the_outside"()
    Failure native_enter_loopback "llmspell::sandbox::enter_loopback"()
    Namespaces native_enter_namespaces "llmspell::sandbox::enter_namespaces"()

cdef enum:
    most = 1024

FILTERS = {
    "safe": <int>Filter.safe,
    "restricted": <int>Filter.restricted,
    "processes": <int>Filter.processes,
    "programs": <int>Filter.programs,
    "networked": <int>Filter.networked,
}


def landlock_abi():
    """The interface of Landlock that the kernel has and enforces; 0 without."""
    return native_landlock_abi()


def has_filters():
    """Whether the kernel filters system calls, and there is a filter for this architecture."""
    return native_has_filters()


def enter_namespaces():
    """Enter namespaces of its own, as far as this process may; it has one thread.

    Returns:
        A dict: "network", "processes" (of what it forks from now on), "ipc" and "mounts", whether
        it is apart; "root", whether it may change its root.
    """
    cdef Namespaces held = native_enter_namespaces()
    return {
        "network": held.network,
        "processes": held.processes,
        "ipc": held.ipc,
        "mounts": held.mounts,
        "root": held.changes_root,
    }


def hide_the_outside():
    """Whether /proc shows the processes of this one's namespace alone now, and no control groups
    are in reach; for its first process.
    """
    return native_hide_the_outside()


def enter_loopback():
    """Enter a network of its own, with a loopback and nothing else.

    Raises:
        OSError: the step that failed is its file name.
    """
    check(native_enter_loopback())


def die_with(int parent):
    """End with the process that forked this one, from its one thread; 0 for one that can't be seen.

    Raises:
        OSError: it is gone already.
    """
    check(native_die_with(parent))


def restrict_files(rules):
    """Leave this process and those to come these files alone, and no new rights.

    Args:
        rules: (descriptor, whether it may be changed, whether it may be executed).

    Raises:
        OSError: the step that failed is its file name.
    """
    cdef PathRule[most] given
    cdef size_t count = take_rules(rules, given)
    check(native_give_up_new_rights())
    check(native_restrict_reach(RuleSpan(given, count), -1, native_landlock_abi()))


def confine(
    *, int parent, kept, int directory, bint is_root, rules, int port, str filter, uint64_t address_space, uint64_t cpu_seconds,
    uint64_t file_size, uint64_t open_files, uint64_t processes,
):
    """Confine this process, which has one thread, for good; where it fails it must end.

    Args:
        parent: process id of the one that it dies with.
        kept: descriptors that stay open.
        directory: descriptor of the one that it stands in, or -1.
        is_root: whether that becomes its root.
        rules: (descriptor, whether it may be changed, whether it may be executed) of what stays
            reachable of files.
        port: of TCP, that may be connected to; 0 for none.
        filter: "safe", "restricted", "processes", "programs" or "networked".
        address_space, cpu_seconds, file_size, open_files, processes: limits.

    Raises:
        OSError: the step that failed is its file name.
    """
    cdef Confinement all
    cdef int[most] descriptors
    cdef PathRule[most] given
    cdef size_t count = 0
    cdef size_t rule_count = take_rules(rules, given)
    for descriptor in sorted(kept):
        if count == most:
            raise ValueError(f"at most {most} descriptors")
        descriptors[count] = descriptor
        count += 1
    all.parent = parent
    all.directory = directory
    all.is_root = is_root
    all.kept = IntSpan(descriptors, count)
    all.rules = RuleSpan(given, rule_count)
    all.port = port
    all.landlock_abi = native_landlock_abi()
    all.limits.address_space = address_space
    all.limits.cpu_seconds = cpu_seconds
    all.limits.file_size = file_size
    all.limits.open_files = open_files
    all.limits.processes = processes
    all.filter = <Filter><int>FILTERS[filter]
    check(native_confine(all))


cdef size_t take_rules(rules, PathRule* given) except? 0:
    cdef size_t count = 0
    for descriptor, writes, executes in rules:
        if count == most:
            raise ValueError(f"at most {most} rules")
        given[count].descriptor = descriptor
        given[count].writes = writes
        given[count].executes = executes
        count += 1
    return count


cdef check(Failure failure):
    if failure.step != NULL:
        raise OSError(failure.error, "confining failed", failure.step.decode())

#include "ledger/system.hpp"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace llmspell::ledger {

namespace {

BootId read_boot_id() noexcept {
    BootId id{};
#if defined(__linux__)
    if (std::FILE* file = std::fopen("/proc/sys/kernel/random/boot_id", "re")) {
        const std::size_t length = std::fread(id.data(), 1, id.size() - 1, file);
        std::fclose(file);
        id[length] = '\0';
    }
    // In a time namespace (time_namespaces(7)) the clock since boot is another one.
    struct stat clock{};
    constexpr ino_t first_namespace = 0xEFFFFFFA;
    if (stat("/proc/self/ns/time", &clock) == 0 && clock.st_ino != first_namespace) {
        for (std::size_t i = 0; i < 3; ++i) id[37 + i] = static_cast<char>(clock.st_ino >> (8 * i));
    }
#elif defined(__APPLE__)
    std::size_t length = id.size();
    if (sysctlbyname("kern.bootsessionuuid", id.data(), &length, nullptr, 0) != 0) id.fill('\0');
#endif
    return id;
}

// Linux pids stay below 2^22. The other bits tell a process from a later one of the same pid, and
// from one in another container that shares the directory.
constexpr unsigned pid_bits = 22;
constexpr unsigned space_bits = 18;
constexpr unsigned start_bits = 24;

constexpr std::uint64_t low_bits(std::uint64_t value, unsigned bits) noexcept {
    return value & ((std::uint64_t{1} << bits) - 1);
}

constexpr std::uint64_t name_of(std::uint64_t pid, std::uint64_t space,
                                std::uint64_t start) noexcept {
    return low_bits(start, start_bits) << (pid_bits + space_bits) |
           low_bits(space, space_bits) << pid_bits | low_bits(pid, pid_bits);
}

#if !defined(_WIN32)

enum class Presence { gone, here, unknown };

#if defined(__linux__)

// proc(5): field 3 is the state, field 22 the start time; the name before them may hold anything.
Presence find_process(std::uint64_t pid, std::uint64_t& start) noexcept {
    char path[40];
    std::snprintf(path, sizeof path, "/proc/%llu/stat", static_cast<unsigned long long>(pid));
    std::FILE* file = std::fopen(path, "re");
    if (file == nullptr) {
        // Where /proc isn't mounted, nothing is known of anybody; and it may hide processes of
        // other users (hidepid), which are there for a signal all the same.
        const bool gone = errno == ENOENT && access("/proc/self/stat", R_OK) == 0 &&
                          (pid == 0 || (kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH));
        return gone ? Presence::gone : Presence::unknown;
    }
    char text[1024];
    const std::size_t length = std::fread(text, 1, sizeof text - 1, file);
    std::fclose(file);
    if (length == 0) return Presence::gone;
    text[length] = '\0';
    const char* field = std::strrchr(text, ')');
    if (field == nullptr) return Presence::unknown;
    field += 2;
    if (*field == 'Z' || *field == 'X') return Presence::gone;
    for (int skipped = 3; skipped < 22; ++skipped) {
        field = std::strchr(field, ' ');
        if (field == nullptr) return Presence::unknown;
        ++field;
    }
    start = std::strtoull(field, nullptr, 10);
    return Presence::here;
}

std::uint64_t pid_space() noexcept {
    struct stat info{};
    return stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

#else

// Without a start time a reused pid keeps a dead process's reservations until the restart.
Presence find_process(std::uint64_t pid, std::uint64_t& start) noexcept {
    start = 0;
    if (kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM) return Presence::here;
    return errno == ESRCH ? Presence::gone : Presence::unknown;
}

std::uint64_t pid_space() noexcept { return 0; }

#endif

std::atomic<std::uint64_t>& cached_name() noexcept {
    static std::atomic<std::uint64_t> name{0};
    return name;
}

void forget_name() noexcept { cached_name().store(0, std::memory_order_relaxed); }

#endif

}  // namespace

Environment system_environment() noexcept {
    std::timespec wall{};
    std::timespec_get(&wall, TIME_UTC);
    return {read_boot_id(), boot_time_ns(),
            static_cast<std::int64_t>(wall.tv_sec) * 1'000'000'000 + wall.tv_nsec};
}

#if defined(_WIN32)

std::uint64_t own_process() noexcept { return name_of(0, 0, 0); }
bool is_alive(std::uint64_t) noexcept { return true; }

#else

std::uint64_t own_process() noexcept {
    static const int registered = pthread_atfork(nullptr, nullptr, forget_name);
    std::uint64_t name = registered == 0 ? cached_name().load(std::memory_order_relaxed) : 0;
    if (name == 0) {
        const auto pid = static_cast<std::uint64_t>(getpid());
        std::uint64_t start = 0;
        find_process(pid, start);
        name = name_of(pid, pid_space(), start);
        cached_name().store(name, std::memory_order_relaxed);
    }
    return name;
}

bool is_alive(std::uint64_t process) noexcept {
    const std::uint64_t pid = low_bits(process, pid_bits);
    const std::uint64_t space = low_bits(process >> pid_bits, space_bits);
    if (space != low_bits(pid_space(), space_bits)) return true;
    std::uint64_t start = 0;
    switch (find_process(pid, start)) {
        case Presence::gone:
            return false;
        case Presence::unknown:
            return true;
        case Presence::here:
            return name_of(pid, space, start) == process;
    }
    return true;
}

#endif

}  // namespace llmspell::ledger

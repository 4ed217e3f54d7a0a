// What the ledger asks of the operating system: time since boot, the boot's name, and whether the
// process behind a reservation still lives.
#pragma once

#include <array>
#include <cstdint>
#include <ctime>
#include <functional>

namespace llmspell::ledger {

// Text, zero padded; equal as long as the machine has not been restarted, where clocks are the
// same.
using BootId = std::array<char, 40>;

struct Environment {
    BootId boot_id;
    std::uint64_t boot_ns;
    std::int64_t utc_ns;  // since 1970, as the wall clock has it now, right or wrong
};

Environment system_environment() noexcept;

// Asked for the environment where it is needed: what was read before a wait is of the past.
using EnvironmentSource = std::function<Environment()>;
inline EnvironmentSource system_environment_source() { return system_environment; }

// Nanoseconds on a clock that never steps. Where the system offers it, sleep counts.
inline std::uint64_t boot_time_ns() noexcept {
#if defined(_WIN32)
    return 0;  // no ledger can be opened there
#else
#if defined(CLOCK_BOOTTIME)
    constexpr clockid_t clock = CLOCK_BOOTTIME;
#else
    constexpr clockid_t clock = CLOCK_MONOTONIC;
#endif
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(time.tv_nsec);
#endif
}

// Names this process: pid, pid namespace and start time in one word; right after fork(), too.
std::uint64_t own_process() noexcept;

// False only where the process is known to be gone. One in another pid namespace can't be seen
// from here and counts as alive until the machine restarts.
bool is_alive(std::uint64_t process) noexcept;

}  // namespace llmspell::ledger

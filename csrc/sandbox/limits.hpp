// What a process may take of the machine, by setrlimit.
#pragma once

#include <cstdint>

#include "sandbox/failure.hpp"

namespace llmspell::sandbox {

struct Limits {
    std::uint64_t address_space = 0;  // bytes
    std::uint64_t cpu_seconds = 0;    // of the processor; SIGKILL a second behind it
    std::uint64_t file_size = 0;      // bytes of any file that it writes
    std::uint64_t open_files = 0;     // one more than the highest descriptor
    std::uint64_t processes = 0;      // of its user; none of its own where 0
};

// Soft and hard, so that they never rise again. No core is ever written. Async-signal-safe.
Failure set_limits(const Limits& limits) noexcept;

}  // namespace llmspell::sandbox

// Landlock: which files a process may still reach, and that it reaches no network, no abstract
// socket and no process outside. See landlock(7); the newest header that we can count on is older
// than the kernel's interface, so its numbers stand here.
#pragma once

#include <span>

#include "sandbox/failure.hpp"

namespace llmspell::sandbox {

// The interface that the kernel has and will enforce; 0 where there is none.
int landlock_abi() noexcept;

// What is beneath an open descriptor (O_PATH, a directory or a file).
struct PathRule {
    int descriptor = -1;
    bool writes = false;    // else it is read only
    bool executes = false;  // programs, and what they are linked to
};

// What may be reached by TCP, where Landlock knows of it (interface 4).
constexpr int every_port = -1;
constexpr int no_port = 0;

// Of this thread and all that it starts, for good. Async-signal-safe; needs no_new_privs.
// Restrictions add up: called again it only takes away. `port` is the one that may be connected to,
// or one of the above.
Failure restrict_reach(std::span<const PathRule> rules, int port, int abi) noexcept;

}  // namespace llmspell::sandbox

// All that a process applies to itself before a tool may run in it.
#pragma once

#include <span>

#include "sandbox/failure.hpp"
#include "sandbox/landlock.hpp"
#include "sandbox/limits.hpp"
#include "sandbox/seccomp.hpp"

namespace llmspell::sandbox {

// For the one thread of a process. In order:
//
// - it dies with its parent, unless that has died already: then it fails;
// - no program that it runs has more rights than it has, and nobody may look into it;
// - it stands in `directory`, which is its root too where `is_root`;
// - of files it has what is beneath `rules`; of descriptors it keeps `kept` (ascending) alone;
// - limits, then the filter.
//
// Nothing is allocated, and the process must end where it fails.
struct Confinement {
    int parent = 0;  // its process id
    std::span<const int> kept = {};
    int directory = -1;    // open; -1 where it stays where it is
    bool is_root = false;  // needs the right to change it
    std::span<const PathRule> rules = {};
    int port = no_port;  // of TCP, that may be connected to
    int landlock_abi = 0;
    Limits limits = {};
    Filter filter = Filter::safe;
};

Failure confine(const Confinement& confinement) noexcept;

// Two of its steps, for the processes that workers are forked from: to end with the parent, whose
// process id is 0 where it is out of sight, and to run no program that has more rights.
Failure die_with(int parent) noexcept;
Failure give_up_new_rights() noexcept;

}  // namespace llmspell::sandbox

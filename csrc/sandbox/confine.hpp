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
// - of files it has what is beneath `rules`; of descriptors it keeps `kept` (ascending) alone;
// - limits, then the filter.
//
// Nothing is allocated, and the process must end where it fails.
struct Confinement {
    int parent = 0;  // its process id
    std::span<const int> kept = {};
    std::span<const PathRule> rules = {};
    int landlock_abi = 0;
    Limits limits = {};
    Filter filter = Filter::safe;
};

Failure confine(const Confinement& confinement) noexcept;

}  // namespace llmspell::sandbox

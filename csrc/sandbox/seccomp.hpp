// Filters of system calls, generated from libseccomp by filters/generate.c.
#pragma once

#include "sandbox/failure.hpp"

namespace llmspell::sandbox {

enum class Filter {
    safe,        // computes, and talks by what is open
    restricted,  // and has files, as far as Landlock lets it
    processes,   // and processes of its own
    programs,    // and runs programs in them
    networked,   // which connect by TCP, as far as Landlock and their network let them
};

// Whether the kernel has them, and there is one for this architecture.
bool has_filters() noexcept;

// Of this thread and all that it starts, for good: what isn't allowed is refused with EPERM.
// Async-signal-safe; needs no_new_privs. Of several, each call has to pass all.
Failure filter_calls(Filter filter) noexcept;

}  // namespace llmspell::sandbox

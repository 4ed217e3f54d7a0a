// Filters of system calls, generated from libseccomp by filters/generate.c.
#pragma once

#include "sandbox/failure.hpp"

namespace llmspell::sandbox {

enum class Filter {
    loading,  // what loads a tool and forks; may confine itself further
    safe,
    restricted,
    privileged,
};

// Whether the kernel has them, and there is one for this architecture.
bool has_filters() noexcept;

// Of this thread and all that it starts, for good: what isn't allowed is refused with EPERM.
// Async-signal-safe; needs no_new_privs. Of several, each call has to pass all.
Failure filter_calls(Filter filter) noexcept;

}  // namespace llmspell::sandbox

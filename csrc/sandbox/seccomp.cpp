#include "sandbox/seccomp.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <span>

namespace llmspell::sandbox {
namespace {

using Program = std::span<const sock_filter>;

#if defined(__x86_64__) && !defined(__ILP32__)
constexpr sock_filter safe[] = {
#include "sandbox/filters/safe.x86_64.inc"
};
constexpr sock_filter restricted[] = {
#include "sandbox/filters/restricted.x86_64.inc"
};
constexpr sock_filter processes[] = {
#include "sandbox/filters/processes.x86_64.inc"
};
constexpr sock_filter programs[] = {
#include "sandbox/filters/programs.x86_64.inc"
};
constexpr sock_filter networked[] = {
#include "sandbox/filters/networked.x86_64.inc"
};
#elif defined(__aarch64__) && !defined(__ILP32__)
constexpr sock_filter safe[] = {
#include "sandbox/filters/safe.aarch64.inc"
};
constexpr sock_filter restricted[] = {
#include "sandbox/filters/restricted.aarch64.inc"
};
constexpr sock_filter processes[] = {
#include "sandbox/filters/processes.aarch64.inc"
};
constexpr sock_filter programs[] = {
#include "sandbox/filters/programs.aarch64.inc"
};
constexpr sock_filter networked[] = {
#include "sandbox/filters/networked.aarch64.inc"
};
#else
constexpr Program safe, restricted, processes, programs, networked;
#endif

Program program_of(Filter filter) noexcept {
    switch (filter) {
        case Filter::safe:
            return safe;
        case Filter::restricted:
            return restricted;
        case Filter::processes:
            return processes;
        case Filter::programs:
            return programs;
        case Filter::networked:
            return networked;
    }
    return {};
}

}  // namespace

bool has_filters() noexcept {
    if (program_of(Filter::safe).empty()) return false;
    const std::uint32_t action = SECCOMP_RET_ERRNO;
    return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

Failure filter_calls(Filter filter) noexcept {
    const Program program = program_of(filter);
    if (program.empty()) return {"a filter for this architecture", ENOSYS};
    // The kernel reads it only.
    const sock_fprog given{static_cast<unsigned short>(program.size()),
                           const_cast<sock_filter*>(program.data())};
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &given) != 0) {
        return {"seccomp", errno};
    }
    return {};
}

}  // namespace llmspell::sandbox

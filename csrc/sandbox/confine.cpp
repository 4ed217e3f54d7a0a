#include "sandbox/confine.hpp"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>

namespace llmspell::sandbox {
namespace {

Failure enter(int directory, bool is_root) noexcept {
    if (directory < 0) return {};
    if (::fchdir(directory) != 0) return {"fchdir", errno};
    if (is_root && ::chroot(".") != 0) return {"chroot", errno};
    return {};
}

// A superuser without them is one by name; nor do programs that it runs give them back.
Failure drop_capabilities() noexcept {
    for (unsigned long one = 0; ::prctl(PR_CAPBSET_READ, one, 0, 0, 0) >= 0; ++one) {
        // Who isn't allowed to has none to drop.
        if (::prctl(PR_CAPBSET_DROP, one, 0, 0, 0) != 0 && errno != EPERM) {
            return {"PR_CAPBSET_DROP", errno};
        }
    }
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    if (::syscall(SYS_capset, &header, none) != 0) return {"capset", errno};
    return {};
}

Failure close_all_but(std::span<const int> kept) noexcept {
    unsigned first = 0;
    const auto close = [&](unsigned last) noexcept {
        return first > last || ::syscall(SYS_close_range, first, last, 0) == 0;
    };
    for (const int descriptor : kept) {
        const auto next = static_cast<unsigned>(descriptor);
        if (next > 0 && !close(next - 1)) return {"close_range", errno};
        first = next + 1;
    }
    if (!close(UINT_MAX)) return {"close_range", errno};
    return {};
}

}  // namespace

Failure die_with(int parent) noexcept {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return {"PR_SET_PDEATHSIG", errno};
    // It may have died before.
    if (::getppid() != parent) return {"the parent is gone", ESRCH};
    return {};
}

Failure give_up_new_rights() noexcept {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return {"PR_SET_NO_NEW_PRIVS", errno};
    return {};
}

Failure confine(const Confinement& confinement) noexcept {
    if (const Failure failure = die_with(confinement.parent)) return failure;
    if (const Failure failure = give_up_new_rights()) return failure;
    if (const Failure failure = enter(confinement.directory, confinement.is_root)) return failure;
    if (const Failure failure = drop_capabilities()) return failure;
    if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return {"PR_SET_DUMPABLE", errno};
    if (confinement.landlock_abi < 1) return {"Landlock", ENOSYS};
    if (const Failure failure =
            restrict_reach(confinement.rules, confinement.port, confinement.landlock_abi)) {
        return failure;
    }
    if (const Failure failure = close_all_but(confinement.kept)) return failure;
    if (const Failure failure = set_limits(confinement.limits)) return failure;
    return filter_calls(confinement.filter);
}

}  // namespace llmspell::sandbox

#include "sandbox/namespaces.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace llmspell::sandbox {
namespace {

bool has_capability(unsigned one) noexcept {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
    if (::syscall(SYS_capget, &header, sets) != 0) return false;
    return (sets[one / 32].effective >> (one % 32) & 1U) != 0;
}

bool write_file(const char* path, const char* text) noexcept {
    const int file = ::open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return false;
    const auto length = static_cast<ssize_t>(std::strlen(text));
    const bool is_written = ::write(file, text, static_cast<std::size_t>(length)) == length;
    return ::close(file) == 0 && is_written;
}

// Its user and group stay what they are, so that its files stay its own.
void enter_users() noexcept {
    char users[32];
    char groups[32];
    std::snprintf(users, sizeof users, "%u %u 1", ::geteuid(), ::geteuid());
    std::snprintf(groups, sizeof groups, "%u %u 1", ::getegid(), ::getegid());
    if (::unshare(CLONE_NEWUSER) != 0) return;
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", users);
    write_file("/proc/self/gid_map", groups);
}

}  // namespace

Namespaces enter_namespaces() noexcept {
    if (!has_capability(CAP_SYS_ADMIN)) enter_users();
    Namespaces held;
    held.network = ::unshare(CLONE_NEWNET) == 0;
    held.processes = ::unshare(CLONE_NEWPID) == 0;
    held.ipc = ::unshare(CLONE_NEWIPC) == 0;
    held.changes_root = has_capability(CAP_SYS_CHROOT);
    return held;
}

}  // namespace llmspell::sandbox

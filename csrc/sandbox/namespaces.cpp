#include "sandbox/namespaces.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
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
    held.mounts = ::unshare(CLONE_NEWNS) == 0 &&
                  ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    held.changes_root = has_capability(CAP_SYS_CHROOT);
    return held;
}

bool hide_the_outside() noexcept {
    constexpr unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    // A process that is confined sees there those alone that it could trace, which Landlock keeps
    // to its own; before Linux 5.8 all of this namespace.
    if (::mount("proc", "/proc", "proc", flags, "hidepid=4") != 0 &&
        ::mount("proc", "/proc", "proc", flags, nullptr) != 0) {
        return false;
    }
    if (::access("/sys/fs/cgroup", F_OK) != 0) return true;
    return ::mount("none", "/sys/fs/cgroup", "tmpfs", flags | MS_RDONLY, "size=4k,mode=555") == 0;
}

Failure enter_loopback() noexcept {
    if (::unshare(CLONE_NEWNET) != 0) return {"unshare", errno};
    const int any = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (any < 0) return {"socket", errno};
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    const int result = ::ioctl(any, SIOCSIFFLAGS, &request);
    const int error = errno;
    ::close(any);
    if (result != 0) return {"SIOCSIFFLAGS", error};
    return {};
}

}  // namespace llmspell::sandbox

// What a confined process can't do any more, each shown to be possible before, and what it still
// can.
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "check.hpp"
#include "sandbox/confine.hpp"
#include "sandbox/namespaces.hpp"

using namespace llmspell::sandbox;

namespace {

std::filesystem::path directory;  // with the file "inside"
std::filesystem::path outside;    // with the file "secret"

// Runs `work` in a child; what it returns is the exit code, 0 to 255, or -1 where a signal ended
// it.
template <typename Work>
int in_child(Work work) {
    const pid_t child = fork();
    if (child == 0) _exit(work());
    int code = 0;
    CHECK(waitpid(child, &code, 0) == child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

constexpr Limits roomy = {
    .address_space = ~std::uint64_t{0},  // sanitizers reserve terabytes
    .cpu_seconds = 60,
    .file_size = 1 << 20,
    .open_files = 64,
    .processes = 4096,
};

// As a worker for a tool does: `writes` of the directory where it may, and no other file.
Failure confine_as(Filter filter, bool writes = false, Limits limits = roomy) {
    const int root = open(directory.c_str(), O_PATH | O_CLOEXEC);
    const std::array rules = {PathRule{root, writes, false}};
    const std::array kept = {0, 1, 2};
    return confine({
        .parent = getppid(),
        .kept = kept,
        .rules = filter == Filter::safe ? std::span<const PathRule>() : rules,
        .landlock_abi = landlock_abi(),
        .limits = limits,
        .filter = filter,
    });
}

struct Attempt {
    const char* name;
    long (*act)();                   // negative where it was refused
    bool is_for_restricted = false;  // who has files may do it
};

long clone_with(unsigned long flags) {
    const long child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    if (child > 0) waitpid(static_cast<pid_t>(child), nullptr, 0);
    return child;
}

long read_of(const std::filesystem::path& path) { return open(path.c_str(), O_RDONLY); }

const std::vector<Attempt> attempts = {
    {"open a file inside", [] { return read_of(directory / "inside"); }, true},
    {"list the directory", [] { return long{open(directory.c_str(), O_DIRECTORY)}; }, true},
    {"open a file outside", [] { return read_of(outside / "secret"); }},
    {"open by ..", [] { return read_of(directory / ".." / outside.filename() / "secret"); }},
    {"open by a link", [] { return read_of(directory / "link"); }},
    {"open /proc/self/mem", [] { return read_of("/proc/self/mem"); }},
    {"open the parent's memory",
     [] { return read_of("/proc/" + std::to_string(getppid()) + "/mem"); }},
    {"write a file inside", [] { return long{open((directory / "inside").c_str(), O_WRONLY)}; }},
    {"make a file inside",
     [] { return long{open((directory / "made").c_str(), O_WRONLY | O_CREAT, 0600)}; }},
    {"make a file in /tmp", [] { return long{open("/tmp", O_TMPFILE | O_WRONLY, 0600)}; }},
    {"memfd", [] { return syscall(SYS_memfd_create, "x", 0); }},
    {"TCP socket", [] { return long{socket(AF_INET, SOCK_STREAM, 0)}; }},
    {"multipath TCP socket", [] { return long{socket(AF_INET, SOCK_STREAM, 262)}; }},
    {"UDP socket", [] { return long{socket(AF_INET6, SOCK_DGRAM, 0)}; }},
    {"unix socket", [] { return long{socket(AF_UNIX, SOCK_STREAM, 0)}; }},
    {"netlink socket", [] { return long{socket(AF_NETLINK, SOCK_RAW, 0)}; }},
    {"pair of datagram sockets",
     [] {
         int ends[2];
         return long{socketpair(AF_UNIX, SOCK_DGRAM, 0, ends)};
     }},
    {"fork", [] { return clone_with(0); }},
    {"user namespace", [] { return long{unshare(CLONE_NEWUSER)}; }},
    {"mount namespace", [] { return clone_with(CLONE_NEWUSER | CLONE_NEWNS); }},
    {"signal to the parent", [] { return long{kill(getppid(), 0)}; }},
    {"signal by the owner of a descriptor",
     [] {
         int ends[2];
         CHECK(pipe(ends) == 0);
         return long{fcntl(ends[0], F_SETOWN, getppid())};
     }},
    {"limits of the parent",
     [] { return syscall(SYS_prlimit64, getppid(), RLIMIT_NOFILE, nullptr, nullptr); }},
    {"memory of the parent",
     [] {
         static char word[8] = {};
         const iovec here{word, sizeof word}, there{word, sizeof word};
         return syscall(SYS_process_vm_readv, getppid(), &here, 1, &there, 1, 0);
     }},
    {"descriptor of the parent",
     [] {
         const long parent = syscall(SYS_pidfd_open, getppid(), 0);
         return parent < 0 ? parent : syscall(SYS_pidfd_getfd, parent, 0, 0);
     }},
    {"keyring", [] { return syscall(SYS_add_key, "user", "llmspell", "x", 1, -3); }},
    {"inotify", [] { return syscall(SYS_inotify_init1, 0); }},
    {"shared memory of System V",
     [] {
         const long made = shmget(IPC_PRIVATE, 4096, 0600);
         if (made >= 0) shmctl(static_cast<int>(made), IPC_RMID, nullptr);
         return made;
     }},
    {"personality", [] { return syscall(SYS_personality, 0xffffffff); }},
    {"new root", [] { return long{chroot(directory.c_str())}; }},
    {"a program", [] { return long{access("/bin/sh", X_OK)}; }},
    {"size of a file outside",
     [] {
         struct stat status;
         return long{stat((outside / "secret").c_str(), &status)};
     },
     true},
};

void nothing_is_left_of(Filter filter) {
    for (const Attempt& attempt : attempts) {
        // A superuser without rights, or a kernel without the call, proves nothing.
        if (in_child([&] { return attempt.act() < 0; }) != 0) {
            std::printf("not possible here anyway: %s\n", attempt.name);
            continue;
        }
        const int refused = in_child([&] {
            if (confine_as(filter)) return 2;
            return attempt.act() < 0 ? 1 : 0;
        });
        const int expected = filter != Filter::safe && attempt.is_for_restricted ? 0 : 1;
        // Whether a program is there may be known where its size is.
        if (filter != Filter::safe && std::strcmp(attempt.name, "a program") == 0) continue;
        if (refused != expected) std::fprintf(stderr, "%s: %d\n", attempt.name, refused);
        CHECK(refused == expected);
    }
}

void a_safe_tool_computes() {
    CHECK(in_child([] {
              if (confine_as(Filter::safe)) return 2;
              void* const memory = mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              int ends[2];
              const bool is_alive = memory != MAP_FAILED && munmap(memory, 1 << 20) == 0 &&
                                    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 &&
                                    write(ends[0], "x", 1) == 1 && pipe(ends) == 0;
              return is_alive ? 0 : 1;
          }) == 0);
}

void a_writer_changes_its_directory() {
    CHECK(in_child([] {
              if (confine_as(Filter::restricted, true)) return 2;
              const int made = open((directory / "made").c_str(), O_WRONLY | O_CREAT, 0600);
              const bool is_done = made >= 0 && write(made, "x", 1) == 1 &&
                                   unlink((directory / "made").c_str()) == 0 &&
                                   mkfifo((directory / "pipe").c_str(), 0600) != 0;
              return is_done ? 0 : 1;
          }) == 0);
}

void limits_hold() {
    Limits limits = roomy;
    limits.address_space = 1 << 20;
    limits.open_files = 3;
    CHECK(in_child([&] {
              if (confine_as(Filter::safe, false, limits)) return 2;
              int ends[2];
              const bool is_refused = mmap(nullptr, 8 << 20, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
                                      pipe(ends) != 0 && errno == EMFILE;
              return is_refused ? 0 : 1;
          }) == 0);
    limits = roomy;
    limits.cpu_seconds = 1;
    CHECK(in_child([&] {
              signal(SIGXCPU, SIG_IGN);
              if (confine_as(Filter::safe, false, limits)) return 2;
              for (;;) getpid();
          }) == -1);
}

void nothing_stays_open() {
    const int secret = open((outside / "secret").c_str(), O_RDONLY);
    CHECK(in_child([&] {
              if (confine_as(Filter::safe)) return 2;
              char byte;
              return read(secret, &byte, 1) == -1 && errno == EBADF ? 0 : 1;
          }) == 0);
    close(secret);
}

void who_lost_its_parent_runs_nothing() {
    CHECK(in_child([] {
              return confine({.parent = getppid() + 1, .landlock_abi = landlock_abi()}) ? 0 : 1;
          }) == 0);
}

// The rights that a process has, and those that it could ever have.
bool has_rights() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        const bool is_set = line.starts_with("CapEff:") || line.starts_with("CapPrm:") ||
                            line.starts_with("CapBnd:") || line.starts_with("CapAmb:");
        if (is_set && line.find_first_of("123456789abcdef", 7) != std::string::npos) return true;
    }
    return false;
}

void no_right_is_left() {
    if (geteuid() != 0) return;
    CHECK(in_child([] { return has_rights() ? 1 : 0; }) == 1);
    CHECK(in_child([] {
              const int root = open("/", O_PATH | O_CLOEXEC);
              const std::array rules = {PathRule{root, false, true}};
              const std::array kept = {0, 1, 2};
              if (confine({.parent = getppid(),
                           .kept = kept,
                           .rules = rules,
                           .landlock_abi = landlock_abi(),
                           .limits = roomy,
                           .filter = Filter::restricted})) {
                  return 2;
              }
              return has_rights() ? 1 : 0;
          }) == 0);
}

void a_directory_becomes_its_root() {
    const bool is_possible = in_child([] { return chroot(directory.c_str()) == 0 ? 1 : 0; }) == 1;
    if (!is_possible) return;
    CHECK(in_child([] {
              const int root = open("/", O_PATH | O_CLOEXEC);
              const int inside = open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
              const std::array rules = {PathRule{root, false, false}};
              const std::array kept = {0, 1, 2};
              if (confine({.parent = getppid(),
                           .kept = kept,
                           .directory = inside,
                           .is_root = true,
                           .rules = rules,
                           .landlock_abi = landlock_abi(),
                           .limits = roomy,
                           .filter = Filter::restricted})) {
                  return 2;
              }
              const bool is_held = read_of("/inside") >= 0 && read_of("/../etc/passwd") < 0 &&
                                   read_of(outside / "secret") < 0;
              return is_held ? 0 : 1;
          }) == 0);
}

void who_has_processes_forks_and_ends_only_its_own() {
    CHECK(in_child([] {
              const pid_t stranger = getppid();
              if (confine_as(Filter::processes)) return 2;
              const pid_t child = fork();
              if (child == 0) {
                  for (;;) pause();
              }
              int code = 0;
              if (child < 0 || kill(child, SIGKILL) != 0) return 3;
              if (waitpid(child, &code, 0) != child || !WIFSIGNALED(code)) return 4;
              if (landlock_abi() >= 6 && kill(stranger, 0) == 0) return 5;
              execl("/bin/true", "true", nullptr);
              return 0;
          }) == 0);
}

void who_has_programs_runs_them_without_rights() {
    CHECK(in_child([] {
              const int root = open("/", O_PATH | O_CLOEXEC);
              const std::array rules = {PathRule{root, false, true}};
              const std::array kept = {0, 1, 2};
              if (confine({.parent = getppid(),
                           .kept = kept,
                           .rules = rules,
                           .landlock_abi = landlock_abi(),
                           .limits = roomy,
                           .filter = Filter::programs})) {
                  return 2;
              }
              execl("/bin/sh", "sh", "-c",
                    "while read name value; do case $name in CapEff: | CapPrm:)"
                    " test $value = 0000000000000000 || exit 9 ;; esac; done < /proc/self/status",
                    nullptr);
              return 3;
          }) == 0);
}

void namespaces_hold() {
    CHECK(in_child([] {
              const Namespaces held = enter_namespaces();
              if (held.processes) {
                  const pid_t first = fork();
                  if (first == 0) {
                      if (!held.mounts || !hide_the_outside()) _exit(getpid() == 1 ? 0 : 1);
                      const bool is_hidden =
                          read_of("/proc/1/stat") >= 0 && read_of("/proc/2/stat") < 0 &&
                          open("/sys/fs/cgroup/made", O_WRONLY | O_CREAT, 0600) < 0;
                      _exit(getpid() == 1 && is_hidden ? 0 : 1);
                  }
                  int code = 0;
                  if (waitpid(first, &code, 0) != first || code != 0) return 2;
              }
              if (!held.network) return 0;
              // Nothing but an interface that is down: not even itself is there.
              const int talk = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
              sockaddr_in itself{};
              itself.sin_family = AF_INET;
              itself.sin_port = 9;
              itself.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
              const auto* const address = reinterpret_cast<const sockaddr*>(&itself);
              return connect(talk, address, sizeof itself) != 0 && errno == ENETUNREACH ? 0 : 3;
          }) == 0);
}

#if defined(__x86_64__)
void another_architecture_ends_it() {
    CHECK(in_child([] {
              if (confine_as(Filter::safe)) return 2;
              return static_cast<int>(syscall(0x40000000 + SYS_getpid));  // x32
          }) == -1);
}
#endif

void a_loopback_is_all_of_a_network() {
    CHECK(in_child([] {
              if (!enter_namespaces().network) return 0;
              if (enter_loopback()) return 2;
              const int talk = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
              sockaddr_in itself{};
              itself.sin_family = AF_INET;
              itself.sin_port = 9;
              itself.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
              const auto* const address = reinterpret_cast<const sockaddr*>(&itself);
              if (connect(talk, address, sizeof itself) != 0) return 3;
              itself.sin_addr.s_addr = htonl(0x08080808);
              return connect(talk, address, sizeof itself) != 0 ? 0 : 4;
          }) == 0);
}

}  // namespace

int main() {
    if (landlock_abi() < 1 || !has_filters()) {
        std::puts("this kernel has no Landlock or no filters");
        return 77;
    }
    const auto base =
        std::filesystem::temp_directory_path() / ("llmspell-sandbox-" + std::to_string(getpid()));
    directory = base / "work";
    outside = base / "work-evil";
    std::filesystem::create_directories(directory);
    std::filesystem::create_directories(outside);
    std::ofstream(directory / "inside") << "inside";
    std::ofstream(outside / "secret") << "secret";
    std::filesystem::create_symlink(outside / "secret", directory / "link");
    for (const Filter filter : {Filter::safe, Filter::restricted}) nothing_is_left_of(filter);
    a_safe_tool_computes();
    a_writer_changes_its_directory();
    limits_hold();
    nothing_stays_open();
    who_lost_its_parent_runs_nothing();
    no_right_is_left();
    a_directory_becomes_its_root();
    who_has_processes_forks_and_ends_only_its_own();
    who_has_programs_runs_them_without_rights();
    namespaces_hold();
    a_loopback_is_all_of_a_network();
#if defined(__x86_64__)
    another_architecture_ends_it();
#endif
    std::filesystem::remove_all(base);
    return check_result();
}

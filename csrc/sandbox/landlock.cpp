#include "sandbox/landlock.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace llmspell::sandbox {
namespace {

// <linux/landlock.h> as of interface 6; a kernel takes a shorter structure for zeros behind it.
struct RulesetAttributes {
    std::uint64_t files;
    std::uint64_t network;
    std::uint64_t scoped;
};
static_assert(sizeof(RulesetAttributes) == 24);

struct [[gnu::packed]] BeneathAttributes {
    std::uint64_t allowed;
    std::int32_t parent;
};
static_assert(sizeof(BeneathAttributes) == 12);

struct PortAttributes {
    std::uint64_t allowed;
    std::uint64_t port;
};
static_assert(sizeof(PortAttributes) == 16);

constexpr long create_ruleset = 444;
constexpr long add_rule = 445;
constexpr long restrict_self = 446;
constexpr unsigned version_flag = 1;
constexpr int path_beneath = 1;
constexpr int net_port = 2;

constexpr std::uint64_t execute = 1 << 0;
constexpr std::uint64_t write_file = 1 << 1;
constexpr std::uint64_t read_file = 1 << 2;
constexpr std::uint64_t read_directory = 1 << 3;
constexpr std::uint64_t remove_directory = 1 << 4;
constexpr std::uint64_t remove_file = 1 << 5;
constexpr std::uint64_t make_directory = 1 << 7;
constexpr std::uint64_t make_regular = 1 << 8;
constexpr std::uint64_t refer = 1 << 13;
constexpr std::uint64_t truncate = 1 << 14;
constexpr std::uint64_t ioctl_device = 1 << 15;

constexpr std::uint64_t reads = read_file | read_directory;
// No device, socket, pipe or link is ever made in a tool's directory.
constexpr std::uint64_t changes =
    write_file | remove_directory | remove_file | make_directory | make_regular | refer | truncate;
// What applies to a file that is no directory; other rights for one are refused.
constexpr std::uint64_t of_files = execute | write_file | read_file | truncate | ioctl_device;

constexpr std::uint64_t bind_tcp = 1 << 0;
constexpr std::uint64_t connect_tcp = 1 << 1;
constexpr std::uint64_t abstract_sockets = 1 << 0;
constexpr std::uint64_t signals = 1 << 1;

// Everything that an interface knows is handled, and so refused where no rule allows it.
RulesetAttributes handled(int port, int abi) noexcept {
    RulesetAttributes all{(1 << 13) - 1, 0, 0};
    if (abi >= 2) all.files |= refer;
    if (abi >= 3) all.files |= truncate;
    if (abi >= 4 && port != every_port) all.network = bind_tcp | connect_tcp;
    if (abi >= 5) all.files |= ioctl_device;
    if (abi >= 6) all.scoped = abstract_sockets | signals;
    return all;
}

std::size_t attribute_bytes(int abi) noexcept { return abi >= 6 ? 24 : abi >= 4 ? 16 : 8; }

bool is_directory(int descriptor) noexcept {
    struct stat status{};
    return ::fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode);
}

}  // namespace

int landlock_abi() noexcept {
    const long found = ::syscall(create_ruleset, nullptr, 0, version_flag);
    return found < 0 ? 0 : static_cast<int>(found);
}

Failure restrict_reach(std::span<const PathRule> rules, int port, int abi) noexcept {
    const RulesetAttributes all = handled(port, abi);
    const auto ruleset = static_cast<int>(::syscall(create_ruleset, &all, attribute_bytes(abi), 0));
    if (ruleset < 0) return {"landlock_create_ruleset", errno};
    for (const PathRule& rule : rules) {
        std::uint64_t allowed = reads;
        if (rule.writes) allowed |= changes;
        if (rule.executes) allowed |= execute;
        if (!is_directory(rule.descriptor)) allowed &= of_files;
        const BeneathAttributes beneath{allowed & all.files, rule.descriptor};
        if (::syscall(add_rule, ruleset, path_beneath, &beneath, 0) != 0) {
            return {"landlock_add_rule", errno};
        }
    }
    if (all.network != 0 && port > 0) {
        const PortAttributes one{connect_tcp, static_cast<std::uint64_t>(port)};
        if (::syscall(add_rule, ruleset, net_port, &one, 0) != 0) {
            return {"landlock_add_rule", errno};
        }
    }
    if (::syscall(restrict_self, ruleset, 0) != 0) return {"landlock_restrict_self", errno};
    if (::close(ruleset) != 0) return {"close", errno};
    return {};
}

}  // namespace llmspell::sandbox

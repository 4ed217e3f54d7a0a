#include "sandbox/limits.hpp"

#include <sys/resource.h>

#include <cerrno>

namespace llmspell::sandbox {
namespace {

Failure set_limit(int resource, std::uint64_t soft, std::uint64_t hard, const char* step) noexcept {
    const rlimit limit{soft, hard};
    if (::setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return {step, errno};
    return {};
}

}  // namespace

Failure set_limits(const Limits& limits) noexcept {
    struct {
        int resource;
        std::uint64_t soft;
        std::uint64_t hard;
        const char* step;
    } const all[] = {
        {RLIMIT_CORE, 0, 0, "RLIMIT_CORE"},
        {RLIMIT_AS, limits.address_space, limits.address_space, "RLIMIT_AS"},
        {RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1, "RLIMIT_CPU"},
        {RLIMIT_FSIZE, limits.file_size, limits.file_size, "RLIMIT_FSIZE"},
        {RLIMIT_NOFILE, limits.open_files, limits.open_files, "RLIMIT_NOFILE"},
        {RLIMIT_NPROC, limits.processes, limits.processes, "RLIMIT_NPROC"},
        {RLIMIT_MEMLOCK, 0, 0, "RLIMIT_MEMLOCK"},
        {RLIMIT_MSGQUEUE, 0, 0, "RLIMIT_MSGQUEUE"},
        {RLIMIT_SIGPENDING, 64, 64, "RLIMIT_SIGPENDING"},
    };
    for (const auto& one : all) {
        if (const Failure failure = set_limit(one.resource, one.soft, one.hard, one.step)) {
            return failure;
        }
    }
    return {};
}

}  // namespace llmspell::sandbox

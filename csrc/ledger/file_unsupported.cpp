#include <cerrno>

#include "ledger/file.hpp"

namespace llmspell::ledger {

int open_file(const std::filesystem::path&, int&) noexcept { return ENOSYS; }
void close_file(int) noexcept {}
int size_of(int, std::size_t&) noexcept { return ENOSYS; }
int set_size(int, std::size_t) noexcept { return ENOSYS; }
int map(int, std::size_t, std::byte*&) noexcept { return ENOSYS; }
void unmap(std::byte*, std::size_t) noexcept {}
bool try_become_exclusive(int) noexcept { return false; }
int become_shared(int) noexcept { return ENOSYS; }
FileLock::FileLock(const std::filesystem::path&, bool) noexcept : error_(ENOSYS) {}
FileLock::~FileLock() = default;

}  // namespace llmspell::ledger

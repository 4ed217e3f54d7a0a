// The file calls behind the ledger: file_posix.cpp, or file_unsupported.cpp where there is no
// POSIX. Functions return 0 or an errno.
#pragma once

#include <cstddef>
#include <filesystem>

namespace llmspell::ledger {

int open_file(const std::filesystem::path& path, int& file) noexcept;
void close_file(int file) noexcept;
int size_of(int file, std::size_t& bytes) noexcept;

// Where the system can, all of the file is allocated: a store into a hole of a full disk would be a
// SIGBUS. A failure leaves what was in it.
int set_size(int file, std::size_t bytes) noexcept;

int map(int file, std::size_t bytes, std::byte*& memory) noexcept;
void unmap(std::byte* memory, std::size_t bytes) noexcept;

// A mapped file is held shared for as long as it is mapped, so exclusive means that nobody else has
// it. `become_shared` waits; both replace what was held before.
bool try_become_exclusive(int file) noexcept;
int become_shared(int file) noexcept;

// Excludes other processes, threads and forked children, because each use opens the file anew.
// Where it does not wait for another who has it, error() is EWOULDBLOCK.
class FileLock {
  public:
    explicit FileLock(const std::filesystem::path& path, bool waits = true) noexcept;
    ~FileLock();
    FileLock(const FileLock&) = delete;
    FileLock& operator=(const FileLock&) = delete;

    int error() const noexcept { return error_; }

  private:
    int file_ = -1;
    int error_ = 0;
};

}  // namespace llmspell::ledger

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "ledger/file.hpp"

namespace llmspell::ledger {

namespace {

int wait_for_lock(int file, int operation) noexcept {
    while (flock(file, operation) != 0) {
        if (errno != EINTR) return errno;
    }
    return 0;
}

}  // namespace

int open_file(const std::filesystem::path& path, int& file) noexcept {
    file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return file < 0 ? errno : 0;
}

void close_file(int file) noexcept { ::close(file); }

int size_of(int file, std::size_t& bytes) noexcept {
    struct stat info{};
    if (fstat(file, &info) != 0) return errno;
    bytes = static_cast<std::size_t>(info.st_size);
    return 0;
}

int set_size(int file, std::size_t bytes) noexcept {
#if defined(__linux__)
    if (const int error = posix_fallocate(file, 0, static_cast<off_t>(bytes)); error != 0) {
        return error;
    }
#endif
    return ftruncate(file, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
}

int map(int file, std::size_t bytes, std::byte*& memory) noexcept {
    void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (address == MAP_FAILED) return errno;
    memory = static_cast<std::byte*>(address);
    return 0;
}

void unmap(std::byte* memory, std::size_t bytes) noexcept { munmap(memory, bytes); }

bool try_become_exclusive(int file) noexcept { return wait_for_lock(file, LOCK_EX | LOCK_NB) == 0; }

int become_shared(int file) noexcept { return wait_for_lock(file, LOCK_SH); }

FileLock::FileLock(const std::filesystem::path& path, bool waits) noexcept {
    error_ = open_file(path, file_);
    if (error_ == 0) error_ = wait_for_lock(file_, waits ? LOCK_EX : LOCK_EX | LOCK_NB);
}

FileLock::~FileLock() {
    if (file_ < 0) return;
    // Closing alone would not do: a child forked meanwhile has the file open as well.
    flock(file_, LOCK_UN);
    close_file(file_);
}

}  // namespace llmspell::ledger

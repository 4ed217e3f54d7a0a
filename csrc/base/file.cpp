#include "base/file.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "base/error.hpp"

#ifndef _WIN32
#include <fcntl.h>
#include <unistd.h>
#else
#include <io.h>
#include <process.h>
#endif

namespace llmspell {
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path) {
    throw Error(ErrorCode::storage, what + " " + path + ": " + std::strerror(errno));
}

// A C string ends at a NUL, so another file than the one named would be opened.
void check_path(const std::string& path) {
    if (path.find('\0') != std::string::npos) {
        throw Error(ErrorCode::storage,
                    "a path must not hold NUL, got " + path.substr(0, path.find('\0')) + "\\0...");
    }
}

struct Closer {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

int seek(std::FILE* file, std::int64_t offset, int from) {
#ifndef _WIN32
    return ::fseeko(file, static_cast<off_t>(offset), from);
#else
    return ::_fseeki64(file, offset, from);
#endif
}

std::int64_t tell(std::FILE* file) {
#ifndef _WIN32
    return ::ftello(file);
#else
    return ::_ftelli64(file);
#endif
}

// Of this process and call, so that two that save under one name don't write into one file.
std::string unique_suffix() {
    static std::atomic<unsigned> count{0};
#ifndef _WIN32
    const auto process = ::getpid();
#else
    const auto process = ::_getpid();
#endif
    return "." + std::to_string(process) + "-" + std::to_string(++count) + ".tmp";
}

void sync(std::FILE* file, const std::string& path) {
    if (std::fflush(file) != 0) fail("can't write", path);
#ifndef _WIN32
    if (::fsync(::fileno(file)) != 0) fail("can't sync", path);
#endif
}

void sync_directory(const std::string& path) {
#ifndef _WIN32
    std::string directory = std::filesystem::path(path).parent_path().string();
    if (directory.empty()) directory.assign(1, '.');
    const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) fail("can't open", directory);
    const int result = ::fsync(descriptor);
    ::close(descriptor);
    if (result != 0) fail("can't sync", directory);
#else
    static_cast<void>(path);
#endif
}

}  // namespace

File::File(const std::string& path) : path_(path) {
    check_path(path);
#ifdef __linux__
    file_.reset(std::fopen(path.c_str(), "rbe"));  // not for what this process starts
#else
    file_.reset(std::fopen(path.c_str(), "rb"));
#endif
    if (!file_) fail("can't open", path);
    // A folder opens, and has no size or one that is none.
    if (std::filesystem::is_directory(path)) {
        errno = EISDIR;
        fail("can't read", path);
    }
    if (seek(file_.get(), 0, SEEK_END) != 0) fail("can't read", path);
    const std::int64_t end = tell(file_.get());
    if (end < 0) fail("can't read", path);
    size_ = static_cast<std::uint64_t>(end);
}

int File::descriptor() const noexcept {
#ifndef _WIN32
    return ::fileno(file_.get());
#else
    return ::_fileno(file_.get());
#endif
}

void File::read(std::uint64_t offset, void* out, std::size_t bytes) const {
#ifndef _WIN32
    auto* to = static_cast<std::byte*>(out);
    constexpr std::size_t kMost = std::size_t{1} << 30;  // some systems take no more at once
    while (bytes > 0) {
        const auto got =
            ::pread(descriptor(), to, std::min(bytes, kMost), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) errno = EIO;  // shorter than it was
        if (got <= 0) fail("can't read", path_);
        to += got;
        offset += static_cast<std::uint64_t>(got);
        bytes -= static_cast<std::size_t>(got);
    }
#else
    if (bytes == 0) return;
    if (seek(file_.get(), static_cast<std::int64_t>(offset), SEEK_SET) != 0 ||
        std::fread(out, 1, bytes, file_.get()) != bytes) {
        fail("can't read", path_);
    }
#endif
}

void write_file_atomically(const std::string& path,
                           std::span<const std::span<const std::byte>> parts) {
    check_path(path);
    const std::string beside = path + unique_suffix();
    std::unique_ptr<std::FILE, Closer> file(std::fopen(beside.c_str(), "wbx"));
    if (!file) fail("can't create", beside);
    try {
        for (const std::span<const std::byte> part : parts) {
            if (part.empty()) continue;  // its pointer may be null
            if (std::fwrite(part.data(), 1, part.size(), file.get()) != part.size()) {
                fail("can't write", beside);
            }
        }
        sync(file.get(), beside);
        file.reset();
    } catch (...) {
        std::remove(beside.c_str());
        throw;
    }
    std::error_code error;
    std::filesystem::rename(beside, path, error);
    if (error) {
        std::remove(beside.c_str());
        throw Error(ErrorCode::storage, "can't rename to " + path + ": " + error.message());
    }
    sync_directory(path);
}

}  // namespace llmspell

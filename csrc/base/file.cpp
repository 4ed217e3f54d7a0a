#include "base/file.hpp"

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
using File = std::unique_ptr<std::FILE, Closer>;

constexpr std::size_t kMinRead = 4096;

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

std::vector<std::byte> read_file(const std::string& path) {
    check_path(path);
    const File file(std::fopen(path.c_str(), "rb"));
    if (!file) fail("can't open", path);
    // The size is a hint: by now another file may have taken the name of the one that is open.
    std::error_code unknown;
    const std::uintmax_t size = std::filesystem::file_size(path, unknown);
    std::vector<std::byte> bytes(unknown ? kMinRead : size + kMinRead);
    std::size_t have = 0;
    while (const std::size_t got =
               std::fread(bytes.data() + have, 1, bytes.size() - have, file.get())) {
        have += got;
        if (have == bytes.size()) bytes.resize(bytes.size() * 2);
    }
    if (std::ferror(file.get()) != 0) fail("can't read", path);
    bytes.resize(have);
    return bytes;
}

void write_file_atomically(const std::string& path,
                           std::span<const std::span<const std::byte>> parts) {
    check_path(path);
    const std::string beside = path + unique_suffix();
    File file(std::fopen(beside.c_str(), "wbx"));
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

// Files that are read in parts, and written so that a crash leaves the old one or the new one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

namespace llmspell {

// Throws Error(storage) with the path and the system's message. Thread-safe, but on Windows.
class File {
  public:
    explicit File(const std::string& path);

    std::uint64_t size() const noexcept { return size_; }
    int descriptor() const noexcept;
    // The part must lie within the file.
    void read(std::uint64_t offset, void* out, std::size_t bytes) const;

  private:
    struct Closer {
        void operator()(std::FILE* file) const noexcept { std::fclose(file); }
    };

    std::string path_;
    std::unique_ptr<std::FILE, Closer> file_;
    std::uint64_t size_ = 0;
};

// Writes beside, fsyncs, renames over `path`, fsyncs the directory.
void write_file_atomically(const std::string& path,
                           std::span<const std::span<const std::byte>> parts);

}  // namespace llmspell

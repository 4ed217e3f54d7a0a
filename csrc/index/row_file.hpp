// Rows that are read from a file whenever they are asked for, so that no memory of the process
// holds them. Thread-safe where File is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/file.hpp"

namespace llmspell::index {

class RowFile {
  public:
    RowFile(std::shared_ptr<const File> file, std::uint64_t offset, std::size_t row_bytes)
        : file_(std::move(file)), offset_(offset), row_bytes_(row_bytes) {}

    // Throws Error(storage).
    void read(std::size_t first, std::size_t count, std::byte* out) const {
        file_->read(offset_ + first * row_bytes_, out, count * row_bytes_);
    }

  private:
    std::shared_ptr<const File> file_;
    std::uint64_t offset_;
    std::size_t row_bytes_;
};

}  // namespace llmspell::index

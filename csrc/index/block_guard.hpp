// What stands between a search and a part of a snapshot that nothing has looked at yet: rows in
// blocks, each with a checksum, checked when one of its rows is first asked for.
//
// Searches share it. A change has all checked before it begins, and does without it from then on:
// what it writes has no checksum.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "index/params.hpp"
#include "index/row_file.hpp"

namespace llmspell::index {

class BlockGuard {
  public:
    // Whether a row's content is one that an index could have written.
    using Sound = std::function<bool(std::size_t row, const std::byte* content)>;

    struct Rows {
        const std::byte* data = nullptr;
        std::size_t row_bytes = 1;
        std::size_t count = 0;
    };

    // Rows of a block: a power of two of them, about kBlockBytes.
    static std::size_t rows_per_block(std::size_t row_bytes) noexcept;
    static std::vector<std::uint32_t> checksums(const Rows& rows);
    static std::size_t blocks(std::size_t row_bytes, std::size_t count) noexcept;

    // `name` is for messages. One checksum for each block.
    BlockGuard(std::string name, const Rows& rows, std::shared_ptr<const std::uint32_t> checksums,
               Sound sound);

    // Blocks to check are read from a file of the same rows, so as not to touch theirs.
    void read_from(const RowFile* file) noexcept { file_ = file; }

    // These throw Error(corrupt_file), and Error(storage) where blocks are read from a file.
    void check(std::size_t row) const {
        const std::size_t block = row >> shift_;
        const std::uint64_t word = checked_[block / 64].load(std::memory_order_acquire);
        if ((word >> (block % 64) & 1) == 0) check_block(block);
    }
    void check(std::span<const Slot> rows) const {
        for (const Slot row : rows) check(row);
    }
    void check(std::size_t first, std::size_t count) const;
    void check_all() const { check(0, rows_.count); }

  private:
    void check_block(std::size_t block) const;

    std::string name_;
    Rows rows_;
    const RowFile* file_ = nullptr;
    unsigned shift_;
    std::shared_ptr<const std::uint32_t> checksums_;
    Sound sound_;
    mutable std::vector<std::atomic<std::uint64_t>> checked_;  // a bit for each block
};

}  // namespace llmspell::index

#include "index/block_guard.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/aligned.hpp"
#include "base/checksum.hpp"
#include "base/error.hpp"

namespace llmspell::index {
namespace {

// A search comes to a hundred blocks when all are new to it: they are small, so that the first one
// takes little longer than others, and large beside their checksums.
constexpr std::size_t kBlockBytes = std::size_t{4} << 10;

}  // namespace

std::size_t BlockGuard::rows_per_block(std::size_t row_bytes) noexcept {
    return std::bit_floor(std::max<std::size_t>(kBlockBytes / row_bytes, 1));
}

std::size_t BlockGuard::blocks(std::size_t row_bytes, std::size_t count) noexcept {
    const std::size_t rows = rows_per_block(row_bytes);
    return count / rows + (count % rows != 0 ? 1 : 0);
}

std::vector<std::uint32_t> BlockGuard::checksums(const Rows& rows) {
    const std::size_t step = rows_per_block(rows.row_bytes);
    std::vector<std::uint32_t> out;
    out.reserve(blocks(rows.row_bytes, rows.count));
    for (std::size_t first = 0; first < rows.count; first += step) {
        out.push_back(crc32c(rows.data + first * rows.row_bytes,
                             std::min(step, rows.count - first) * rows.row_bytes));
    }
    return out;
}

BlockGuard::BlockGuard(std::string name, const Rows& rows,
                       std::shared_ptr<const std::uint32_t> checksums, Sound sound)
    : name_(std::move(name)),
      rows_(rows),
      shift_(static_cast<unsigned>(std::countr_zero(rows_per_block(rows.row_bytes)))),
      checksums_(std::move(checksums)),
      sound_(std::move(sound)),
      checked_((blocks(rows.row_bytes, rows.count) + 63) / 64) {}

void BlockGuard::check(std::size_t first, std::size_t count) const {
    if (count == 0) return;
    const std::size_t last = (first + count - 1) >> shift_;
    for (std::size_t block = first >> shift_; block <= last; ++block) check(block << shift_);
}

void BlockGuard::check_block(std::size_t block) const {
    const std::size_t first = block << shift_;
    const std::size_t end = std::min(first + (std::size_t{1} << shift_), rows_.count);
    const std::byte* data = rows_.data + first * rows_.row_bytes;
    AlignedArray<std::byte> of_file;
    if (file_ != nullptr) {
        of_file.resize((end - first) * rows_.row_bytes);
        file_->read(first, end - first, of_file.data());
        data = of_file.data();
    }
    bool holds = crc32c(data, (end - first) * rows_.row_bytes) == checksums_.get()[block];
    const char* what = holds ? " holds what no index writes" : " fails its checksum";
    for (std::size_t row = first; holds && sound_ && row < end; ++row, data += rows_.row_bytes) {
        holds = sound_(row, data);
    }
    if (!holds) {
        throw Error(ErrorCode::corrupt_file, name_ + ": block " + std::to_string(block) + what);
    }
    checked_[block / 64].fetch_or(std::uint64_t{1} << (block % 64), std::memory_order_release);
}

}  // namespace llmspell::index

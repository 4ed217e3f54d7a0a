#include "index/byte_axes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/heap.hpp"

namespace llmspell::index {
namespace {

constexpr std::size_t kQuad = 4;  // dimensions that are multiplied at once
constexpr int kMost = 127;        // of a query's whole numbers

// Two products of bytes are added up in 16 bits, which hold 255 * 128: so two neighbouring numbers
// of an axis are together at most 127, before they are rounded.
constexpr float kMostOfPair = 127.0f;

std::size_t quads_of(std::size_t dims) { return (dims + kQuad - 1) / kQuad; }
std::size_t blocks_of(std::size_t count) { return (count + kAxisBlock - 1) / kAxisBlock; }

}  // namespace

void ByteAxes::set(const float* rows, std::size_t count, std::size_t dims) {
    const std::size_t quads = quads_of(dims), blocks = blocks_of(count);
    count_ = count;
    dims_ = dims;
    rows_.resize(blocks * quads * kAxisBlock * kQuad);
    std::fill(rows_.data(), rows_.data() + rows_.size(), std::int8_t{0});
    units_.assign(count, 0.0f);
    shifts_.assign(blocks * kAxisBlock, 0);
    for (std::size_t a = 0; a < count; ++a) {
        const float* row = rows + a * dims;
        float largest = std::numeric_limits<float>::min();
        for (std::size_t i = 0; i < dims; i += 2) {
            largest = std::max(largest,
                               std::fabs(row[i]) + (i + 1 < dims ? std::fabs(row[i + 1]) : 0.0f));
        }
        units_[a] = largest / kMostOfPair;
        std::int8_t* block = rows_.data() + a / kAxisBlock * quads * kAxisBlock * kQuad;
        for (std::size_t i = 0; i < dims; ++i) {
            const auto number = static_cast<std::int8_t>(std::lrint(row[i] / units_[a]));
            block[(i / kQuad * kAxisBlock + a % kAxisBlock) * kQuad + i % kQuad] = number;
            shifts_[a] -= kByteOffset * number;
        }
    }
}

void ByteAxes::project(const WalkKernels& kernels, const float* vector, Scratch& scratch,
                       float* out) const {
    const std::size_t quads = quads_of(dims_);
    if (scratch.query.size() < quads * kQuad) scratch.query.resize(quads * kQuad);
    if (scratch.sums.size() < shifts_.size()) scratch.sums.resize(shifts_.size());
    // What lies beyond the dimensions is multiplied by zeros.
    const float unit = kernels.round(vector, dims_, kMost, kByteOffset, scratch.query.data());
    kernels.sum_axes(scratch.query.data(), rows_.data(), quads, shifts_.data(), blocks_of(count_),
                     scratch.sums.data());
    for (std::size_t a = 0; a < count_; ++a) {
        out[a] = unit * units_[a] * static_cast<float>(scratch.sums[a]);
    }
}

std::size_t ByteAxes::bytes() const noexcept {
    return rows_.bytes() + held_bytes(units_) + held_bytes(shifts_);
}

}  // namespace llmspell::index

#include "index/codes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/random.hpp"

namespace llmspell::index {
namespace {

std::size_t round_up(std::size_t value, std::size_t unit) {
    return (value + unit - 1) / unit * unit;
}

std::vector<float> random_signs(std::size_t count) {
    SplitMix64 random(0x6c6c6d7370656c6c);  // the same for every index: snapshots hold no rotation
    std::vector<float> signs(count);
    for (float& sign : signs) sign = random.unit() < 0.5 ? -1.0f : 1.0f;
    return signs;
}

}  // namespace

Codes::Codes(std::size_t dim, Metric metric, std::uint32_t max_neighbors)
    : dim_(dim),
      padded_dim_(round_up(dim, kCodeMultiple)),
      metric_(metric),
      layout_{round_up(max_neighbors, kBlock) / kBlock, padded_dim_ / kGroupDims,
              metric == Metric::l2},
      kernels_(&walk_kernels(simd::active().level)),
      signs_(random_signs(kRotationPasses * padded_dim_)),
      centroid_(dim, 0.0f) {}

std::size_t Codes::bytes() const noexcept {
    return bits_.bytes() + factors_.capacity() * sizeof(float);
}

void Codes::set_centroid(std::span<const float> centroid) {
    centroid_.assign(centroid.begin(), centroid.end());
}

void Codes::resize(std::size_t slots) {
    const std::size_t row = padded_dim_ / 8;
    const std::size_t rows = bits_.size() / row;
    if (slots > rows) bits_.resize(std::max(slots, rows + rows / 2) * row);
    factors_.resize(slots * (layout_.has_bias ? 2 : 1));
}

void Codes::clear() noexcept {
    bits_ = {};
    factors_ = {};
}

void Codes::rotated(const float* vector, bool centred, CodeScratch& scratch) const {
    scratch.rotated.assign(padded_dim_, 0.0f);
    scratch.scratch.resize(padded_dim_);
    for (std::size_t i = 0; i < dim_; ++i) {
        scratch.rotated[i] = centred ? vector[i] - centroid_[i] : vector[i];
    }
    kernels_->rotate(scratch.rotated.data(), scratch.scratch.data(), signs_.data(), padded_dim_);
}

void Codes::set(Slot slot, const float* vector, CodeScratch& scratch) {
    double norm2 = 0.0, along = 0.0;
    for (std::size_t i = 0; i < dim_; ++i) {
        const double x = static_cast<double>(vector[i]) - centroid_[i];
        norm2 += x * x;
    }
    rotated(vector, true, scratch);
    std::uint8_t* bits = bits_.data() + slot * (padded_dim_ / 8);
    std::memset(bits, 0, padded_dim_ / 8);
    for (std::size_t i = 0; i < padded_dim_; ++i) {
        const float x = scratch.rotated[i];
        along += 0.5 * std::fabs(static_cast<double>(x));
        if (x >= 0.0f) bits[i / 8] = static_cast<std::uint8_t>(bits[i / 8] | 1u << (i % 8));
    }
    const double factor = along > 0.0 ? norm2 / along : 0.0;
    if (layout_.has_bias) {  // |r - q|^2 less |q|^2
        factors_[2 * slot] = static_cast<float>(2.0 * factor);
        factors_[2 * slot + 1] = static_cast<float>(norm2);
    } else {
        factors_[slot] = static_cast<float>(factor);
    }
}

void Codes::wipe(Slot slot) noexcept {
    std::memset(bits_.data() + slot * (padded_dim_ / 8), 0, padded_dim_ / 8);
    const std::size_t each = layout_.has_bias ? 2 : 1;
    std::fill_n(factors_.begin() + static_cast<std::ptrdiff_t>(slot * each), each, 0.0f);
}

void Codes::renumber(const std::vector<Slot>& moved, std::size_t live) {
    const std::size_t row = padded_dim_ / 8, each = layout_.has_bias ? 2 : 1;
    AlignedArray<std::uint8_t> bits;
    bits.resize(live * row);
    std::vector<float> factors(live * each);
    for (Slot slot = 0; slot < moved.size(); ++slot) {
        if (moved[slot] == kNoSlot) continue;
        std::memcpy(bits.data() + moved[slot] * row, bits_.data() + slot * row, row);
        std::copy_n(factors_.data() + slot * each, each, factors.data() + moved[slot] * each);
    }
    bits_ = std::move(bits);
    factors_ = std::move(factors);
}

void Codes::pack(std::byte* row, const RowLayout& layout, std::span<const Slot> links) const {
    const std::size_t code_bytes = padded_dim_ / 8;
    auto* ids = reinterpret_cast<Slot*>(row);
    std::byte* block = row + layout.ids_bytes();
    for (std::size_t first = 0; first < layout.blocks * kBlock; first += kBlock) {
        auto* factors = reinterpret_cast<float*>(block);
        auto* codes = reinterpret_cast<std::uint8_t*>(block + layout.factors_bytes());
        std::memset(block, 0, layout.block_bytes());
        for (std::size_t i = 0; i < kBlock; ++i, ++ids) {
            if (first + i >= links.size()) {
                *ids = kNoSlot;
                continue;
            }
            const Slot slot = links[first + i];
            *ids = slot;
            if (layout_.has_bias) {
                factors[i] = factors_[2 * slot];
                factors[kBlock + i] = factors_[2 * slot + 1];
            } else {
                factors[i] = factors_[slot];
            }
            const std::uint8_t* bits = bits_.data() + slot * code_bytes;
            const unsigned shift = i < kBlock / 2 ? 0 : 4;
            std::uint8_t* at = codes + 2 * (i % 8) + i / 8 % 2;
            for (std::size_t b = 0; b < code_bytes; ++b, at += 2 * kGroupBytes) {
                at[0] = static_cast<std::uint8_t>(at[0] | (bits[b] & 15u) << shift);
                at[kGroupBytes] =
                    static_cast<std::uint8_t>(at[kGroupBytes] | (bits[b] >> 4u) << shift);
            }
        }
        block += layout.block_bytes();
    }
}

WalkQuery Codes::query(const float* vector, CodeScratch& scratch) const {
    rotated(vector, metric_ == Metric::l2, scratch);
    if (scratch.tables.size() < layout_.groups * kGroupBytes) {
        scratch.tables.resize(layout_.groups * kGroupBytes);
    }
    return kernels_->tabulate(scratch.rotated.data(), padded_dim_, scratch.tables.data());
}

}  // namespace llmspell::index

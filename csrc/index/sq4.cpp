#include "index/sq4.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "base/random.hpp"

namespace llmspell::index {
namespace {

constexpr float kSteps = 15.0f;

}  // namespace

Sq4::Sq4(std::size_t dim, Metric metric)
    : dim_(dim),
      metric_(metric),
      chunks_((dim + kChunkDims - 1) / kChunkDims),
      row_bytes_(chunks_ * kChunkBytes + (metric == Metric::ip ? 2 : 3) * sizeof(float)),
      offsets_(dim) {
    SplitMix64 random(0);
    for (float& offset : offsets_) offset = static_cast<float>(random.unit() - 0.5);
}

void Sq4::resize(std::size_t slots) {
    if (slots * row_bytes_ > rows_.size()) rows_.resize(slots * row_bytes_);
}

void Sq4::set(Slot slot, const float* vector) noexcept {
    const auto [least, largest] = std::minmax_element(vector, vector + dim_);
    const float low = *least;
    const float step = (*largest - low) / kSteps;
    const float inverse = step >= std::numeric_limits<float>::min() ? 1.0f / step : 0.0f;
    std::uint8_t* row = rows_.data() + slot * row_bytes_;
    std::memset(row, 0, row_bytes_);
    double lost = 0.0, norm2 = 0.0;
    for (std::size_t i = 0; i < dim_; ++i) {
        const float steps = (vector[i] - low) * inverse - offsets_[i] + 0.5f;
        const auto code = static_cast<unsigned>(std::clamp(steps, 0.0f, kSteps));
        std::uint8_t& pair = row[i / kChunkDims * kChunkBytes + i % kChunkBytes];
        pair = static_cast<std::uint8_t>(pair | code << (i / kChunkBytes % 2 * 4));
        const double rounded = low + step * (static_cast<float>(code) + offsets_[i]);
        norm2 += double{vector[i]} * vector[i];
        lost += vector[i] * (vector[i] - rounded);
    }
    // Exact for a query that is the vector itself under cosine and l2; under ip nothing is known of
    // a query's length.
    const double bias = metric_ == Metric::l2 ? norm2 - 2.0 * lost : -lost;
    const Tail tail{low, step, static_cast<float>(bias)};
    std::memcpy(row + chunks_ * kChunkBytes, &tail, row_bytes_ - chunks_ * kChunkBytes);
}

void Sq4::wipe(Slot slot) noexcept { std::memset(rows_.data() + slot * row_bytes_, 0, row_bytes_); }

AlignedArray<std::uint8_t> Sq4::renumbered(const std::vector<Slot>& moved, std::size_t live) const {
    AlignedArray<std::uint8_t> rows;
    rows.resize(live * row_bytes_);
    for (Slot slot = 0; slot < moved.size(); ++slot) {
        if (moved[slot] == kNoSlot) continue;
        std::memcpy(rows.data() + moved[slot] * row_bytes_, rows_.data() + slot * row_bytes_,
                    row_bytes_);
    }
    return rows;
}

void Sq4::query(const WalkKernels& kernels, const float* vector, Sq4Query& out) const {
    constexpr int kMost = 127;
    out.values.resize(chunks_ * kChunkDims);
    // Its own errors mustn't be alike either: numbers are rounded up or down as if by chance.
    const float about = kernels.round(vector, dim_, kMost, 0, out.values.data());
    out.floats.resize(dim_);
    for (std::size_t i = 0; i < dim_; ++i) {
        out.floats[i] = vector[i] + about * offsets_[dim_ - 1 - i];
    }
    out.unit = kernels.round(out.floats.data(), dim_, kMost, 0, out.values.data());
    std::fill(out.values.begin() + static_cast<std::ptrdiff_t>(dim_), out.values.end(),
              std::int8_t{0});
    // Of what the products are of, so that the two belong together.
    out.sum = out.unit * static_cast<float>(std::accumulate(out.values.begin(), out.values.end(),
                                                            std::int32_t{0}));
    // Of the rounded query, less what would make the query's distance from itself other than 0:
    // that much all keys are off by.
    for (std::size_t i = 0; i < dim_; ++i) {
        out.floats[i] = out.unit * static_cast<float>(out.values[i]);
    }
    const auto& ip = simd::active().ip[static_cast<std::size_t>(simd::ElementType::f32)];
    out.norm2 = 2.0f * ip.pair(out.floats.data(), vector, dim_) - ip.pair(vector, vector, dim_);
    out.shift = ip.pair(out.floats.data(), offsets_.data(), dim_);
}

Sq4::Tail Sq4::tail(const std::uint8_t* rows, Slot slot) const noexcept {
    Tail tail{};
    std::memcpy(&tail, rows + slot * row_bytes_ + chunks_ * kChunkBytes,
                row_bytes_ - chunks_ * kChunkBytes);
    return tail;
}

void Sq4::keys(const WalkKernels& kernels, const Sq4Query& query, const Slot* slots,
               std::size_t count, std::vector<std::int32_t>& products, float* out) const {
    if (guard_ != nullptr) guard_->check(std::span(slots, count));
    keys_at(rows_.data(), kernels, query, slots, count, products, out);
}

void Sq4::copy(std::span<const Slot> slots, std::uint8_t* rows) const {
    if (guard_ != nullptr) guard_->check(slots);
    for (const Slot slot : slots) {
        std::memcpy(rows, rows_.data() + slot * row_bytes_, row_bytes_);
        rows += row_bytes_;
    }
}

void Sq4::keys_at(const std::uint8_t* rows, const WalkKernels& kernels, const Sq4Query& query,
                  const Slot* slots, std::size_t count, std::vector<std::int32_t>& products,
                  float* out) const {
    if (products.size() < count) products.resize(count);
    kernels.products(query.values.data(), rows, row_bytes_, slots, count, chunks_, products.data());
    const float factor = metric_ == Metric::l2 ? 2.0f : 1.0f;
    for (std::size_t i = 0; i < count; ++i) {
        const Tail of_row = tail(rows, slots[i]);
        out[i] =
            of_row.bias -
            factor * (of_row.low * query.sum +
                      of_row.step * (query.unit * static_cast<float>(products[i]) + query.shift));
    }
}

void Sq4::deviations_at(const std::uint8_t* rows, const Sq4Query& query, const Slot* slots,
                        const float* keys, std::size_t count, float* out) const {
    constexpr float kDeviation = 0.2886751f;  // of a number that is uniform between 0 and 1
    const float unit2 = 2.0f * query.unit * query.unit;  // rounded by chance
    for (std::size_t i = 0; i < count; ++i) {
        const Tail of_row = tail(rows, slots[i]);
        const float step2 = of_row.step * of_row.step;
        if (metric_ == Metric::ip) {
            // The row's own squared length, as if it were normal about the middle of its range.
            const float middle = of_row.low + 0.5f * kSteps * of_row.step;
            const float length2 = static_cast<float>(dim_) * (middle * middle + 6.25f * step2);
            out[i] = kDeviation * std::sqrt(step2 * std::max(0.0f, query.norm2) + unit2 * length2);
            continue;
        }
        const float off = kDeviation * std::sqrt(step2 + unit2);
        // The query's distance from where the key is exact; by the estimate, and as far as it may
        // be where that is too low by twice its error.
        const bool is_l2 = metric_ == Metric::l2;
        const float estimate = query.norm2 + (is_l2 ? keys[i] : 1.0f + 2.0f * keys[i]);
        const float distance = 2.0f * off + std::sqrt(4.0f * off * off + std::max(0.0f, estimate));
        out[i] = (is_l2 ? 2.0f : 1.0f) * off * distance;
    }
}

}  // namespace llmspell::index

// Vectors rounded to four bits a dimension, with a scale of their own: for walks, and for ordering
// what a walk has found before the few that are nearest are compared by their stored rows.
//
// A row is chunks of 64 bytes, each 128 dimensions (see walk.hpp), the rest of the last zero, then
// the lowest component, the step between components and, but under ip, a bias, as floats.
//
// Components that are alike would be off by the same amount, and such errors add up: in patches of
// a picture, a colour at a time. So each dimension's steps begin at a place of its own (subtractive
// dither: Roberts 1962), which makes errors independent of the vectors, however regular these are.
// A component is low + step * (code + offset), the offset of dimension i the i-th of SplitMix64(0)
// less 1/2: another seed would be another version of snapshots.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.hpp"
#include "index/block_guard.hpp"
#include "index/params.hpp"
#include "index/walk.hpp"

namespace llmspell::index {

struct Sq4Query {
    std::vector<std::int8_t> values;
    std::vector<float> floats;  // scratch
    float unit = 0.0f;          // of the values
    float sum = 0.0f;           // of the components
    float shift = 0.0f;         // their product with where steps begin
    float norm2 = 0.0f;
};

class Sq4 {
  public:
    Sq4(std::size_t dim, Metric metric);

    std::size_t row_bytes() const noexcept { return row_bytes_; }
    std::size_t bytes() const noexcept { return rows_.bytes(); }

    void resize(std::size_t slots);  // never to less
    void clear() noexcept { rows_ = {}; }
    const AlignedArray<std::uint8_t>& rows() const noexcept { return rows_; }
    void restore(AlignedArray<std::uint8_t> rows) noexcept { rows_ = std::move(rows); }
    void guard_by(const BlockGuard* guard) noexcept { guard_ = guard; }
    void set(Slot slot, const float* vector) noexcept;
    void wipe(Slot slot) noexcept;
    AlignedArray<std::uint8_t> renumbered(const std::vector<Slot>& moved, std::size_t live) const;

    void query(const WalkKernels& kernels, const float* vector, Sq4Query& out) const;
    // Estimated keys, less what is the same for all vectors.
    void keys(const WalkKernels& kernels, const Sq4Query& query, const Slot* slots,
              std::size_t count, std::vector<std::int32_t>& products, float* out) const;
    // The standard deviations of the errors of such keys.
    void deviations(const Sq4Query& query, const Slot* slots, const float* keys, std::size_t count,
                    float* out) const {
        deviations_at(rows_.data(), query, slots, keys, count, out);
    }
    // The same of copies of rows, one behind the other from `rows` on; slots count from there.
    void copy(std::span<const Slot> slots, std::uint8_t* rows) const;
    void keys_at(const std::uint8_t* rows, const WalkKernels& kernels, const Sq4Query& query,
                 const Slot* slots, std::size_t count, std::vector<std::int32_t>& products,
                 float* out) const;
    void deviations_at(const std::uint8_t* rows, const Sq4Query& query, const Slot* slots,
                       const float* keys, std::size_t count, float* out) const;
    void prefetch(Slot slot) const noexcept {
        const std::uint8_t* row = rows_.data() + slot * row_bytes_;
        for (std::size_t at = 0; at < row_bytes_; at += kChunkBytes) __builtin_prefetch(row + at);
    }

  private:
    struct Tail {
        float low, step, bias;  // key = bias - <row, query>, twice that under l2
    };
    Tail tail(const std::uint8_t* rows, Slot slot) const noexcept;

    std::size_t dim_;
    Metric metric_;
    std::size_t chunks_;
    std::size_t row_bytes_;
    std::vector<float> offsets_;  // of each dimension's steps, between -1/2 and 1/2 of one
    AlignedArray<std::uint8_t> rows_;
    const BlockGuard* guard_ = nullptr;  // of rows that were mapped
};

// What a walk takes keys from; see search.hpp.
class FourBitRows {
  public:
    // `products` is scratch.
    FourBitRows(const Sq4& rows, const WalkKernels& kernels, std::vector<std::int32_t>& products)
        : rows_(rows), kernels_(kernels), products_(products) {}

    void keys(const Sq4Query& query, const Slot* slots, std::size_t count, float* out) const {
        rows_.keys(kernels_, query, slots, count, products_, out);
    }
    void prefetch(Slot slot) const noexcept { rows_.prefetch(slot); }

  private:
    const Sq4& rows_;
    const WalkKernels& kernels_;
    std::vector<std::int32_t>& products_;
};

}  // namespace llmspell::index

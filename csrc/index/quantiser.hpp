// How vectors become rows, and how near two of them are.
//
// A key is what searches order by, lower is nearer: minus the inner product for ip and cosine
// (cosine vectors are normalised on the way in), the squared distance for l2, the distance for l1
// and hamming.
//
// Vectors come and go as dim float32, or for binary rows as their bits, the first in the highest
// bit of the first byte; the spare bits of the last byte are zero.
//
// int8 rows hold round(x / scale) with scale = max|x| / 127 of that row, or the values themselves
// where all are whole numbers from -127 to 127; scale and squared norm follow the codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "index/params.hpp"
#include "simd/kernels.hpp"

namespace llmspell::index {

struct Query {
    const void* data = nullptr;     // float32; int8 codes for int8 rows, bits for binary ones
    float scale = 1.0f;             // int8 only
    float norm2 = 0.0f;             // int8 under l2 only
    const float* values = nullptr;  // int8 under l1 only: scale * codes
};

class Quantiser {
  public:
    Quantiser(std::size_t dim, Metric metric, simd::ElementType type);

    std::size_t dim() const noexcept { return dim_; }
    Metric metric() const noexcept { return metric_; }
    simd::ElementType type() const noexcept { return type_; }
    std::size_t row_bytes() const noexcept { return row_bytes_; }        // a multiple of 16
    std::size_t vector_bytes() const noexcept { return vector_bytes_; }  // as it comes and goes

    // Refuses NaN, infinity, what is too large for the products or the rows, under cosine zero, and
    // spare bits that are set. `position` is for the message.
    void check(const void* vector, std::size_t position) const;
    bool sound(const std::byte* row) const;  // whether it could come from a vector that was checked

    void encode(const void* vector, std::byte* row) const;
    void decode(const std::byte* row, void* vector) const;  // what is stored, normalised for cosine

    // `scratch` is kept alive by the caller as long as the query is used.
    Query query(const void* vector, std::vector<std::byte>& scratch) const;
    Query query_of_row(const std::byte* row, std::vector<std::byte>& scratch) const;

    // Keys of rows base + slots[i] * row_bytes(), or of consecutive rows where slots is null.
    void keys(const Query& query, const std::byte* base, const Slot* slots, std::size_t count,
              float* out) const;

    float score_of(float key) const noexcept { return 0.0f - key; }  // never -0

    // The vector that keys are about: of unit length under cosine, in `scratch` then.
    const float* unit(const float* vector, std::vector<float>& scratch) const;

  private:
    float largest_in(const std::byte* row) const;
    void check_numbers(const float* vector, std::size_t position) const;
    bool spare_bits_are_zero(const void* vector) const noexcept;
    void normalised(const float* vector, float* out) const;
    void encode_bytes(const float* vector, std::byte* row) const;
    Query query_of_codes(const std::byte* row, float* values) const;
    void scale_keys(const Query& query, const std::byte* base, const Slot* slots, std::size_t count,
                    float* out) const;
    void l1_keys(const Query& query, const std::byte* base, const Slot* slots, std::size_t count,
                 float* out) const;
    float squared_length(const std::int8_t* codes, float scale) const noexcept;
    float tail(const std::byte* row, std::size_t which) const noexcept;  // 0: scale, 1: norm2

    std::size_t dim_;
    Metric metric_;
    simd::ElementType type_;
    std::size_t vector_bytes_;
    std::size_t code_bytes_;  // int8 codes rounded up to four bytes
    std::size_t row_bytes_;
    float max_component_;
    bool negated_;  // kernels say how near
    const simd::Kernels* kernels_;
    simd::Metric kernel_;
};

}  // namespace llmspell::index

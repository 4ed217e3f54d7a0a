// Distance kernels, one table of functions per instruction-set level. Callers pick a table once
// per operation (active()) and never branch on the level inside a loop.
//
// Pointers need the alignment of their element only. `dim` counts elements, any value >= 1;
// elements of binary vectors are bits, eight to a byte, and where the last byte has more, theirs
// are zero. Integer sums are exact in int32 up to 16,384 dimensions, then rounded once to float;
// float kernels sum in float32, so the squared length of a vector must fit one. Thread-safe: tables
// are immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llmspell::simd {

// Ordered: a level implies those before it on the same architecture.
enum class Level : std::uint8_t { scalar, neon, avx2, avx512, avx512vnni };

enum class ElementType : std::uint8_t { f32, f16, i8, bf16, binary };
inline constexpr std::size_t kNumberTypes = 4;  // all but binary

std::size_t vector_bytes(ElementType type, std::size_t dim) noexcept;

// The upper half of a float32.
enum class BFloat16 : std::uint16_t {};

// Eight elements of a binary vector.
enum class Bits : std::uint8_t {};

// Pair: one query against one row.  i8 query with i8 rows, binary with binary; f32 query with all
// others.
using Pair = float (*)(const void* query, const void* row, std::size_t dim);

// Batch: one query against `count` rows; row i starts at base + rows[i] * stride bytes, or at
// base + i * stride where rows is null. Prefetches ahead.
using Batch = void (*)(const void* query, const void* base, std::size_t stride,
                       const std::uint32_t* rows, std::size_t count, std::size_t dim, float* out);

struct Metric {
    Pair pair;
    Batch batch;
};

// Arrays are indexed by ElementType of the stored rows.
struct Kernels {
    Level level;
    Metric ip[kNumberTypes];      // inner product, higher is nearer
    Metric l2[kNumberTypes];      // squared Euclidean distance, lower is nearer
    Metric cosine[kNumberTypes];  // cosine similarity in [-1, 1]; 0 where either vector is zero
    Metric l1[kNumberTypes];      // sum of absolute differences, lower is nearer
    Metric hamming;               // binary: how many bits differ, lower is nearer
    // l1 of the query and scale * row, in float32.
    float (*l1_scaled)(const float* query, const std::int8_t* row, float scale, std::size_t dim);
    void (*f32_to_f16)(const float* in, std::uint16_t* out, std::size_t count);
    void (*f16_to_f32)(const std::uint16_t* in, float* out, std::size_t count);
    void (*f32_to_bf16)(const float* in, BFloat16* out, std::size_t count);
    void (*bf16_to_f32)(const BFloat16* in, float* out, std::size_t count);
};

const Kernels* table(Level level) noexcept;  // null where the CPU or the build lacks it
// The best level, or the one that LLMSPELL_SIMD names; probed once. Throws Error(config) where that
// names none that this machine has.
const Kernels& active();
std::string_view name(Level level) noexcept;

}  // namespace llmspell::simd

#include "index/walk_levels.hpp"

#ifdef LLMSPELL_X86

#include <immintrin.h>

LLMSPELL_TARGET_BEGIN("avx2,fma,f16c,popcnt,bmi")

namespace llmspell::index::avx2 {
namespace {

inline __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

inline __m128i folded(__m256i v) {
    return _mm_add_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

// As in walk_avx512.cpp.
inline void sums(const std::uint8_t* codes, const std::uint8_t* tables, std::size_t groups,
                 std::uint16_t* out) {
    const __m256i low_half = _mm256_set1_epi8(15);
    __m256i both[2], odd[2];
    both[0] = both[1] = odd[0] = odd[1] = _mm256_setzero_si256();
    for (std::size_t at = 0; at < groups * kGroupBytes; at += 32) {
        const __m256i code = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + at));
        const __m256i table = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tables + at));
        const __m256i found[2] = {
            _mm256_shuffle_epi8(table, _mm256_and_si256(code, low_half)),
            _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(code, 4), low_half))};
        for (int half = 0; half < 2; ++half) {
            both[half] = _mm256_add_epi16(both[half], found[half]);
            odd[half] = _mm256_add_epi16(odd[half], _mm256_srli_epi16(found[half], 8));
        }
    }
    for (int half = 0; half < 2; ++half) {
        both[half] = _mm256_sub_epi16(both[half], _mm256_slli_epi16(odd[half], 8));
        _mm_store_si128(reinterpret_cast<__m128i*>(out + 16 * half), folded(both[half]));
        _mm_store_si128(reinterpret_cast<__m128i*>(out + 16 * half + 8), folded(odd[half]));
    }
}

template <bool kBias>
inline void keys_of(const WalkQuery& query, const std::uint16_t* sums, const RowLayout& layout,
                    const std::byte* block, std::int32_t* out) {
    const auto* factors = reinterpret_cast<const std::uint16_t*>(block);
    const __m256 step = _mm256_set1_ps(query.step), offset = _mm256_set1_ps(query.offset);
    for (std::size_t i = 0; i < kBlock; i += 8) {
        const __m256i sum =
            _mm256_cvtepu16_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(sums + i)));
        const __m256 product = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), step, offset);
        const __m256 factor =
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(factors + i)));
        __m256 bias = _mm256_setzero_ps();
        if constexpr (kBias) {
            const BlockParts parts(layout, block);
            __m256i along = _mm256_setzero_si256();
            for (std::size_t a = 0; a < layout.leading; a += 2) {
                along = _mm256_add_epi32(
                    along, _mm256_madd_epi16(_mm256_set1_epi32(weights_of(query, a)),
                                             load(parts.leading + a * kBlock + 2 * i)));
            }
            bias = _mm256_fmadd_ps(
                _mm256_cvtepi32_ps(along), _mm256_set1_ps(query.unit),
                _mm256_add_ps(_mm256_loadu_ps(parts.biases + i), _mm256_set1_ps(query.shift)));
        }
        const __m256i key = _mm256_castps_si256(_mm256_fnmadd_ps(factor, product, bias));
        const __m256i flip =
            _mm256_and_si256(_mm256_srai_epi32(key, 31), _mm256_set1_epi32(INT32_MAX));
        _mm256_store_si256(
            reinterpret_cast<__m256i*>(out + i),
            _mm256_and_si256(_mm256_xor_si256(key, flip), _mm256_set1_epi32(~WalkPool::kFlags)));
    }
}

inline unsigned lanes(__m256i mask) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(mask)));
}

inline std::uint32_t below(const std::int32_t* keys, const Slot* ids, std::int32_t bound) {
    std::uint32_t mask = 0;
    for (std::size_t i = 0; i < kBlock; i += 8) {
        const __m256i none = _mm256_cmpeq_epi32(load(ids + i), _mm256_set1_epi32(-1));
        const __m256i near = _mm256_cmpgt_epi32(_mm256_set1_epi32(bound), load(keys + i));
        mask |= lanes(_mm256_andnot_si256(none, near)) << i;
    }
    return mask;
}

inline std::size_t count_below(const std::int32_t* keys, std::size_t n, std::int32_t key) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < n; i += 8) {
        count += static_cast<unsigned>(
            __builtin_popcount(lanes(_mm256_cmpgt_epi32(_mm256_set1_epi32(key), load(keys + i)))));
    }
    return count;
}

inline float lowest(__m256 v) {
    const __m128 four = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_min_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)));
}

inline Range add_up(const float* projected, const float* points, std::size_t axes, float* out) {
    __m256 left = _mm256_setzero_ps(), right = _mm256_setzero_ps();
    for (std::size_t a = 0; a < axes; ++a) {
        const __m256 x = _mm256_set1_ps(projected[a]);
        const __m256 low = _mm256_loadu_ps(points + a * kGroupPoints);
        const __m256 high = _mm256_loadu_ps(points + a * kGroupPoints + 8);
        left = _mm256_fmadd_ps(x, low, left);
        right = _mm256_fmadd_ps(x, high, right);
    }
    _mm256_store_ps(out, left);
    _mm256_store_ps(out + 8, right);
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {lowest(_mm256_min_ps(left, right)),
            -lowest(_mm256_xor_ps(_mm256_max_ps(left, right), sign))};
}

inline void to_table(const float* entries, float low, float scale, std::uint8_t* out) {
    const __m256 base = _mm256_set1_ps(low), unit = _mm256_set1_ps(scale);
    const auto steps = [&](const float* from) {
        return _mm256_cvtps_epi32(
            _mm256_min_ps(_mm256_mul_ps(_mm256_sub_ps(_mm256_load_ps(from), base), unit),
                          _mm256_set1_ps(255.0f)));
    };
    const __m256i words =
        _mm256_permute4x64_epi64(_mm256_packus_epi32(steps(entries), steps(entries + 8)), 0xd8);
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
}

// Eight sums of pairs fit 16 bits, each at most 2 * 15 * 127.
inline std::int32_t nibble_product(const std::int8_t* query, const std::uint8_t* codes,
                                   std::size_t chunks) {
    const __m256i low_half = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    const auto of_half = [&](const std::uint8_t* from, const std::int8_t* at) {
        const __m256i pairs = load(from);
        return _mm256_add_epi16(
            _mm256_maddubs_epi16(_mm256_and_si256(pairs, low_half), load(at)),
            _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(pairs, 4), low_half),
                                 load(at + kChunkBytes)));
    };
    const auto of_chunk = [&](std::size_t c) {
        return _mm256_add_epi16(of_half(codes + c * kChunkBytes, query + c * kChunkDims),
                                of_half(codes + c * kChunkBytes + 32, query + c * kChunkDims + 32));
    };
    __m256i sum = _mm256_setzero_si256();
    std::size_t c = 0;
    for (; c + 1 < chunks; c += 2) {
        const __m256i part = _mm256_add_epi16(of_chunk(c), of_chunk(c + 1));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(part, ones));
    }
    if (c < chunks) sum = _mm256_add_epi32(sum, _mm256_madd_epi16(of_chunk(c), ones));
    const __m128i four =
        _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

void sum_axes(const std::int8_t* query, const std::int8_t* rows, std::size_t quads,
              const std::int32_t* shifts, std::size_t blocks, std::int32_t* out) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (std::size_t b = 0; b < blocks; ++b, shifts += kAxisBlock, out += kAxisBlock) {
        __m256i low = load(shifts), high = load(shifts + 8);
        for (std::size_t i = 0; i < quads; ++i, rows += 4 * kAxisBlock) {
            std::int32_t four;
            std::memcpy(&four, query + 4 * i, sizeof(four));
            const __m256i all = _mm256_set1_epi32(four);
            low = _mm256_add_epi32(low,
                                   _mm256_madd_epi16(_mm256_maddubs_epi16(all, load(rows)), ones));
            high = _mm256_add_epi32(
                high, _mm256_madd_epi16(_mm256_maddubs_epi16(all, load(rows + 32)), ones));
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), low);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8), high);
    }
}

#include "index/round-inl.hpp"
#include "index/walk-inl.hpp"

}  // namespace

const WalkKernels& kernels() noexcept { return kWalkKernels; }

}  // namespace llmspell::index::avx2

LLMSPELL_TARGET_END

#endif

#include "index/walk_levels.hpp"

#ifdef LLMSPELL_X86

#include <immintrin.h>

LLMSPELL_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi")

namespace llmspell::index::avx512 {
namespace {

// The even bytes of the looked-up entries are summed with the odd ones above them, the odd ones
// alone beside that; what the odd ones added to the first is taken off again at the end.
inline __m128i folded(__m512i v) {
    const __m256i half =
        _mm256_add_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

inline void sums(const std::uint8_t* codes, const std::uint8_t* tables, std::size_t groups,
                 std::uint16_t* out) {
    const __m512i low_half = _mm512_set1_epi8(15);
    __m512i both[2], odd[2];
    both[0] = both[1] = odd[0] = odd[1] = _mm512_setzero_si512();
    for (std::size_t at = 0; at < groups * kGroupBytes; at += 64) {
        const __m512i code = _mm512_loadu_si512(codes + at);
        const __m512i table = _mm512_loadu_si512(tables + at);
        const __m512i found[2] = {
            _mm512_shuffle_epi8(table, _mm512_and_si512(code, low_half)),
            _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(code, 4), low_half))};
        for (int half = 0; half < 2; ++half) {
            both[half] = _mm512_add_epi16(both[half], found[half]);
            odd[half] = _mm512_add_epi16(odd[half], _mm512_srli_epi16(found[half], 8));
        }
    }
    for (int half = 0; half < 2; ++half) {
        both[half] = _mm512_sub_epi16(both[half], _mm512_slli_epi16(odd[half], 8));
        _mm_store_si128(reinterpret_cast<__m128i*>(out + 16 * half), folded(both[half]));
        _mm_store_si128(reinterpret_cast<__m128i*>(out + 16 * half + 8), folded(odd[half]));
    }
}

template <bool kBias>
inline void keys_of(const WalkQuery& query, const std::uint16_t* sums, const RowLayout& layout,
                    const std::byte* block, std::int32_t* out) {
    const auto* factors = reinterpret_cast<const std::uint16_t*>(block);
    const __m512 step = _mm512_set1_ps(query.step), offset = _mm512_set1_ps(query.offset);
    for (std::size_t i = 0; i < kBlock; i += 16) {
        const __m512i sum =
            _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(sums + i)));
        const __m512 product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), step, offset);
        const __m512 factor =
            _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(factors + i)));
        __m512 bias = _mm512_setzero_ps();
        if constexpr (kBias) {
            const BlockParts parts(layout, block);
            __m512i along = _mm512_setzero_si512();
            for (std::size_t a = 0; a < layout.leading; a += 2) {
                along = _mm512_add_epi32(
                    along,
                    _mm512_madd_epi16(_mm512_set1_epi32(weights_of(query, a)),
                                      _mm512_loadu_si512(parts.leading + a * kBlock + 2 * i)));
            }
            bias = _mm512_fmadd_ps(
                _mm512_cvtepi32_ps(along), _mm512_set1_ps(query.unit),
                _mm512_add_ps(_mm512_loadu_ps(parts.biases + i), _mm512_set1_ps(query.shift)));
        }
        const __m512i key = _mm512_castps_si512(_mm512_fnmadd_ps(factor, product, bias));
        const __m512i flip =
            _mm512_and_si512(_mm512_srai_epi32(key, 31), _mm512_set1_epi32(INT32_MAX));
        _mm512_store_si512(out + i, _mm512_and_si512(_mm512_xor_si512(key, flip),
                                                     _mm512_set1_epi32(~WalkPool::kFlags)));
    }
}

inline std::uint32_t below(const std::int32_t* keys, const Slot* ids, std::int32_t bound) {
    std::uint32_t mask = 0;
    for (std::size_t i = 0; i < kBlock; i += 16) {
        const __mmask16 nodes =
            _mm512_cmpneq_epi32_mask(_mm512_loadu_si512(ids + i), _mm512_set1_epi32(-1));
        const __mmask16 near = _mm512_mask_cmplt_epi32_mask(nodes, _mm512_load_si512(keys + i),
                                                            _mm512_set1_epi32(bound));
        mask |= std::uint32_t{near} << i;
    }
    return mask;
}

inline std::size_t count_below(const std::int32_t* keys, std::size_t n, std::int32_t key) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < n; i += 16) {
        const __mmask16 mask =
            _mm512_cmplt_epi32_mask(_mm512_loadu_si512(keys + i), _mm512_set1_epi32(key));
        count += static_cast<unsigned>(__builtin_popcount(mask));
    }
    return count;
}

inline void make_room(std::int32_t* keys, Slot* slots, std::size_t at, std::size_t end) {
    const std::size_t first = at / 16, last = end / 16;
    for (std::size_t block = last + 1; block-- > first;) {
        unsigned lanes = 0xffff;
        if (block == first) lanes &= 0xfffeu << (at % 16);
        if (block == last) lanes &= (2u << (end % 16)) - 1;
        const auto mask = static_cast<__mmask16>(lanes);
        const std::ptrdiff_t from = static_cast<std::ptrdiff_t>(block * 16) - 1;
        const __m512i moved_keys = _mm512_loadu_si512(keys + from);
        const __m512i moved_slots = _mm512_loadu_si512(slots + from);
        _mm512_mask_storeu_epi32(keys + block * 16, mask, moved_keys);
        _mm512_mask_storeu_epi32(slots + block * 16, mask, moved_slots);
    }
}

inline Range add_up(const float* projected, const float* points, std::size_t axes, float* out) {
    __m512 sum = _mm512_setzero_ps();
    for (std::size_t a = 0; a < axes; ++a) {
        const __m512 x = _mm512_set1_ps(projected[a]);
        sum = _mm512_fmadd_ps(x, _mm512_loadu_ps(points + a * kGroupPoints), sum);
    }
    _mm512_store_ps(out, sum);
    return {_mm512_reduce_min_ps(sum), _mm512_reduce_max_ps(sum)};
}

inline void to_table(const float* entries, float low, float scale, std::uint8_t* out) {
    const __m512 above = _mm512_sub_ps(_mm512_load_ps(entries), _mm512_set1_ps(low));
    const __m512i steps = _mm512_cvtps_epi32(
        _mm512_min_ps(_mm512_mul_ps(above, _mm512_set1_ps(scale)), _mm512_set1_ps(255.0f)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(steps));
}

// Eight sums of pairs fit 16 bits, each at most 2 * 15 * 127.
inline std::int32_t nibble_product(const std::int8_t* query, const std::uint8_t* codes,
                                   std::size_t chunks) {
    const __m512i low_half = _mm512_set1_epi8(15), ones = _mm512_set1_epi16(1);
    __m512i sum = _mm512_setzero_si512();
    for (std::size_t c = 0; c < chunks;) {
        __m512i part = _mm512_setzero_si512();
        for (const std::size_t end = std::min(chunks, c + 4); c < end; ++c) {
            const __m512i pairs = _mm512_loadu_si512(codes + c * kChunkBytes);
            const std::int8_t* at = query + c * kChunkDims;
            part = _mm512_add_epi16(part, _mm512_maddubs_epi16(_mm512_and_si512(pairs, low_half),
                                                               _mm512_loadu_si512(at)));
            part = _mm512_add_epi16(
                part, _mm512_maddubs_epi16(_mm512_and_si512(_mm512_srli_epi16(pairs, 4), low_half),
                                           _mm512_loadu_si512(at + kChunkBytes)));
        }
        sum = _mm512_add_epi32(sum, _mm512_madd_epi16(part, ones));
    }
    return _mm512_reduce_add_epi32(sum);
}

void sum_axes(const std::int8_t* query, const std::int8_t* rows, std::size_t quads,
              const std::int32_t* shifts, std::size_t blocks, std::int32_t* out) {
    const __m512i ones = _mm512_set1_epi16(1);
    for (std::size_t b = 0; b < blocks; ++b, shifts += kAxisBlock, out += kAxisBlock) {
        __m512i sum = _mm512_loadu_si512(shifts);
        for (std::size_t i = 0; i < quads; ++i, rows += 4 * kAxisBlock) {
            std::int32_t four;
            std::memcpy(&four, query + 4 * i, sizeof(four));
            const __m512i products =
                _mm512_maddubs_epi16(_mm512_set1_epi32(four), _mm512_loadu_si512(rows));
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(products, ones));
        }
        _mm512_storeu_si512(out, sum);
    }
}

#include "index/round-inl.hpp"
#include "index/walk-inl.hpp"

}  // namespace

const WalkKernels& kernels() noexcept { return kWalkKernels; }

}  // namespace llmspell::index::avx512

LLMSPELL_TARGET_END

#endif

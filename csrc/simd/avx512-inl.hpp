// What avx512 and avx512vnni share: all but dot_w. Included inside a level's anonymous namespace.

using V = __m512;
constexpr std::size_t kLanes = 16;
inline V zero() { return _mm512_setzero_ps(); }
inline V splat(float x) { return _mm512_set1_ps(x); }
inline V load(const float* p) { return _mm512_loadu_ps(p); }
inline V load(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline V from_bf16(__m256i halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
inline V load(const BFloat16* p) {
    return from_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline V from_bytes(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }
inline V load(const std::int8_t* p) {
    return from_bytes(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline V load_part(const float* p, std::size_t count, std::size_t) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
}
inline V load_part(const std::uint16_t* p, std::size_t count, std::size_t) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << count) - 1), p));
}
inline V load_part(const BFloat16* p, std::size_t count, std::size_t) {
    return from_bf16(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << count) - 1), p));
}
inline V load_part(const std::int8_t* p, std::size_t count, std::size_t) {
    return from_bytes(_mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << count) - 1), p));
}
inline V add(V a, V b) { return _mm512_add_ps(a, b); }
inline V sub(V a, V b) { return _mm512_sub_ps(a, b); }
inline V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
inline V abs(V v) { return _mm512_abs_ps(v); }
inline float sum(V v) { return _mm512_reduce_add_ps(v); }

using W = __m512i;
using I = __m512i;
constexpr std::size_t kWords = 32;
inline I zero_i() { return _mm512_setzero_si512(); }
inline W ones_w() { return _mm512_set1_epi16(1); }
inline W widen(const std::int8_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline W widen_part(const std::int8_t* p, std::size_t count, std::size_t) {
    return _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8((1u << count) - 1, p));
}
inline W sub_w(W a, W b) { return _mm512_sub_epi16(a, b); }
inline W abs_w(W w) { return _mm512_abs_epi16(w); }
inline std::int32_t sum_i(I v) { return _mm512_reduce_add_epi32(v); }

using B = __m512i;
using N = __m512i;
constexpr std::size_t kBitBytes = 64;
inline B load_bits(const Bits* p) { return _mm512_loadu_si512(p); }
inline B xor_b(B a, B b) { return _mm512_xor_si512(a, b); }
inline N zero_n() { return _mm512_setzero_si512(); }
// As under AVX2: neither level implies VPOPCNTDQ.
inline N count_n(N acc, B b) {
    const __m512i ones =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i half = _mm512_set1_epi8(0x0f);
    const __m512i low = _mm512_shuffle_epi8(ones, _mm512_and_si512(b, half));
    const __m512i high = _mm512_shuffle_epi8(ones, _mm512_and_si512(_mm512_srli_epi16(b, 4), half));
    return _mm512_add_epi64(acc,
                            _mm512_sad_epu8(_mm512_add_epi8(low, high), _mm512_setzero_si512()));
}
inline std::uint32_t sum_n(N n) { return static_cast<std::uint32_t>(_mm512_reduce_add_epi64(n)); }

void f32_to_f16(const float* in, std::uint16_t* out, std::size_t count) {
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                            _mm512_cvtps_ph(load(in + i), _MM_FROUND_TO_NEAREST_INT));
    }
    for (; i < count; ++i) out[i] = _cvtss_sh(in[i], _MM_FROUND_TO_NEAREST_INT);
}

void f16_to_f32(const std::uint16_t* in, float* out, std::size_t count) {
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) _mm512_storeu_ps(out + i, load(in + i));
    for (; i < count; ++i) out[i] = _cvtsh_ss(in[i]);
}

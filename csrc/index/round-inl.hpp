// Rounding to bytes by vectors of 256 bits, for the levels that have them; as walk-inl.hpp.

// The largest component, by its absolute value.
inline float largest(const float* vector, std::size_t dim) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 most = _mm256_setzero_ps();
    std::size_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        most = _mm256_max_ps(most, _mm256_andnot_ps(sign, _mm256_loadu_ps(vector + i)));
    }
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    float out = _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    for (; i < dim; ++i) out = std::max(out, std::fabs(vector[i]));
    return out;
}

inline void round_all(const float* vector, std::size_t dim, float inverse, int offset,
                      std::int8_t* out) {
    const __m256 factor = _mm256_set1_ps(inverse);
    const __m128i shift = _mm_set1_epi8(static_cast<char>(offset));
    std::size_t i = 0;
    for (; i + 16 <= dim; i += 16) {
        const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(vector + i), factor));
        const __m256i high =
            _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(vector + i + 8), factor));
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
        const __m128i bytes =
            _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm_add_epi8(bytes, shift));
    }
    for (; i < dim; ++i) {
        out[i] = static_cast<std::int8_t>(std::lrint(vector[i] * inverse) + offset);
    }
}

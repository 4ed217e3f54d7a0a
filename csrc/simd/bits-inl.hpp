// Bits that differ between one query and R rows. Part of kernels-inl.hpp.
//
// A level provides:
//   B, kBitBytes               vector of kBitBytes bytes
//   load_bits(p) xor_b(a, b)
//   N                          counts in lanes
//   zero_n() count_n(acc, B)   acc + the ones of B
//   sum_n(N)

inline std::uint64_t load_word(const Bits* p, std::size_t count) {
    std::uint64_t word = 0;
    std::memcpy(&word, p, count);
    return word;
}

template <std::size_t R>
inline void bits(const Bits* query, const Bits* const (&rows)[R], std::size_t dim,
                 std::uint32_t (&out)[R]) {
    const std::size_t bytes = (dim + 7) / 8;
    N acc[R];
    for (std::size_t r = 0; r < R; ++r) acc[r] = zero_n();
    std::size_t i = 0;
    for (; i + kBitBytes <= bytes; i += kBitBytes) {
        const B q = load_bits(query + i);
        for (std::size_t r = 0; r < R; ++r) {
            acc[r] = count_n(acc[r], xor_b(q, load_bits(rows[r] + i)));
        }
    }
    for (std::size_t r = 0; r < R; ++r) out[r] = sum_n(acc[r]);
    constexpr std::size_t kWord = sizeof(std::uint64_t);
    for (; i + kWord <= bytes; i += kWord) {
        const std::uint64_t q = load_word(query + i, kWord);
        for (std::size_t r = 0; r < R; ++r) {
            out[r] += static_cast<std::uint32_t>(std::popcount(q ^ load_word(rows[r] + i, kWord)));
        }
    }
    if (i < bytes) {
        const std::uint64_t q = load_word(query + i, bytes - i);
        for (std::size_t r = 0; r < R; ++r) {
            const std::uint64_t row = load_word(rows[r] + i, bytes - i);
            out[r] += static_cast<std::uint32_t>(std::popcount(q ^ row));
        }
    }
}

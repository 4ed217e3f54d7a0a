// bfloat16 to and from float32, for every level: loops of whole numbers, which compilers vectorise.
// Part of kernels-inl.hpp.

// Rounds to nearest even; a NaN stays one, made quiet.
void f32_to_bf16(const float* in, BFloat16* out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t bits;
        std::memcpy(&bits, in + i, sizeof(bits));
        const std::uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
        const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
        out[i] = static_cast<BFloat16>((nan ? bits | 0x400000u : rounded) >> 16);
    }
}

void bf16_to_f32(const BFloat16* in, float* out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t bits = static_cast<std::uint32_t>(in[i]) << 16;
        std::memcpy(out + i, &bits, sizeof(bits));
    }
}

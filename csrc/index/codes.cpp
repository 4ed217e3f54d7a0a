#include "index/codes.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace llmspell::index {

Codes::Codes(std::size_t dim, Metric metric, std::uint32_t max_neighbors)
    : codebook_(dim, metric),
      layout_{(max_neighbors + kBlock - 1) / kBlock, 0, metric == Metric::l2},
      kernels_(&walk_kernels(simd::active().level)) {}

std::size_t Codes::bytes() const noexcept {
    return codebook_.bytes() + bytes_.bytes() + factors_.bytes() + biases_.bytes();
}

std::size_t Codes::mapped_bytes() const noexcept {
    return bytes_.mapped_bytes() + factors_.mapped_bytes() + biases_.mapped_bytes();
}

bool Codes::restore(std::span<const std::byte>& codebook) {
    if (!codebook_.read(codebook)) return false;
    lay_out();
    return true;
}

void Codes::restore(Arrays arrays) noexcept {
    bytes_ = std::move(arrays.bytes);
    factors_ = std::move(arrays.factors);
    biases_ = std::move(arrays.biases);
}

void Codes::train(std::vector<float> sample) {
    clear();
    codebook_.train(std::move(sample));
    lay_out();
}

void Codes::lay_out() noexcept {
    layout_.groups = codebook_.groups();
    layout_.leading = codebook_.leading();
}

void Codes::resize(std::size_t slots) {
    const auto grow = [](auto& array, std::size_t size) {
        if (array.size() < size) array.resize(size);
    };
    grow(bytes_, slots * codebook_.code_bytes());
    grow(factors_, slots);
    if (layout_.has_bias) grow(biases_, slots);
}

void Codes::clear() noexcept {
    bytes_ = {};
    factors_ = {};
    biases_ = {};
}

void Codes::set(Slot slot, const float* vector, CodeScratch& scratch) {
    const Code code =
        codebook_.encode(vector, bytes_.data() + slot * codebook_.code_bytes(), scratch);
    factors_[slot] = code.factor;
    if (layout_.has_bias) biases_[slot] = code.bias;
}

void Codes::wipe(Slot slot) noexcept {
    const std::size_t row = codebook_.code_bytes();
    std::memset(bytes_.data() + slot * row, 0, row);
    factors_[slot] = 0;
    if (layout_.has_bias) biases_[slot] = 0.0f;
}

Codes::Arrays Codes::renumbered(const std::vector<Slot>& moved, std::size_t live) const {
    const std::size_t row = codebook_.code_bytes();
    Arrays fresh;
    fresh.bytes.resize(live * row);
    fresh.factors.resize(live);
    fresh.biases.resize(layout_.has_bias ? live : 0);
    for (Slot slot = 0; slot < moved.size(); ++slot) {
        if (moved[slot] == kNoSlot) continue;
        std::memcpy(fresh.bytes.data() + moved[slot] * row, bytes_.data() + slot * row, row);
        fresh.factors[moved[slot]] = factors_[slot];
        if (layout_.has_bias) fresh.biases[moved[slot]] = biases_[slot];
    }
    return fresh;
}

void Codes::pack(std::byte* row, const RowLayout& layout, std::span<const Slot> links) const {
    const std::size_t code_bytes = codebook_.code_bytes();
    auto* ids = reinterpret_cast<Slot*>(row);
    std::byte* block = row + layout.ids_bytes();
    for (std::size_t first = 0; first < layout.blocks * kBlock; first += kBlock) {
        auto* factors = reinterpret_cast<std::uint16_t*>(block);
        auto* biases = reinterpret_cast<float*>(block + layout.biases_at());
        std::byte* leading = block + layout.leading_at();
        auto* codes = reinterpret_cast<std::uint8_t*>(block + layout.codes_at());
        std::memset(block, 0, layout.block_bytes());
        for (std::size_t i = 0; i < kBlock; ++i, ++ids) {
            if (first + i >= links.size()) {
                *ids = kNoSlot;
                continue;
            }
            const Slot slot = links[first + i];
            *ids = slot;
            factors[i] = factors_[slot];
            if (layout.has_bias) biases[i] = biases_[slot];
            const std::uint8_t* code = bytes_.data() + slot * code_bytes;
            for (std::size_t a = 0; a < layout.leading; a += 2, code += 2 * sizeof(std::int16_t)) {
                std::memcpy(leading + (a * kBlock + 2 * i) * sizeof(std::int16_t), code,
                            2 * sizeof(std::int16_t));
            }
            const unsigned shift = i < kBlock / 2 ? 0 : 4;
            std::uint8_t* at = codes + 2 * (i % 8) + i / 8 % 2;
            for (std::size_t b = 0; b < layout.groups / 2; ++b, at += 2 * kGroupBytes) {
                at[0] = static_cast<std::uint8_t>(at[0] | (code[b] & 15u) << shift);
                at[kGroupBytes] =
                    static_cast<std::uint8_t>(at[kGroupBytes] | (code[b] >> 4u) << shift);
            }
        }
        block += layout.block_bytes();
    }
}

}  // namespace llmspell::index

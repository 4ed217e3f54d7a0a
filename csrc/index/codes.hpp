// The codes of all vectors of an index, laid into the rows of its graph for the walk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/aligned.hpp"
#include "index/block_guard.hpp"
#include "index/codebook.hpp"
#include "index/params.hpp"
#include "index/walk.hpp"

namespace llmspell::index {

class Codes {
  public:
    Codes(std::size_t dim, Metric metric, std::uint32_t max_neighbors);

    const RowLayout& layout() const noexcept { return layout_; }
    const Codebook& codebook() const noexcept { return codebook_; }
    std::size_t bytes() const noexcept;
    std::size_t mapped_bytes() const noexcept;  // besides, of a file

    // Vectors that are set must be set again, and the layout may be another.
    void train(std::vector<float> sample);

    // What a snapshot holds: the arrays as they are.
    struct Arrays {
        AlignedArray<std::uint8_t> bytes;
        AlignedArray<std::uint16_t> factors;
        AlignedArray<float> biases;
    };
    const AlignedArray<std::uint8_t>& code_array() const noexcept { return bytes_; }
    const AlignedArray<std::uint16_t>& factors() const noexcept { return factors_; }
    const AlignedArray<float>& biases() const noexcept { return biases_; }
    bool restore(std::span<const std::byte>& codebook);  // see Codebook::read
    void restore(Arrays arrays) noexcept;
    Arrays renumbered(const std::vector<Slot>& moved, std::size_t live) const;
    void guard_by(std::vector<const BlockGuard*> guards) noexcept { guards_ = std::move(guards); }
    // Of a snapshot whose blocks may not have been looked at: may throw Error(corrupt_file).
    void check(std::span<const Slot> slots) const {
        for (const BlockGuard* guard : guards_) guard->check(slots);
    }

    void resize(std::size_t slots);  // never to less
    void clear() noexcept;
    void set(Slot slot, const float* vector, CodeScratch& scratch);
    void wipe(Slot slot) noexcept;

    // Writes ids, factors and codes of `links` into a row; the layout is layout(), but for blocks.
    void pack(std::byte* row, const RowLayout& layout, std::span<const Slot> links) const;

    // The tables of a query for rows so packed; they lie in `scratch`.
    WalkQuery query(const float* vector, CodeScratch& scratch) const {
        return codebook_.query(vector, *kernels_, scratch);
    }
    const WalkKernels& kernels() const noexcept { return *kernels_; }

  private:
    void lay_out() noexcept;  // as the codebook has it

    Codebook codebook_;
    RowLayout layout_;
    const WalkKernels* kernels_;
    AlignedArray<std::uint8_t> bytes_;       // code_bytes() a slot, see Codebook::encode
    AlignedArray<std::uint16_t> factors_;    // float16
    AlignedArray<float> biases_;             // under l2
    std::vector<const BlockGuard*> guards_;  // of arrays that were mapped
};

}  // namespace llmspell::index

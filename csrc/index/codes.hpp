// One-bit codes of vectors after a random rotation, and estimates of keys from them (RaBitQ: Gao
// and Long 2024, arXiv:2405.12497), laid into the rows of a graph for the walk (SymphonyQG: Gou,
// Gao, Xu and Long 2025, arXiv:2411.12229).
//
// A vector r, less the centroid, is its rotated signs s / 2 and a factor |r|^2 / <s / 2, r'>, so
// that factor * <s / 2, q'> estimates <r, q> without bias; r' and q' are rotated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.hpp"
#include "index/params.hpp"
#include "index/walk.hpp"

namespace llmspell::index {

struct CodeScratch {
    std::vector<float> rotated, scratch;
    AlignedArray<std::uint8_t> tables;
};

class Codes {
  public:
    Codes(std::size_t dim, Metric metric, std::uint32_t max_neighbors);

    const RowLayout& layout() const noexcept { return layout_; }
    std::size_t bytes() const noexcept;

    // What is subtracted from every vector; those that are set must be set again.
    void set_centroid(std::span<const float> centroid);
    std::span<const float> centroid() const noexcept { return centroid_; }

    void resize(std::size_t slots);
    void clear() noexcept;
    void set(Slot slot, const float* vector, CodeScratch& scratch);
    void wipe(Slot slot) noexcept;
    void renumber(const std::vector<Slot>& moved, std::size_t live);

    // Writes ids, factors and codes of `links` into a row; the layout is layout(), but for blocks.
    void pack(std::byte* row, const RowLayout& layout, std::span<const Slot> links) const;

    // The tables of a query for rows so packed; they lie in `scratch`.
    WalkQuery query(const float* vector, CodeScratch& scratch) const;
    const WalkKernels& kernels() const noexcept { return *kernels_; }

  private:
    void rotated(const float* vector, bool centred, CodeScratch& scratch) const;

    std::size_t dim_;
    std::size_t padded_dim_;
    Metric metric_;
    RowLayout layout_;
    const WalkKernels* kernels_;
    std::vector<float> signs_;
    std::vector<float> centroid_;
    AlignedArray<std::uint8_t> bits_;  // padded_dim / 8 bytes a slot, lowest bit first
    std::vector<float> factors_;       // one a slot, or two with a bias
};

}  // namespace llmspell::index

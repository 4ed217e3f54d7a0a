// Product quantisation (Jégou, Douze and Schmid 2011) of vectors along their principal axes, as in
// OPQ (Ge, He, Ke and Sun 2013): codes of four bits a group of axes, and what a query needs to
// estimate inner products from them by byte shuffles (André, Kermarrec and Le Scouarnec 2015).
//
// Axes get bits by how much the vectors vary along them, and share groups so that each group has
// its four; those that earn none are left out. So a code may be much shorter than one bit for each
// dimension, and says more than signs would.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.hpp"
#include "base/heap.hpp"
#include "index/byte_axes.hpp"
#include "index/params.hpp"
#include "index/walk.hpp"

namespace llmspell::index {

struct CodeScratch {
    std::vector<float> centred, projected;
    ByteAxes::Scratch axes;
    AlignedArray<std::uint8_t> tables;

    std::size_t bytes() const noexcept {
        return tables.bytes() + held_bytes(centred) + held_bytes(projected) +
               held_bytes(axes.query) + held_bytes(axes.sums);
    }
};

// What stands for a vector: a code, and the key = bias - factor * <code's point, query>, less what
// is the same for all vectors.
struct Code {
    float factor;
    float bias;  // 0 but under l2
};

class Codebook {
  public:
    Codebook(std::size_t dim, Metric metric) : dim_(dim), metric_(metric) {}

    // How many vectors to train with, and how many at most are of use.
    std::size_t sample_size() const noexcept;
    // `sample` is (count, dim), count at least 1; it is used up.
    void train(std::vector<float> sample);

    std::size_t groups() const noexcept { return groups_; }  // a multiple of 4; 0: untrained
    std::size_t code_bytes() const noexcept { return groups_ / 2; }
    std::size_t bytes() const noexcept;
    float nearest() const noexcept { return nearest_; }

    // As numbers, and back: false where they are none that training gives.
    void write(std::vector<std::byte>& out) const;
    bool read(std::span<const std::byte>& in);

    // Group 2 * i has the low half of byte i.
    Code encode(const float* vector, std::uint8_t* code, CodeScratch& scratch) const;
    // The tables lie in `scratch`.
    WalkQuery query(const float* vector, const WalkKernels& kernels, CodeScratch& scratch) const;

    // The tables again, in `scratch` too, under l2, for the last query, whose answers are known to
    // be no further than a squared distance: of finer steps, since it's all one how much further a
    // group's point is.
    WalkQuery narrowed(float distance, const WalkKernels& kernels, CodeScratch& scratch) const;

  private:
    WalkQuery tabulate(float limit, const WalkKernels& kernels, CodeScratch& scratch) const;

    // Axes are found in one stretch of dimensions at a time: no matrix is larger than its square.
    struct Stretch {
        Stretch(std::size_t first_dim, std::size_t count) : first(first_dim), dims(count) {}
        std::size_t first, dims;
        std::size_t axes = 0;
        std::vector<float> rows;  // (axes, dims)
        ByteAxes rounded;         // for queries
    };

    void choose_axes(std::span<const float> sample);
    void choose_points(std::span<const float> projected);
    void round_axes();
    void project(const float* centred, float* out) const;
    std::size_t axes() const noexcept { return group_ends_.empty() ? 0 : group_ends_.back(); }

    std::size_t dim_;
    Metric metric_;
    std::size_t groups_ = 0;
    float nearest_ = 0.0f;  // squared distance of vectors that lie closely
    std::vector<float> mean_;
    std::vector<Stretch> stretches_;
    std::vector<std::uint32_t> group_ends_;  // the axis behind each group's last
    std::vector<float> points_;              // for each axis the coordinates of its group's 16
};

}  // namespace llmspell::index

// Product quantisation (Jégou, Douze and Schmid 2011) of vectors along their principal axes, as in
// OPQ (Ge, He, Ke and Sun 2013): codes of four bits a group of axes, and what a query needs to
// estimate inner products from them by byte shuffles (André, Kermarrec and Le Scouarnec 2015).
//
// Axes get bits by how much the vectors vary along them, and share groups so that each group has
// its four; those that earn none are left out. So a code may be much shorter than one bit for each
// dimension, and says more than signs would.
//
// Under l2, what would need more than a group's bits stands apart: a few leading axes, along which
// a vector's coordinates are kept as they are. Of what is left beside them, the rest, the code says
// the direction and a factor the length, as gain-shape quantisation does (Sabin and Gray 1984). So
// estimates are as exact where vectors lie closely together as where they lie far apart.
#pragma once

#include <algorithm>
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

// What stands for a vector beside its code: the key = bias - factor * <code's point, query>, less
// what is the same for all vectors, and less what the leading axes say.
struct Code {
    std::uint16_t factor;  // float16, in the codebook's unit
    float bias;            // 0 but under l2
};

struct Division;
struct PrincipalAxes;

class Codebook {
  public:
    static constexpr std::size_t kMaxStretch = 1024;

    Codebook(std::size_t dim, Metric metric) : dim_(dim), metric_(metric) {}

    // How many vectors to train with, and how many at most are of use.
    std::size_t sample_size() const noexcept;
    // `sample` is (count, dim), count at least 1; it is used up.
    void train(std::vector<float> sample);

    std::size_t groups() const noexcept { return groups_; }  // a multiple of 4; 0: untrained
    std::size_t leading() const noexcept { return leading_rows_.size() / dim_; }  // an even number
    std::size_t code_bytes() const noexcept {
        return leading() * sizeof(std::int16_t) + groups_ / 2;
    }
    std::size_t bytes() const noexcept;
    float nearest() const noexcept { return nearest_; }

    // As numbers, and back: false where they are none that training gives.
    void write(std::vector<std::byte>& out) const;
    bool read(std::span<const std::byte>& in);

    // An int16 for each leading axis, then four bits a group: group 2 * i has the low half of byte
    // i of these.
    Code encode(const float* vector, std::uint8_t* code, CodeScratch& scratch) const;
    // The tables lie in `scratch`.
    WalkQuery query(const float* vector, const WalkKernels& kernels, CodeScratch& scratch) const;

  private:
    // Axes are found in one stretch of dimensions at a time: no matrix is larger than its square.
    struct Stretch {
        Stretch(std::size_t first_dim, std::size_t count) : first(first_dim), dims(count) {}
        std::size_t first, dims;
        std::size_t axes = 0;
        std::vector<float> rows;  // (axes, dims)
        ByteAxes rounded;         // for queries
    };

    Stretch stretch_at(std::size_t number) const noexcept {
        const std::size_t first = number * kMaxStretch;
        return {first, std::min(kMaxStretch, dim_ - first)};
    }
    void choose_axes(std::span<const float> sample);
    Division divide_sample(std::span<const float> sample, std::span<const PrincipalAxes> found);
    std::vector<float> coordinates(std::span<const float> sample,
                                   std::span<const std::size_t> vectors,
                                   std::span<const PrincipalAxes> found) const;
    void scale_rests(std::span<float> centred);
    void choose_points(std::span<const float> projected);
    void round_axes();
    void centre(const float* vector, CodeScratch& scratch) const;
    // Takes what lies along the leading axes off a centred vector, and returns how much.
    void split(float* centred, float* along) const;
    void project(const float* centred, float* out) const;
    std::size_t axes() const noexcept { return group_ends_.empty() ? 0 : group_ends_.back(); }

    std::size_t dim_;
    Metric metric_;
    std::size_t groups_ = 0;
    float nearest_ = 0.0f;  // squared distance of vectors that lie closely
    float factor_unit_ = 1.0f;
    float leading_unit_ = 1.0f;  // what a coordinate of 1 stands for
    std::vector<float> mean_;
    std::vector<float> leading_rows_;  // (leading, dim)
    std::vector<Stretch> stretches_;
    std::vector<std::uint32_t> group_ends_;  // the axis behind each group's last
    std::vector<float> points_;              // for each axis the coordinates of its group's 16
};

// The nearest of a group's points, whose coordinates stand 16 for each of its axes.
std::size_t nearest_point(const float* points, const float* projected, std::size_t axes) noexcept;

}  // namespace llmspell::index

// Axes, rounded to whole numbers, as a query's products with all of them want them: four dimensions
// of 16 axes lie side by side, so that no sum goes across the lanes of a vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned.hpp"
#include "index/walk.hpp"

namespace llmspell::index {

class ByteAxes {
  public:
    // `rows` is (count, dims); dims at most 16,384.
    void set(const float* rows, std::size_t count, std::size_t dims);

    struct Scratch {
        std::vector<std::int8_t> query;
        std::vector<std::int32_t> sums;
    };
    // The products of a vector with all axes, about, into `out`.
    void project(const WalkKernels& kernels, const float* vector, Scratch& scratch,
                 float* out) const;

    std::size_t bytes() const noexcept;

  private:
    std::size_t count_ = 0, dims_ = 0;
    AlignedArray<std::int8_t> rows_;
    std::vector<float> units_;          // an axis is its whole numbers times this
    std::vector<std::int32_t> shifts_;  // less what the query's offset adds to each sum
};

}  // namespace llmspell::index

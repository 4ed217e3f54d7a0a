// The directions in which vectors vary most.
#pragma once

#include <cstddef>
#include <vector>

namespace llmspell::index {

struct PrincipalAxes {
    std::vector<float> axes;        // (count, dim), orthonormal, those of most variance first
    std::vector<double> variances;  // of the vectors along each
};

// Of `count` vectors (count, dim) whose mean is zero, by orthogonal iteration (Bauer 1957): axes of
// nearly equal variance may come mixed, which for those who want the variance gathered in few axes
// is as good. Where the vectors span fewer than `most` dimensions, the rest of the axes is left
// out.
PrincipalAxes principal_axes(const float* vectors, std::size_t stride, std::size_t count,
                             std::size_t dim, std::size_t most);

}  // namespace llmspell::index

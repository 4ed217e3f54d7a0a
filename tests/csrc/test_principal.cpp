// Axes that were put into the vectors come out again, the one of most variance first.
#include "index/principal.hpp"

#include <cmath>
#include <vector>

#include "base/random.hpp"
#include "check.hpp"
#include "forced_level.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

constexpr std::size_t kDim = 12;

// Along (1, 1, 0, ...) / sqrt(2) by 4, along the last axis by 2, along the third by 1; in rows that
// are longer than the vectors.
std::vector<float> three_directions(std::size_t count, std::size_t stride) {
    SplitMix64 random(7);
    std::vector<float> out(count * stride, 99.0f);
    for (std::size_t i = 0; i < count; ++i) {
        float* vector = &out[i * stride];
        for (std::size_t j = 0; j < kDim; ++j) vector[j] = 0.0f;
        const double root = std::sqrt(12.0);  // of a uniform number, less its mean: variance 1
        const auto draw = [&](double size) {
            return static_cast<float>(size * root * (random.unit() - 0.5));
        };
        vector[0] = vector[1] = draw(4.0) / std::sqrt(2.0f);
        vector[kDim - 1] = draw(2.0);
        vector[2] = draw(1.0);
    }
    return out;
}

void finds_the_directions_and_their_variances() {
    const std::vector<float> vectors = three_directions(5000, 20);
    const PrincipalAxes found = principal_axes(vectors.data(), 20, 5000, kDim, 8);
    CHECK(found.variances.size() == 3);  // no more than the vectors span
    CHECK(found.axes.size() == 3 * kDim);
    const std::vector<std::size_t> main_at{1, kDim - 1, 2};
    const std::vector<double> variance{16.0, 4.0, 1.0}, share{std::sqrt(0.5), 1.0, 1.0};
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(std::fabs(found.variances[i] / variance[i] - 1.0) < 0.1);
        CHECK(std::fabs(std::fabs(found.axes[i * kDim + main_at[i]]) - share[i]) < 0.05);
    }
}

void axes_are_orthonormal_and_ordered() {
    SplitMix64 random(3);
    std::vector<float> vectors(300 * 40);
    for (float& x : vectors) x = static_cast<float>(random.unit() - 0.5);
    const PrincipalAxes found = principal_axes(vectors.data(), 40, 300, 40, 25);
    CHECK(found.variances.size() == 25);
    for (std::size_t i = 0; i < 25; ++i) {
        if (i > 0) CHECK(found.variances[i] <= found.variances[i - 1]);
        for (std::size_t j = 0; j <= i; ++j) {
            double product = 0;
            for (std::size_t k = 0; k < 40; ++k) {
                product += double{found.axes[i * 40 + k]} * found.axes[j * 40 + k];
            }
            CHECK(std::fabs(product - (i == j ? 1.0 : 0.0)) < 1e-4);
        }
    }
}

void vectors_without_variance_have_no_axes() {
    const std::vector<float> zeros(10 * 6);
    CHECK(principal_axes(zeros.data(), 6, 10, 6, 6).variances.empty());
}

}  // namespace

int main() {
    if (forced_level_is_missing()) return kSkipped;
    finds_the_directions_and_their_variances();
    axes_are_orthonormal_and_ordered();
    vectors_without_variance_have_no_axes();
    return check_result();
}

// Products of a query with rounded axes, against those of the numbers themselves; all levels must
// give the same ones.
#include "index/byte_axes.hpp"

#include <cmath>
#include <vector>

#include "base/random.hpp"
#include "check.hpp"
#include "forced_level.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

const WalkKernels& kernels() { return walk_kernels(simd::active().level); }

void check_products(const std::vector<float>& axes, const std::vector<float>& query, float error) {
    const std::size_t dims = query.size(), count = axes.size() / dims;
    ByteAxes rounded;
    rounded.set(axes.data(), count, dims);
    ByteAxes::Scratch scratch;
    std::vector<float> found(count);
    rounded.project(kernels(), query.data(), scratch, found.data());
    std::vector<float> expected(count);
    rounded.project(walk_kernels(simd::Level::scalar), query.data(), scratch, expected.data());
    CHECK(found == expected);
    for (std::size_t a = 0; a < count; ++a) {
        double exact = 0.0;
        for (std::size_t i = 0; i < dims; ++i) exact += double{axes[a * dims + i]} * query[i];
        CHECK(std::fabs(found[a] - exact) <= error);
    }
}

void products_are_near_the_exact_ones() {
    for (const std::size_t dims : {1u, 2u, 3u, 4u, 15u, 17u, 50u, 384u, 1024u}) {
        for (const std::size_t count : {1u, 15u, 16u, 17u, 40u}) {
            if (count > dims) continue;
            SplitMix64 random(dims * 100 + count);
            std::vector<float> axes(count * dims), query(dims);
            for (float& x : axes) x = static_cast<float>(random.unit() - 0.5);
            for (float& x : query) x = static_cast<float>(random.unit() - 0.5);
            // Errors of half a step on either side, at random.
            check_products(axes, query, 0.008f * std::sqrt(static_cast<float>(dims)));
        }
    }
}

// The largest numbers there are, where sums of 16 bits would overflow first.
void the_largest_numbers_are_not_cut_off() {
    for (const float sign : {1.0f, -1.0f}) {
        const std::vector<float> query(64, sign);
        check_products(std::vector<float>(64 * 16, 1.0f), query, 0.7f);  // each off by 1 in 127
        std::vector<float> apart(64 * 16);  // one of two neighbours has all
        for (std::size_t i = 0; i < apart.size(); i += 2) apart[i] = -1.0f;
        check_products(apart, query, 1e-4f);
    }
}

void nothing_but_zeros_is_zero() {
    check_products(std::vector<float>(3 * 8, 0.0f), std::vector<float>(8, 1.0f), 0.0f);
    check_products(std::vector<float>(3 * 8, 1.0f), std::vector<float>(8, 0.0f), 0.0f);
}

}  // namespace

int main() {
    if (forced_level_is_missing()) return kSkipped;
    products_are_near_the_exact_ones();
    the_largest_numbers_are_not_cut_off();
    nothing_but_zeros_is_zero();
    return check_result();
}

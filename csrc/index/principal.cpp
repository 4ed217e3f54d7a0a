#include "index/principal.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.hpp"
#include "index/dots.hpp"

namespace llmspell::index {
namespace {

constexpr std::size_t kRounds = 12;

std::vector<float> covariance(const float* vectors, std::size_t stride, std::size_t count,
                              std::size_t dim) {
    constexpr std::size_t kAtOnce = 1024;  // vectors, so that their columns stay in a cache
    std::vector<float> columns(dim * kAtOnce), products(dim), out(dim * dim);
    for (std::size_t first = 0; first < count; first += kAtOnce) {
        const std::size_t n = std::min(kAtOnce, count - first);
        for (std::size_t i = 0; i < n; ++i) {
            const float* vector = vectors + (first + i) * stride;
            for (std::size_t j = 0; j < dim; ++j) columns[j * kAtOnce + i] = vector[j];
        }
        for (std::size_t j = 0; j < dim; ++j) {
            const float* column = &columns[j * kAtOnce];
            dots(column, column, kAtOnce, dim - j, n, products.data());
            for (std::size_t k = j; k < dim; ++k) out[j * dim + k] += products[k - j];
        }
    }
    for (std::size_t j = 0; j < dim; ++j) {
        for (std::size_t k = j; k < dim; ++k) {
            out[j * dim + k] /= static_cast<float>(count);
            out[k * dim + j] = out[j * dim + k];
        }
    }
    return out;
}

// Makes the first `count` rows orthonormal, by Gram and Schmidt, twice over for those that are
// nearly parallel; drops what lies in the span of rows before it. Returns how many are left.
std::size_t orthonormalise(std::vector<float>& rows, std::size_t count, std::size_t dim) {
    std::vector<float> shares(count);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; ++i) {
        float* row = rows.data() + kept * dim;
        if (kept != i) std::copy_n(rows.data() + i * dim, dim, row);
        const auto length = [&] { return std::sqrt(std::inner_product(row, row + dim, row, 0.0)); };
        const double before = length();
        for (int pass = 0; pass < 2 && kept > 0; ++pass) {
            dots(row, rows.data(), dim, kept, dim, shares.data());
            for (std::size_t j = 0; j < kept; ++j) {
                const float* other = &rows[j * dim];
                for (std::size_t k = 0; k < dim; ++k) row[k] -= shares[j] * other[k];
            }
        }
        const double left = length();
        if (!(left > 1e-5 * before) || !(left > 0.0)) continue;
        for (std::size_t k = 0; k < dim; ++k) row[k] = static_cast<float>(row[k] / left);
        ++kept;
    }
    return kept;
}

}  // namespace

PrincipalAxes principal_axes(const float* vectors, std::size_t stride, std::size_t count,
                             std::size_t dim, std::size_t most) {
    const std::vector<float> spread = covariance(vectors, stride, count, dim);
    std::size_t rank = std::min(most, dim);
    std::vector<float> axes(rank * dim), turned(rank * dim);
    SplitMix64 random(dim);
    for (float& x : axes) x = static_cast<float>(random.unit() - 0.5);
    rank = orthonormalise(axes, rank, dim);
    for (std::size_t round = 0; round < kRounds; ++round) {
        for (std::size_t i = 0; i < rank; ++i) {
            dots(axes.data() + i * dim, spread.data(), dim, dim, dim, turned.data() + i * dim);
        }
        axes.swap(turned);
        rank = orthonormalise(axes, rank, dim);
    }
    std::vector<double> variances(rank);
    std::vector<float> product(dim);
    for (std::size_t i = 0; i < rank; ++i) {
        const float* axis = axes.data() + i * dim;
        dots(axis, spread.data(), dim, dim, dim, product.data());
        variances[i] = std::max(0.0, std::inner_product(axis, axis + dim, product.data(), 0.0));
    }
    std::vector<std::size_t> order(rank);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return variances[a] > variances[b]; });
    PrincipalAxes out;
    for (const std::size_t i : order) {
        out.axes.insert(out.axes.end(), axes.data() + i * dim, axes.data() + i * dim + dim);
        out.variances.push_back(variances[i]);
    }
    return out;
}

}  // namespace llmspell::index

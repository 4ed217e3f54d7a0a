#include "index/estimate.hpp"

#include <algorithm>
#include <cmath>

#include "index/coded.hpp"
#include "index/division.hpp"
#include "index/graph.hpp"
#include "index/types.hpp"

namespace llmspell::index {
namespace {

// Of Graph for each slot, besides rows: degree, changed or not, level, parent.
constexpr double kSlotBytes = 2 + 1.0 / 8 + 1 + 4;
constexpr double kUpperBytes = sizeof(std::uint32_t);  // and where its rows above layer 0 are
constexpr std::size_t kContextBytes = std::size_t{16} << 10;  // of SearchContext, besides visited

std::size_t bytes_of(double bytes) { return static_cast<std::size_t>(bytes); }

// Of a node's rows above layer 0, on average: one in m^l reaches layer l.
double upper_row_bytes(const Params& params) {
    double total = 0.0;
    double reaching = 1.0;
    for (std::size_t level = 1; level <= kMaxLevel; ++level) {
        reaching /= params.m;
        const double only = reaching * (1.0 - 1.0 / params.m);
        total += only * static_cast<double>(level * (params.m + 1) * sizeof(Slot));
    }
    return total;
}

double codebook_bytes(std::size_t dim, const RowLayout& layout) {
    const double axes =
        std::min(kAxesPerGroup * static_cast<double>(layout.groups), static_cast<double>(dim));
    RowLayout start = layout;
    start.blocks = 1;
    constexpr double kStartRows = 9;
    // Axes as floats and as bytes, the points of each, the mean.
    return axes * static_cast<double>(dim * (sizeof(float) + 1) + kGroupPoints * sizeof(float)) +
           static_cast<double>(dim * sizeof(float)) +
           kStartRows * static_cast<double>(start.bytes());
}

// Of a sample of vectors and of its coordinates along the axes.
double learning_bytes(std::size_t count, std::size_t dim, const CodedGraph& coded,
                      std::size_t groups) {
    const double sample =
        static_cast<double>(std::min(count, coded.codes().codebook().sample_size()));
    return sample * sizeof(float) *
           (static_cast<double>(dim) + kAxesPerGroup * static_cast<double>(groups));
}

}  // namespace

MemoryEstimate estimate_memory(std::size_t count, std::size_t dim, Metric metric,
                               simd::ElementType type, const Params& params, std::size_t groups) {
    check_params(params, dim);
    check_types(metric, type, params.quantization);
    const Quantiser quantiser(dim, metric, type);
    const auto n = static_cast<double>(count);
    constexpr double kGrowth = 1.5, kVectorGrowth = 2.0;  // the latter of std::vector
    // A place in the table, of which five in eight are taken; the id and the state of a slot.
    constexpr double kIdBytes = sizeof(Slot) * 8.0 / 5 + sizeof(Label) + 1;

    MemoryEstimate out;
    MemoryBytes& built = out.built;
    const double row = static_cast<double>(quantiser.row_bytes());
    double largest = n * row, bottom = 0.0, per_slot = 0.0, learning = 0.0;
    const bool has_graph = count >= std::max<std::size_t>(params.graph_threshold, 1);
    built.vectors = bytes_of(n * row);
    built.ids = bytes_of(n * kIdBytes);
    built.scratch = kContextBytes + dim * sizeof(float);
    if (has_graph) {
        Graph graph(params.m, params.max_neighbors);
        if (params.quantization == Quantization::sq4) {
            const CodedGraph coded(quantiser, params);
            built.refined_codes = bytes_of(n * static_cast<double>(coded.refined_row_bytes()));
        }
        if (params.quantization == Quantization::pq && groups > 0) {
            const CodedGraph coded(quantiser, params);
            RowLayout layout = coded.codes().layout();
            layout.groups = groups;
            graph.set_beside(nullptr, layout.bytes());
            built.codes = bytes_of(n * static_cast<double>(groups / 2 + sizeof(std::uint16_t) +
                                                           (layout.has_bias ? sizeof(float) : 0)));
            built.refined_codes = bytes_of(n * static_cast<double>(coded.refined_row_bytes()));
            built.codebook = bytes_of(codebook_bytes(dim, layout));
            learning = learning_bytes(count, dim, coded, groups);
        } else {
            built.scratch += count * sizeof(std::uint16_t);  // of visited nodes
        }
        bottom = static_cast<double>(graph.row_bytes());
        per_slot = kSlotBytes + kUpperBytes;
        built.bottom_layer = bytes_of(n * (bottom + kSlotBytes));
        built.upper_layers = bytes_of(n * (upper_row_bytes(params) + kUpperBytes));
        largest = std::max(largest, n * bottom);
    }
    const double arrays =
        n * (row + bottom + kIdBytes) + static_cast<double>(built.codes + built.refined_codes);
    const double upper_rows = has_graph ? n * upper_row_bytes(params) : 0.0;
    out.grown = bytes_of(kGrowth * arrays + kVectorGrowth * n * per_slot + upper_rows) +
                built.codebook + built.scratch;
    out.peak = out.grown + bytes_of(largest + learning);
    return out;
}

}  // namespace llmspell::index

// Parameters of an index; checked by check_params, mirrored by llmspell.IndexParams.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace llmspell::index {

using Slot = std::uint32_t;   // row number inside the index; reused after a delete
using Label = std::uint64_t;  // the caller's id
inline constexpr Slot kNoSlot = ~Slot{0};

enum class Metric : std::uint8_t { ip, cosine, l2, l1, hamming };

// What a walk of the graph computes distances from: the stored rows, codes beside the links, or
// rows of four bits a dimension.
enum class Quantization : std::uint8_t { none, pq, sq4 };

// Which parts of a snapshot are mapped; the others are read into memory. `vectors`: those that no
// walk by codes reads, where there are codes.
enum class Mapping : std::uint8_t { none, vectors, all };

struct Params {
    std::uint32_t m = 16;              // links per node on the upper layers
    std::uint32_t max_neighbors = 32;  // links per node on layer 0
    std::uint32_t ef_construction = 200;
    std::uint32_t ef_search = 100;
    std::uint64_t graph_threshold = 2000;  // fewer vectors are searched exactly
    std::uint64_t seed = 42;
    Quantization quantization = Quantization::none;
};

inline constexpr Label kMaxLabel = ~Label{0} >> 1;  // results are signed, -1 means none
inline constexpr std::size_t kMaxDim = 16384;
inline constexpr int kMaxLevel = 30;

inline void check_params(const Params& p, std::size_t dim) {
    const auto require = [](bool ok, const std::string& message) {
        if (!ok) throw Error(ErrorCode::config, message);
    };
    require(dim >= 1 && dim <= kMaxDim, "dim must be from 1 to 16384, got " + std::to_string(dim));
    require(p.m >= 2 && p.m <= 100, "m must be from 2 to 100, got " + std::to_string(p.m));
    require(p.max_neighbors >= p.m && p.max_neighbors <= 4 * p.m,
            "max_neighbors must be from m to 4 * m, got " + std::to_string(p.max_neighbors));
    require(p.ef_construction >= p.m && p.ef_construction <= (1u << 20),
            "ef_construction must be from m to 1048576, got " + std::to_string(p.ef_construction));
    require(p.ef_search >= 1 && p.ef_search <= (1u << 20),
            "ef_search must be from 1 to 1048576, got " + std::to_string(p.ef_search));
    require(p.graph_threshold <= std::uint64_t{1} << 32,
            "graph_threshold must be from 0 to 2^32, got " + std::to_string(p.graph_threshold));
    require(p.seed <= kMaxLabel, "seed must be from 0 to 2^63 - 1, got " + std::to_string(p.seed));
}

}  // namespace llmspell::index

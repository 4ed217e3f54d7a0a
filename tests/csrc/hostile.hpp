// Snapshots made to harm: their checksums are made good again, so that only the checks behind those
// stand in the way. Each must be refused by name, or give an index that can be searched and
// changed.
#pragma once

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/checksum.hpp"
#include "check.hpp"
#include "index/index.hpp"
#include "nearest.hpp"
#include "vectors.hpp"

namespace hostile {

using namespace llmspell;
using namespace llmspell::index;

// The offsets of docs/reference/snapshot.md, not taken from the code that they check.
inline constexpr std::size_t kSectionsAt = 88, kExtent = 24, kSections = 15, kCrcAt = 12;
inline constexpr std::size_t kHeader = kSectionsAt + kExtent * kSections, kAlignment = 4096;
enum Section : std::size_t {
    kLabels,
    kStates,
    kTable,
    kLevels,
    kCounts,
    kParents,
    kUpper,
    kCoding,
    kChecksums,
    kRows,
    kBottom,
    kCodes
};
inline constexpr std::size_t kDim = 4;

inline std::vector<char> read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline void write(const std::string& path, const std::vector<char>& bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), std::ssize(bytes));
}

template <class T>
T get(const std::vector<char>& bytes, std::size_t at) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(value));
    return value;
}

template <class T>
void set(std::vector<char>& bytes, std::size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof(value));
}

inline std::size_t section(const std::vector<char>& bytes, std::size_t i) {
    return static_cast<std::size_t>(get<std::uint64_t>(bytes, kSectionsAt + i * kExtent));
}

// Blocks are of 2^n rows, of 4 KiB at most, or of one.
inline std::size_t block_bytes(std::size_t row_bytes) {
    std::size_t rows = 1;
    while (2 * rows * row_bytes <= 4096) rows *= 2;
    return rows * row_bytes;
}

inline void seal(std::vector<char>& bytes) {
    if (bytes.size() < kHeader) return;
    std::size_t next = 0;
    // Those in blocks first, for the section of their checksums has one too.
    for (std::size_t i = kRows; i < kSections; ++i) {
        const std::size_t extent = kSectionsAt + i * kExtent;
        const auto offset = get<std::uint64_t>(bytes, extent);
        const auto length = get<std::uint64_t>(bytes, extent + 8);
        const auto row_bytes = get<std::uint32_t>(bytes, extent + 16);
        if (row_bytes == 0 || offset > bytes.size() || length > bytes.size() - offset) continue;
        const std::size_t step = block_bytes(row_bytes);
        for (std::uint64_t at = 0; at < length; at += step) {
            const std::size_t to = section(bytes, kChecksums) + 4 * next++;
            if (to > bytes.size() - 4) return;
            set(bytes, to,
                crc32c(bytes.data() + offset + at, std::min<std::uint64_t>(step, length - at)));
        }
    }
    for (std::size_t i = 0; i < kRows; ++i) {
        const std::size_t extent = kSectionsAt + i * kExtent;
        const auto offset = get<std::uint64_t>(bytes, extent);
        const auto length = get<std::uint64_t>(bytes, extent + 8);
        if (offset > bytes.size() || length > bytes.size() - offset) continue;
        set(bytes, extent + 20, crc32c(bytes.data() + offset, length));
    }
    set(bytes, kCrcAt, std::uint32_t{0});
    set(bytes, kCrcAt, crc32c(bytes.data(), kHeader));
}

inline void use(Index& index, bool compact_first) {
    const std::size_t size = index.size();
    // As bits they are zeros.
    const float value = index.type() == simd::ElementType::binary ? 0.0f : 0.5f;
    const std::vector<float> query(index.dim(), value);
    for (const std::size_t k : {std::size_t{1}, std::size_t{5}, size + 3}) {
        CHECK(nearest_labels(index, query, k).size() == std::min(k, size));
        index.range_search(query.data(), 1, -1.0f, {});
    }
    index.stats();
    if (compact_first) index.compact(nullptr);
    const std::vector<float> more(50 * index.dim(), value / 2);
    index.add(make_labels(50, 1'000'000).data(), more.data(), 50, true, 1);
    index.remove(make_labels(40).data(), 40);
    index.audit({0, 0, 1, true});
    index.compact(nullptr);
}

inline constexpr Mapping kAllMappings[] = {Mapping::none, Mapping::vectors, Mapping::all};

// Whether it was refused, when it was opened or later; any error but the two named ones is a
// failure.
inline bool refused(const std::string& path) {
    bool refusals[3] = {};
    for (const Mapping mapping : kAllMappings) {
        try {
            use(*Index::load(path, nullptr, mapping), mapping == Mapping::vectors);
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::corrupt_file ||
                  error.code() == ErrorCode::unsupported_format);
            refusals[static_cast<int>(mapping)] = true;
        }
    }
    CHECK(refusals[0] == refusals[1] && refusals[0] == refusals[2]);
    return refusals[0];
}

inline std::vector<char> a_snapshot(const std::string& path, simd::ElementType type,
                                    std::uint64_t threshold,
                                    Quantization quantization = Quantization::none) {
    Params params;
    params.quantization = quantization;
    params.m = 3;
    params.max_neighbors = 6;
    params.ef_construction = 16;
    params.graph_threshold = threshold;
    const bool binary = type == simd::ElementType::binary;
    Index index(kDim, binary ? Metric::hamming : Metric::l2, type, params);
    std::vector<float> vectors = make_vectors(60, kDim, 1);
    if (binary) {
        for (std::uint8_t i = 0; i < 60; ++i) {  // one byte each, of kDim bits
            const auto bits = static_cast<std::uint8_t>((i * 37u) << (8 - kDim));
            std::memcpy(reinterpret_cast<std::byte*>(vectors.data()) + i, &bits, 1);
        }
    }
    index.add(make_labels(60).data(), vectors.data(), 60, false, 1);
    const std::vector<Label> gone = {3, 7, 8};
    index.remove(gone.data(), gone.size());
    index.save(path, 42);
    return read(path);
}

}  // namespace hostile

// An index as one file. The format is described in docs/reference/snapshot.md; every length,
// count and slot read from a file is checked before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "index/graph.hpp"
#include "index/storage.hpp"

namespace llmspell::index {

struct SnapshotHeader {
    std::size_t dim;
    Metric metric;
    simd::ElementType type;
    Params params;
    std::uint64_t tag;  // the caller's own number, for example a log sequence
    bool has_graph;
};

// The graph must hold no deleted nodes. Replaces `path` atomically; throws Error(storage).
void write_snapshot(const std::string& path, const SnapshotHeader& header, const Storage& storage,
                    const Graph& graph);

class SnapshotReader {
  public:
    // Throws Error: storage, corrupt_file or unsupported_format.
    explicit SnapshotReader(const std::string& path);

    const SnapshotHeader& header() const noexcept { return header_; }
    // Both empty, and made with the header's parameters.
    void read_into(Storage& storage, Graph& graph) const;

  private:
    std::string path_;
    std::vector<std::byte> bytes_;
    SnapshotHeader header_{};
    std::uint64_t slots_ = 0;
};

}  // namespace llmspell::index

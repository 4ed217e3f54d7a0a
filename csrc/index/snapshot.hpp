// An index as one file, whose parts are the arrays that the index holds, so that it can be mapped.
// The format is described in docs/reference/snapshot.md; every length, count and slot read from a
// file is checked before it is used: what is small when the file is opened, the rest block by block
// when it is first looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "index/block_guard.hpp"
#include "index/coded.hpp"
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

// The graph must hold no deleted nodes, and `coded`, which is null without quantization, be in step
// with it. Replaces `path` atomically; throws Error(storage).
void write_snapshot(const std::string& path, const SnapshotHeader& header, const Storage& storage,
                    const Graph& graph, const CodedGraph* coded);

class SnapshotReader {
  public:
    // Reads the header. Throws Error: storage, corrupt_file or unsupported_format.
    SnapshotReader(const std::string& path, Mapping mapping);

    const SnapshotHeader& header() const noexcept { return header_; }
    // All empty, and made with the header's parameters. What comes back checks the blocks that
    // haven't been looked at, and refers to all three.
    std::vector<std::unique_ptr<BlockGuard>> read_into(Storage& storage, Graph& graph,
                                                       CodedGraph* coded) const;

  private:
    std::string path_;
    std::shared_ptr<const File> file_;
    Mapping mapping_;
    SnapshotHeader header_{};
};

}  // namespace llmspell::index

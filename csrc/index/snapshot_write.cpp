#include <array>
#include <cstring>

#include "base/file.hpp"
#include "index/snapshot.hpp"
#include "index/snapshot_format.hpp"

namespace llmspell::index {
namespace {

constexpr std::array<std::byte, kAlignment> kZeros{};

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
    return std::as_bytes(std::span(values));
}

}  // namespace

void write_snapshot(const std::string& path, const SnapshotHeader& header, const Storage& storage,
                    const Graph& graph, const CodedGraph* coded) {
    const std::size_t slots = storage.slots();
    const bool has_codes = header.has_graph && coded != nullptr && coded->useful();
    FileHeader file{};
    std::memcpy(file.magic, kMagic, sizeof(kMagic));
    file.version = kVersion;
    file.dim = static_cast<std::uint32_t>(header.dim);
    file.metric = static_cast<std::uint8_t>(header.metric);
    file.type = static_cast<std::uint8_t>(header.type);
    file.has_graph = header.has_graph ? 1 : 0;
    file.quantization = static_cast<std::uint8_t>(header.params.quantization);
    file.m = header.params.m;
    file.max_neighbors = header.params.max_neighbors;
    file.ef_construction = header.params.ef_construction;
    file.ef_search = header.params.ef_search;
    file.graph_threshold = header.params.graph_threshold;
    file.seed = header.params.seed;
    file.tag = header.tag;
    file.slots = slots;
    file.entry = header.has_graph ? graph.entry() : kNoSlot;
    file.max_level = header.has_graph ? graph.max_level() : -1;
    file.first_free = storage.first_free();
    file.has_codes = has_codes ? 1 : 0;

    std::array<std::span<const std::byte>, kSections> sections;
    std::vector<Slot> upper;
    std::vector<std::byte> coding;
    std::vector<std::uint32_t> checksums;
    const auto in_blocks = [&](Section section, const auto& array, std::size_t row_bytes) {
        sections[section] = {reinterpret_cast<const std::byte*>(array.data()), slots * row_bytes};
        file.sections[section].row_bytes = static_cast<std::uint32_t>(row_bytes);
        const std::vector<std::uint32_t> own =
            BlockGuard::checksums({sections[section].data(), row_bytes, slots});
        checksums.insert(checksums.end(), own.begin(), own.end());
    };
    sections[kLabels] = storage.labels().as_bytes(slots);
    sections[kStates] = storage.states().as_bytes(slots);
    if (slots > 0) sections[kTable] = storage.table().as_bytes(storage.table().size());
    in_blocks(kRows, storage.row_array(), storage.quantiser().row_bytes());
    if (header.has_graph) {
        sections[kLevels] = graph.levels().as_bytes(slots);
        sections[kCounts] = graph.counts().as_bytes(slots);
        sections[kParents] = graph.parents().as_bytes(slots);
        upper = graph.upper_rows();
        sections[kUpper] = bytes_of(upper);
        in_blocks(kBottom, graph.bottom(), graph.row_bytes());
    }
    if (header.has_graph && coded != nullptr) {
        coding = coded->state();
        sections[kCoding] = bytes_of(coding);
    }
    if (has_codes && !coded->rounded()) {
        const Codes& codes = coded->codes();
        in_blocks(kCodes, codes.code_array(), codes.codebook().code_bytes());
        in_blocks(kFactors, codes.factors(), sizeof(std::uint16_t));
        if (codes.layout().has_bias) in_blocks(kBiases, codes.biases(), sizeof(float));
    }
    if (has_codes && coded->rounded_rows() != nullptr) {
        in_blocks(kRefined, coded->rounded_rows()->rows(), coded->refined_row_bytes());
    }
    sections[kChecksums] = bytes_of(checksums);

    std::uint64_t offset = aligned(sizeof(FileHeader));
    for (std::size_t i = 0; i < kSections; ++i) {
        Extent& extent = file.sections[i];
        extent.offset = offset;
        extent.length = sections[i].size();
        if (i <= kChecksums) extent.crc = crc32c(sections[i].data(), sections[i].size());
        offset = aligned(offset + extent.length);
    }
    file.crc = header_crc(file);

    std::vector<std::span<const std::byte>> parts;
    const auto append = [&](std::span<const std::byte> part) {
        parts.push_back(part);
        parts.push_back(std::span(kZeros).first(aligned(part.size()) - part.size()));
    };
    append(std::as_bytes(std::span(&file, 1)));
    for (const std::span<const std::byte> section : sections) append(section);
    write_file_atomically(path, parts);
}

}  // namespace llmspell::index

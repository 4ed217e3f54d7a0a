#include "index/snapshot.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <utility>

#include "base/memory.hpp"
#include "index/snapshot_format.hpp"
#include "index/types.hpp"

namespace llmspell::index {
namespace {

class Checker {
  public:
    explicit Checker(const std::string& path) : path_(path) {}
    void operator()(bool ok, const char* what) const {
        if (!ok) throw Error(ErrorCode::corrupt_file, "snapshot " + path_ + ": " + what);
    }

  private:
    const std::string& path_;
};

FileHeader header_of(const File& file) {
    FileHeader header;
    file.read(0, &header, sizeof(header));
    return header;
}

// The sections of a file, each taken once.
class Sections {
  public:
    Sections(const std::string& path, const File& file, Mapping mapping)
        : path_(path), file_(file), mapping_(mapping), header_(header_of(file)), check_(path) {}

    const FileHeader& header() const noexcept { return header_; }

    // A section of `count` elements that is checked now.
    template <class T>
    AlignedArray<T> take(Section section, std::size_t count) {
        const Extent& extent = header_.sections[section];
        check_(extent.length == count * sizeof(T), "a section has the wrong length");
        AlignedArray<T> out = array<T>(extent, mapping_ == Mapping::all);
        check_(crc32c(out.data(), extent.length) == extent.crc,
               "a section's checksum does not hold");
        return out;
    }
    template <class T>
    AlignedArray<T> take(Section section) {
        const Extent& extent = header_.sections[section];
        check_(extent.length % sizeof(T) == 0, "a section has the wrong length");
        return take<T>(section, static_cast<std::size_t>(extent.length / sizeof(T)));
    }
    // A section of a row for each slot, for the guard to check.
    template <class T>
    AlignedArray<T> take_rows(Section section, std::size_t row_bytes) {
        const Extent& extent = header_.sections[section];
        check_(extent.row_bytes == row_bytes && extent.length / row_bytes == header_.slots &&
                   extent.length % row_bytes == 0,
               "a section has the wrong length");
        return array<T>(extent, maps(section));
    }
    void require_empty(std::initializer_list<Section> sections) const {
        for (const Section section : sections) {
            check_(header_.sections[section].length == 0, "a section has the wrong length");
        }
    }
    // What checks its blocks when they are first looked at, to be asked for in the order of
    // sections; nullptr where it was read, for then they are checked now.
    template <class T>
    BlockGuard* guard(Section section, const AlignedArray<T>& array, const char* what,
                      BlockGuard::Sound sound) {
        if (!checksums_) {
            checksums_ = std::make_shared<const AlignedArray<std::uint32_t>>(
                take<std::uint32_t>(kChecksums));
        }
        const std::size_t row_bytes = header_.sections[section].row_bytes;
        const auto slots = static_cast<std::size_t>(header_.slots);
        const std::size_t blocks = BlockGuard::blocks(row_bytes, slots);
        check_(blocks <= checksums_->size() - used_, "blocks without a checksum");
        const std::shared_ptr<const std::uint32_t> first(checksums_, checksums_->data() + used_);
        used_ += blocks;
        auto guard = std::make_unique<BlockGuard>(
            "snapshot " + path_ + ": " + what,
            BlockGuard::Rows{reinterpret_cast<const std::byte*>(array.data()), row_bytes, slots},
            first, std::move(sound));
        if (!maps(section)) {
            guard->check_all();
            return nullptr;
        }
        guards.push_back(std::move(guard));
        return guards.back().get();
    }
    void end() const {
        check_(!checksums_ || used_ == checksums_->size(), "checksums without a block");
    }

    std::vector<std::unique_ptr<BlockGuard>> guards;

  private:
    // Short codes are with the vectors: walks go by copies of them, in the rows of kBottom.
    bool maps(Section section) const noexcept {
        return mapping_ == Mapping::all ||
               (mapping_ == Mapping::vectors && section != kBottom && section != kRefined);
    }
    template <class T>
    AlignedArray<T> array(const Extent& extent, bool map) const {
        return AlignedArray<T>(Memory(file_, static_cast<std::size_t>(extent.offset),
                                      static_cast<std::size_t>(extent.length), map));
    }

    const std::string& path_;
    const File& file_;
    Mapping mapping_;
    FileHeader header_;
    Checker check_;
    std::shared_ptr<const AlignedArray<std::uint32_t>> checksums_;
    std::size_t used_ = 0;
};

bool is_padding(const File& file, std::uint64_t from, std::uint64_t to) {
    std::array<char, kAlignment> bytes{};
    const auto count = static_cast<std::size_t>(to - from);
    file.read(from, bytes.data(), count);
    return std::all_of(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count),
                       [](char byte) { return byte == 0; });
}

}  // namespace

SnapshotReader::SnapshotReader(const std::string& path, Mapping mapping)
    : path_(path), file_(std::make_shared<const File>(path)), mapping_(mapping) {
    const Checker check(path_);
    check(file_->size() >= sizeof(FileHeader), "shorter than its header");
    const FileHeader file = header_of(*file_);
    check(std::memcmp(file.magic, kMagic, sizeof(kMagic)) == 0, "not an index snapshot");
    if (file.version != kVersion) {
        throw Error(ErrorCode::unsupported_format,
                    "snapshot " + path_ + " has version " + std::to_string(file.version) +
                        "; this release reads version " + std::to_string(kVersion));
    }
    check(file.crc == header_crc(file), "the header's checksum does not hold");
    check(file.metric < std::size(kMetrics) && file.type < std::size(kTypes) &&
              file.has_graph <= 1 && file.has_codes <= file.has_graph &&
              file.quantization < std::size(kQuantizations),
          "unknown type, metric or quantization");
    header_ = {file.dim,
               static_cast<Metric>(file.metric),
               static_cast<simd::ElementType>(file.type),
               {file.m, file.max_neighbors, file.ef_construction, file.ef_search,
                file.graph_threshold, file.seed, static_cast<Quantization>(file.quantization)},
               file.tag,
               file.has_graph == 1};
    try {
        check_params(header_.params, header_.dim);
        check_types(header_.metric, header_.type, header_.params.quantization);
    } catch (const Error& error) {
        check(false, error.what());
    }
    check(file.slots < kNoSlot, "more slots than an index can hold");
    std::uint64_t expected = aligned(sizeof(FileHeader));
    check(expected <= file_->size(), "a section lies outside the file");
    check(is_padding(*file_, sizeof(FileHeader), expected), "something lies between sections");
    for (const Extent& extent : file.sections) {
        check(extent.offset == expected && extent.length <= file_->size() - expected,
              "a section lies outside the file");
        const std::uint64_t end = expected + extent.length;
        expected = aligned(end);
        check(expected <= file_->size(), "a section lies outside the file");
        check(is_padding(*file_, end, expected), "something lies between sections");
    }
    check(expected == file_->size(), "longer than its sections");
}

std::vector<std::unique_ptr<BlockGuard>> SnapshotReader::read_into(Storage& storage, Graph& graph,
                                                                   CodedGraph* coded) const {
    const Checker check(path_);
    Sections sections(path_, *file_, mapping_);
    const FileHeader& file = sections.header();
    const auto slots = static_cast<std::size_t>(file.slots);
    const Quantiser& quantiser = storage.quantiser();

    check(storage.restore({sections.take<Label>(kLabels, slots),
                           sections.take<SlotState>(kStates, slots), sections.take<Slot>(kTable),
                           sections.take_rows<std::byte>(kRows, quantiser.row_bytes()),
                           file.first_free}),
          "ids, states and the table of ids do not match");
    BlockGuard* of_rows = sections.guard(
        kRows, storage.row_array(), "vectors", [&storage](std::size_t slot, const std::byte* row) {
            return !storage.is_live(static_cast<Slot>(slot)) || storage.quantiser().sound(row);
        });
    storage.guard_by(of_rows);
    if (!header_.has_graph) {
        sections.require_empty({kLevels, kCounts, kParents, kUpper, kCoding, kBottom, kCodes,
                                kFactors, kBiases, kRefined});
        sections.end();
        return std::move(sections.guards);
    }

    const std::size_t row_bytes = file.sections[kBottom].row_bytes;
    check(row_bytes >= graph.row_bytes() && row_bytes % alignof(std::uint64_t) == 0,
          "a section has the wrong length");
    check(graph.restore(
              {sections.take_rows<std::byte>(kBottom, row_bytes),
               sections.take<std::uint16_t>(kCounts, slots),
               sections.take<std::int8_t>(kLevels, slots), sections.take<Slot>(kParents, slots),
               sections.take<Slot>(kUpper), file.entry, file.max_level},
              row_bytes),
          "levels, degrees and links do not match");
    for (Slot slot = 0; slot < slots; ++slot) {
        check(storage.is_live(slot) == graph.contains(slot), "the graph is not of the vectors");
    }
    std::size_t places = graph.max_neighbors();
    std::size_t expected_row_bytes = graph.row_bytes_for(0);
    check((coded != nullptr) == (file.sections[kCoding].length > 0) &&
              (coded != nullptr || file.has_codes == 0),
          "codes without quantization, or none with it");
    if (coded != nullptr) {
        const AlignedArray<std::byte> state = sections.take<std::byte>(kCoding);
        check(coded->restore(std::span(state.data(), state.size()), graph) &&
                  coded->useful() == (file.has_codes == 1),
              "the codebook is none");
    }
    const bool has_codes = file.has_codes == 1 && !coded->rounded();  // in the graph's rows
    if (has_codes) {
        const RowLayout& layout = coded->codes().layout();
        places = layout.blocks * kBlock;
        expected_row_bytes = graph.row_bytes_for(layout.bytes());
    }
    check(row_bytes == expected_row_bytes, "a section has the wrong length");
    graph.guard_by(sections.guard(kBottom, graph.bottom(), "links",
                                  [&graph, places](std::size_t slot, const std::byte*) {
                                      return graph.sound_row(static_cast<Slot>(slot), places);
                                  }));
    if (has_codes) {
        Codes& codes = coded->codes();
        const bool has_bias = codes.layout().has_bias;
        codes.restore(
            {sections.take_rows<std::uint8_t>(kCodes, codes.codebook().code_bytes()),
             sections.take_rows<std::uint16_t>(kFactors, sizeof(std::uint16_t)),
             has_bias ? sections.take_rows<float>(kBiases, sizeof(float)) : AlignedArray<float>()});
        std::vector<const BlockGuard*> guards{
            sections.guard(kCodes, codes.code_array(), "codes", {}),
            sections.guard(kFactors, codes.factors(), "factors", {})};
        if (has_bias) {
            guards.push_back(sections.guard(kBiases, codes.biases(), "biases", {}));
        } else {
            sections.require_empty({kBiases});
        }
        std::erase(guards, nullptr);
        codes.guard_by(std::move(guards));
    } else {
        sections.require_empty({kCodes, kFactors, kBiases});
    }
    if (Sq4* rounded = coded == nullptr ? nullptr : coded->rounded_rows(); rounded != nullptr) {
        rounded->restore(sections.take_rows<std::uint8_t>(kRefined, rounded->row_bytes()));
        rounded->guard_by(sections.guard(kRefined, rounded->rows(), "four-bit rows", {}));
        // Searches by these alone compare some 16 vectors in the end, and take long enough for as
        // many system calls, 1.4 us each: what they read needn't lie in the process's memory.
        if (mapping_ == Mapping::vectors && coded->rounded() && of_rows != nullptr &&
            storage.row_array().mapped_bytes() > 0) {
            storage.read_from(std::make_unique<const RowFile>(file_, file.sections[kRows].offset,
                                                              quantiser.row_bytes()));
            of_rows->read_from(storage.row_file());
        }
    } else {
        sections.require_empty({kRefined});
    }
    sections.end();
    return std::move(sections.guards);
}

}  // namespace llmspell::index

#include "index/snapshot.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <iterator>

#include "base/checksum.hpp"
#include "base/file.hpp"
#include "index/types.hpp"

namespace llmspell::index {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr char kMagic[8] = {'L', 'L', 'S', 'P', 'I', 'D', 'X', '\n'};
constexpr std::uint32_t kVersion = 2;

enum Section : std::size_t { kLabels, kLevels, kRows, kLinks, kExtras, kSections };

constexpr std::int8_t kFreeSlot = -2;  // in the levels section; -1: live, but in no graph

struct Extent {
    std::uint64_t offset;
    std::uint64_t length;
    std::uint32_t crc;
    std::uint32_t reserved;
};

struct FileHeader {
    char magic[8];
    std::uint32_t version;
    std::uint32_t crc;  // of this header with crc = 0
    std::uint32_t dim;
    std::uint8_t metric;
    std::uint8_t type;
    std::uint8_t has_graph;
    std::uint8_t quantization;
    std::uint32_t m;
    std::uint32_t max_neighbors;
    std::uint32_t ef_construction;
    std::uint32_t ef_search;
    std::uint64_t graph_threshold;
    std::uint64_t seed;
    std::uint64_t tag;
    std::uint64_t slots;
    std::uint32_t entry;
    std::int32_t max_level;
    Extent sections[kSections];
};
static_assert(sizeof(FileHeader) == 200 && std::is_trivially_copyable_v<FileHeader>);

bool is_coded(const Params& params) { return params.quantization != Quantization::none; }

std::uint32_t header_crc(FileHeader header) {
    header.crc = 0;
    return crc32c(&header, sizeof(header));
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
    return std::as_bytes(std::span(values));
}

class Checker {
  public:
    explicit Checker(const std::string& path) : path_(path) {}
    void operator()(bool ok, const char* what) const {
        if (!ok) throw Error(ErrorCode::corrupt_file, "snapshot " + path_ + ": " + what);
    }

  private:
    const std::string& path_;
};

// The numbers of a section, one after the other.
class Numbers {
  public:
    Numbers(const std::byte* file, const Extent& extent, const Checker& check)
        : at_(file + extent.offset), left_(extent.length / sizeof(Slot)), check_(check) {}
    Slot next() {
        check_(left_ > 0, "the links end early");
        Slot value;
        std::memcpy(&value, at_, sizeof(value));
        at_ += sizeof(value);
        --left_;
        return value;
    }
    bool ended() const noexcept { return left_ == 0; }

  private:
    const std::byte* at_;
    std::uint64_t left_;
    const Checker& check_;
};

FileHeader header_of(const std::vector<std::byte>& bytes) {
    FileHeader header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    return header;
}

}  // namespace

void write_snapshot(const std::string& path, const SnapshotHeader& header, const Storage& storage,
                    const Graph& graph) {
    const std::size_t slots = storage.slots();
    std::vector<Label> labels(slots);
    std::vector<std::int8_t> levels(slots, kFreeSlot);
    std::vector<Slot> links, extras;
    const auto append = [](std::vector<Slot>& to, std::span<const Slot> some) {
        to.push_back(static_cast<Slot>(some.size()));
        to.insert(to.end(), some.begin(), some.end());
    };
    for (Slot slot = 0; slot < slots; ++slot) {
        if (!storage.is_live(slot)) continue;
        labels[slot] = storage.label(slot);
        levels[slot] = static_cast<std::int8_t>(header.has_graph ? graph.level(slot) : -1);
        for (int level = 0; level <= levels[slot]; ++level) {
            append(links, graph.links(slot, level));
        }
        if (header.has_graph && is_coded(header.params)) append(extras, graph.extras(slot));
    }
    const std::array<std::span<const std::byte>, kSections> sections = {
        bytes_of(labels), bytes_of(levels),
        std::span(storage.rows(), slots * storage.quantiser().row_bytes()), bytes_of(links),
        bytes_of(extras)};

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
    std::uint64_t offset = sizeof(FileHeader);
    for (std::size_t i = 0; i < kSections; ++i) {
        file.sections[i] = {offset, sections[i].size(),
                            crc32c(sections[i].data(), sections[i].size()), 0};
        offset += sections[i].size();
    }
    file.crc = header_crc(file);

    std::vector<std::span<const std::byte>> parts{std::as_bytes(std::span(&file, 1))};
    parts.insert(parts.end(), sections.begin(), sections.end());
    write_file_atomically(path, parts);
}

SnapshotReader::SnapshotReader(const std::string& path) : path_(path), bytes_(read_file(path)) {
    const Checker check(path_);
    check(bytes_.size() >= sizeof(FileHeader), "shorter than its header");
    const FileHeader file = header_of(bytes_);
    check(std::memcmp(file.magic, kMagic, sizeof(kMagic)) == 0, "not an index snapshot");
    if (file.version != kVersion) {
        throw Error(ErrorCode::unsupported_format, "snapshot " + path_ + " has version " +
                                                       std::to_string(file.version) +
                                                       "; this release reads version 2");
    }
    check(file.crc == header_crc(file), "the header's checksum does not hold");
    check(file.metric < std::size(kMetrics) && file.type < std::size(kTypes) &&
              file.has_graph <= 1 && file.quantization < std::size(kQuantizations),
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
    slots_ = file.slots;
    check(slots_ < kNoSlot, "more slots than an index can hold");
    std::uint64_t expected = sizeof(FileHeader);
    for (const Extent& extent : file.sections) {
        check(extent.offset == expected && extent.length <= bytes_.size() - expected,
              "a section lies outside the file");
        check(extent.crc == crc32c(bytes_.data() + extent.offset, extent.length),
              "a section's checksum does not hold");
        expected += extent.length;
    }
    check(expected == bytes_.size(), "longer than its sections");
    check(file.sections[kLabels].length == slots_ * sizeof(Label) &&
              file.sections[kLevels].length == slots_ &&
              file.sections[kLinks].length % sizeof(Slot) == 0 &&
              file.sections[kExtras].length % sizeof(Slot) == 0,
          "a section has the wrong length");
}

void SnapshotReader::read_into(Storage& storage, Graph& graph) const {
    const Checker check(path_);
    const FileHeader file = header_of(bytes_);
    const auto count = static_cast<std::size_t>(slots_);
    check(file.sections[kRows].length == count * storage.quantiser().row_bytes(),
          "a section has the wrong length");
    std::vector<Label> labels(count);
    if (count > 0) {
        std::memcpy(labels.data(), bytes_.data() + file.sections[kLabels].offset,
                    count * sizeof(Label));
    }
    const auto* levels =
        reinterpret_cast<const std::int8_t*>(bytes_.data() + file.sections[kLevels].offset);
    const std::byte* rows = bytes_.data() + file.sections[kRows].offset;
    std::vector<bool> live(count);
    std::uint64_t link_rows = 0;
    for (std::size_t i = 0; i < count; ++i) {
        live[i] = levels[i] != kFreeSlot;
        const bool plausible =
            levels[i] == kFreeSlot ||
            (header_.has_graph ? levels[i] >= 0 && levels[i] <= kMaxLevel : levels[i] == -1);
        check(plausible, "a node's level is out of range");
        link_rows += static_cast<std::uint64_t>(std::max(levels[i] + 1, 0));
        if (!live[i]) continue;
        check(labels[i] <= kMaxLabel, "an id is out of range");
        check(storage.quantiser().sound(rows + i * storage.quantiser().row_bytes()),
              "a vector is not finite, or out of range");
    }
    check(link_rows <= file.sections[kLinks].length / sizeof(Slot), "the links end early");
    storage.restore(std::move(labels), live, rows);
    if (!header_.has_graph) {
        check(file.sections[kLinks].length + file.sections[kExtras].length == 0,
              "links without a graph");
        return;
    }

    graph.resize(count);
    int top = -1;
    for (Slot slot = 0; slot < count; ++slot) {
        if (!live[slot]) continue;
        graph.add_node(slot, levels[slot]);
        top = std::max<int>(top, levels[slot]);
    }
    check(top >= 0 && file.max_level == top, "the top level does not match the nodes");
    check(file.entry < count && live[file.entry] && graph.level(file.entry) == top,
          "the entry point is not a node of the top level");
    Numbers links_left(bytes_.data(), file.sections[kLinks], check);
    Numbers extras_left(bytes_.data(), file.sections[kExtras], check);
    std::vector<Slot> links, extras;
    std::vector<std::uint64_t> last_row(count);  // that led to a slot
    std::uint64_t row = 0;
    for (Slot slot = 0; slot < count; ++slot) {
        const auto read = [&](Numbers& from, std::size_t most, int level, std::vector<Slot>& to) {
            const Slot degree = from.next();
            check(degree <= most, "a node has too many links");
            to.clear();
            for (Slot i = 0; i < degree; ++i) {
                const Slot target = from.next();
                check(target < count && live[target] && levels[target] >= level,
                      "a link leads to no node of its level");
                check(target != slot && last_row[target] != row, "a link stands twice");
                last_row[target] = row;
                to.push_back(target);
            }
        };
        for (int level = 0; live[slot] && level <= levels[slot]; ++level) {
            const std::uint32_t limit = graph.degree_limit(level);
            ++row;
            read(links_left, limit, level, links);
            if (level == 0 && is_coded(header_.params))
                read(extras_left, limit - links.size(), level, extras);
            graph.set_links(slot, level, links, extras);
        }
    }
    check(links_left.ended() && extras_left.ended(), "more links than nodes");
    graph.set_entry(file.entry, top);
}

}  // namespace llmspell::index

// Files that were made to harm: bytes changed at random and the checksums made good again, so that
// only the checks behind them stand in the way. Each is refused by name or gives an index that can
// be searched and changed; run under the sanitizers to see that none does worse.
#include "index/snapshot.hpp"

#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <vector>

#include "base/checksum.hpp"
#include "check.hpp"
#include "index/index.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

// The offsets of docs/reference/snapshot.md, not taken from the code that they check.
constexpr std::size_t kHeader = 200, kCrcAt = 12, kSectionsAt = 80, kExtent = 24, kSections = 5;
constexpr std::size_t kDim = 4;

struct Folder {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("snapshot-" + std::to_string(::getpid()));
    Folder() { std::filesystem::create_directory(path); }
    ~Folder() { std::filesystem::remove_all(path); }
};

std::vector<char> read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write(const std::string& path, const std::vector<char>& bytes) {
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

void seal(std::vector<char>& bytes) {
    for (std::size_t i = 0; i < kSections; ++i) {
        const std::size_t extent = kSectionsAt + i * kExtent;
        const auto offset = get<std::uint64_t>(bytes, extent);
        const auto length = get<std::uint64_t>(bytes, extent + 8);
        if (offset > bytes.size() || length > bytes.size() - offset) continue;
        set(bytes, extent + 16, crc32c(bytes.data() + offset, length));
    }
    set(bytes, kCrcAt, std::uint32_t{0});
    set(bytes, kCrcAt, crc32c(bytes.data(), kHeader));
}

// Whether it was refused; any error but the two named ones is a failure.
bool refused(const std::string& path) {
    std::unique_ptr<Index> index;
    try {
        index = Index::load(path, nullptr);
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::corrupt_file ||
              error.code() == ErrorCode::unsupported_format);
        return true;
    }
    const std::size_t size = index->size();
    // As bits they are zeros.
    const float value = index->type() == simd::ElementType::binary ? 0.0f : 0.5f;
    const std::vector<float> query(index->dim(), value);
    SearchOptions options;
    options.k = size + 3;
    for (const std::size_t k : {std::size_t{1}, size + 3}) {
        options.k = k;
        std::vector<Label> labels(k);
        std::vector<float> scores(k);
        std::size_t found = 0;
        index->search(query.data(), 1, options, labels.data(), scores.data(), &found);
        CHECK(found == std::min(k, size));
    }
    const std::vector<float> more(50 * index->dim(), value / 2);
    index->add(make_labels(50, 1'000'000).data(), more.data(), 50, true, 1);
    index->remove(make_labels(40).data(), 40);
    return false;
}

std::vector<char> a_snapshot(const std::string& path, simd::ElementType type,
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

void resealed_changes_are_refused_or_harmless(const Folder& folder) {
    const std::string path = folder.path / "index";
    SplitMix64 random(1);
    std::size_t refusals = 0, accepted = 0;
    for (const simd::ElementType type :
         {simd::ElementType::f32, simd::ElementType::f16, simd::ElementType::i8,
          simd::ElementType::bf16, simd::ElementType::binary}) {
        for (const std::uint64_t threshold : {0u, 10'000u}) {
            // float16 by codes as well, whose extras are a section of their own.
            const auto quantization =
                type == simd::ElementType::f16 ? Quantization::pq : Quantization::none;
            const std::vector<char> good = a_snapshot(path, type, threshold, quantization);
            CHECK(!refused(path));
            for (int round = 0; round < 300; ++round) {
                std::vector<char> bad = good;
                // Half of the changes in the header, where most that is checked stands.
                const std::size_t range = round % 2 == 0 ? kHeader : bad.size();
                for (std::uint64_t n = random() % 3 + 1; n > 0; --n) {
                    const std::size_t at = 8 + random() % (range - 8);
                    const std::array<int, 5> values = {0, 0xff, 0x7f, 1,
                                                       static_cast<int>(random() % 256)};
                    bad[at] = static_cast<char>(values[random() % values.size()]);
                }
                seal(bad);
                write(path, bad);
                refused(path) ? ++refusals : ++accepted;
            }
        }
    }
    CHECK(refusals > 200);
    CHECK(accepted > 50);  // changed vectors, parameters and tags: else nothing went past the seal
}

void resealed_truncations_are_refused(const Folder& folder) {
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::f32, 0, Quantization::pq);
    for (std::size_t i = 0; i < kSections; ++i) {
        for (const std::int64_t change : {-8, -4, -1, 1, 4, 8, 64}) {
            std::vector<char> bad = good;
            const std::size_t extent = kSectionsAt + i * kExtent;
            const auto length = get<std::uint64_t>(bad, extent + 8);
            const auto end = get<std::uint64_t>(bad, extent) + length;
            set(bad, extent + 8, length + static_cast<std::uint64_t>(change));
            if (change < 0) {
                bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(end) + change,
                          bad.begin() + static_cast<std::ptrdiff_t>(end));
            } else {
                bad.insert(bad.begin() + static_cast<std::ptrdiff_t>(end),
                           static_cast<std::size_t>(change), '\0');
            }
            for (std::size_t j = i + 1; j < kSections; ++j) {
                const std::size_t at = kSectionsAt + j * kExtent;
                set(bad, at, get<std::uint64_t>(bad, at) + static_cast<std::uint64_t>(change));
            }
            seal(bad);
            write(path, bad);
            CHECK(refused(path));
        }
    }
}

void each_check_holds(const Folder& folder) {
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::f32, 0);
    const auto section = [&](std::size_t i) {
        return static_cast<std::size_t>(get<std::uint64_t>(good, kSectionsAt + i * kExtent));
    };
    const auto refuses = [&](std::size_t at, auto value) {
        std::vector<char> bad = good;
        set(bad, at, value);
        seal(bad);
        write(path, bad);
        return refused(path);
    };
    const std::size_t labels = section(0), levels = section(1), rows = section(2),
                      links = section(3);
    CHECK(refuses(8, std::uint32_t{1}));  // version
    CHECK(refuses(8, std::uint32_t{3}));
    CHECK(refuses(16, std::uint32_t{0}));  // dim
    CHECK(refuses(16, std::uint32_t{5}));
    CHECK(refuses(20, std::uint8_t{9}));  // metric
    CHECK(refuses(21, std::uint8_t{9}));  // type
    CHECK(refuses(21, std::uint8_t{3}));  // one of other size
    CHECK(refuses(22, std::uint8_t{0}));  // no graph, but links
    CHECK(refuses(22, std::uint8_t{2}));
    CHECK(refuses(23, std::uint8_t{1}));  // quantization, but no extras
    CHECK(refuses(23, std::uint8_t{2}));
    CHECK(refuses(24, std::uint32_t{101}));  // m
    CHECK(refuses(48, ~std::uint64_t{0}));   // seed
    CHECK(refuses(64, std::uint64_t{59}));   // slots
    CHECK(refuses(64, ~std::uint64_t{0}));
    CHECK(refuses(72, std::uint32_t{3}));  // an entry that is a free slot
    CHECK(refuses(72, std::uint32_t{60}));
    CHECK(refuses(76, std::int32_t{-1}));                // the top level
    CHECK(refuses(kSectionsAt, ~std::uint64_t{0}));      // an offset
    CHECK(refuses(kSectionsAt + 8, ~std::uint64_t{7}));  // a length
    CHECK(refuses(labels, std::uint64_t{1}));            // an id twice
    CHECK(refuses(labels, ~std::uint64_t{0}));
    CHECK(refuses(levels, std::int8_t{31}));
    CHECK(refuses(levels, std::int8_t{-1}));
    CHECK(refuses(rows, std::numeric_limits<float>::quiet_NaN()));
    CHECK(refuses(rows, std::numeric_limits<float>::infinity()));
    CHECK(refuses(links, std::uint32_t{7}));  // a degree above the limit
    CHECK(refuses(links, ~std::uint32_t{0}));
    CHECK(refuses(links + 4, std::uint32_t{0}));                     // a link to itself
    CHECK(refuses(links + 4, get<std::uint32_t>(good, links + 8)));  // twice
    CHECK(refuses(links + 4, std::uint32_t{3}));                     // to a free slot
    CHECK(refuses(links + 4, std::uint32_t{60}));
}

void spare_bits_that_are_set_are_refused(const Folder& folder) {
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::binary, 10'000);
    const auto rows = static_cast<std::size_t>(get<std::uint64_t>(good, kSectionsAt + 2 * kExtent));
    for (int bit = 0; bit < 8; ++bit) {
        std::vector<char> bad = good;
        bad[rows] = static_cast<char>(bad[rows] | (0x80 >> bit));
        seal(bad);
        write(path, bad);
        CHECK(refused(path) == (bit >= static_cast<int>(kDim)));
    }
    for (const std::size_t at : {20u, 21u}) {  // bits by l2, numbers by hamming
        std::vector<char> bad = good;
        set(bad, at, std::uint8_t{2});
        seal(bad);
        write(path, bad);
        CHECK(refused(path));
    }
}

void each_check_of_extras_holds(const Folder& folder) {
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::f32, 0, Quantization::pq);
    const auto levels = static_cast<std::size_t>(get<std::uint64_t>(good, kSectionsAt + kExtent));
    auto extras = static_cast<std::size_t>(get<std::uint64_t>(good, kSectionsAt + 4 * kExtent));
    auto links = static_cast<std::size_t>(get<std::uint64_t>(good, kSectionsAt + 3 * kExtent));
    // Those of the first node that has extras; before it a count of 0 for each node.
    std::uint32_t slot = 0;
    for (; slot < 59; ++slot) {
        const int level = get<std::int8_t>(good, levels + slot);
        if (level >= 0 && get<std::uint32_t>(good, extras) > 0) break;
        if (level >= 0) extras += 4;
        for (int l = 0; l <= level; ++l) links += 4 + 4 * get<std::uint32_t>(good, links);
    }
    const auto refuses = [&](std::size_t at, std::uint32_t value) {
        std::vector<char> bad = good;
        set(bad, at, value);
        seal(bad);
        write(path, bad);
        return refused(path);
    };
    std::vector<char> by_l1 = good;
    set(by_l1, 20, std::uint8_t{3});
    seal(by_l1);
    write(path, by_l1);
    CHECK(refused(path));  // no metric for codes

    CHECK(get<std::uint32_t>(good, extras) > 0);  // else what follows would change nothing
    CHECK(refuses(extras, 7));                    // more than there are places
    CHECK(refuses(extras + 4, slot));             // the node itself
    CHECK(refuses(extras + 4, get<std::uint32_t>(good, links + 4)));  // a link too
    CHECK(refuses(extras + 4, 3));                                    // a free slot
    CHECK(refuses(extras + 4, 60));
}

void unreachable_nodes_are_linked_at_load(const Folder& folder) {
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::f32, 0);
    // All degrees 0: the links section is one count for each node and level.
    std::vector<char> bad = good;
    const auto levels = static_cast<std::size_t>(get<std::uint64_t>(good, kSectionsAt + kExtent));
    const auto links =
        static_cast<std::size_t>(get<std::uint64_t>(good, kSectionsAt + 3 * kExtent));
    std::size_t counts = 0;
    for (std::size_t slot = 0; slot < 60; ++slot) {
        counts += static_cast<std::size_t>(std::max(0, get<std::int8_t>(good, levels + slot) + 1));
    }
    bad.resize(links);
    bad.resize(links + 4 * counts);
    set(bad, kSectionsAt + 3 * kExtent + 8, std::uint64_t{4 * counts});
    set(bad, kSectionsAt + 4 * kExtent, std::uint64_t{links + 4 * counts});  // no extras
    seal(bad);
    write(path, bad);
    const std::unique_ptr<Index> index = Index::load(path, nullptr);
    const std::vector<float> vectors = make_vectors(60, kDim, 1);
    for (Label label = 0; label < 60; ++label) {
        if (!index->contains(label)) continue;
        Label found;
        float score = -1;
        std::size_t count = 0;
        SearchOptions options;
        options.k = 1;
        index->search(&vectors[label * kDim], 1, options, &found, &score, &count);
        CHECK(count == 1 && score == 0.0f);
    }
}

}  // namespace

int main() {
    const Folder folder;
    resealed_changes_are_refused_or_harmless(folder);
    resealed_truncations_are_refused(folder);
    each_check_holds(folder);
    each_check_of_extras_holds(folder);
    spare_bits_that_are_set_are_refused(folder);
    unreachable_nodes_are_linked_at_load(folder);
    return check_result();
}

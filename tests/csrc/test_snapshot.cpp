// Files that were made to harm, see hostile.hpp: bytes changed at random, and those that each check
// is for. Run under the sanitizers; tests/fuzz searches for others.
#include "index/snapshot.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <vector>

#include "base/checksum.hpp"
#include "check.hpp"
#include "hostile.hpp"
#include "index/index.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;
using namespace hostile;

namespace {

struct Folder {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("snapshot-" + std::to_string(::getpid()));
    Folder() { std::filesystem::create_directory(path); }
    ~Folder() { std::filesystem::remove_all(path); }
};

void resealed_changes_are_refused_or_harmless(const Folder& folder) {
    const std::string path = folder.path / "index";
    SplitMix64 random(1);
    std::size_t refusals = 0, accepted = 0;
    for (const simd::ElementType type :
         {simd::ElementType::f32, simd::ElementType::f16, simd::ElementType::i8,
          simd::ElementType::bf16, simd::ElementType::binary}) {
        for (const std::uint64_t threshold : {0u, 10'000u}) {
            // float16 by codes as well, whose extras are a section of their own.
            const auto quantization = type == simd::ElementType::f16    ? Quantization::pq
                                      : type == simd::ElementType::bf16 ? Quantization::sq4
                                                                        : Quantization::none;
            const std::vector<char> good = a_snapshot(path, type, threshold, quantization);
            CHECK(!refused(path));
            for (int round = 0; round < 60; ++round) {
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
    CHECK(refusals > 100);
    CHECK(accepted > 30);  // changed vectors, parameters and tags: else nothing went past the seal
}

void resealed_truncations_are_refused(const Folder& folder) {
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::f32, 0, Quantization::pq);
    for (std::size_t i = 0; i < kSections; ++i) {
        const std::size_t extent = kSectionsAt + i * kExtent;
        for (const std::int64_t change : {-64, -8, -4, -1, 1, 4, 8, 64}) {
            std::vector<char> bad = good;
            const auto length = get<std::uint64_t>(bad, extent + 8);
            if (change < 0 && length < static_cast<std::uint64_t>(-change)) continue;
            set(bad, extent + 8, length + static_cast<std::uint64_t>(change));
            seal(bad);
            write(path, bad);
            CHECK(refused(path));
        }
        for (const std::ptrdiff_t page : {-1, 1}) {
            std::vector<char> bad = good;
            bad.resize(static_cast<std::size_t>(std::ssize(bad) +
                                                page * static_cast<std::ptrdiff_t>(kAlignment)));
            seal(bad);
            write(path, bad);
            CHECK(refused(path));
        }
    }
}

void each_check_holds(const Folder& folder) {
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::f32, 0);
    const auto refuses = [&](std::size_t at, auto value) {
        std::vector<char> bad = good;
        set(bad, at, value);
        seal(bad);
        write(path, bad);
        return refused(path);
    };
    CHECK(refuses(8, std::uint32_t{2}));  // version
    CHECK(refuses(8, std::uint32_t{3}));
    CHECK(refuses(8, std::uint32_t{4}));
    CHECK(refuses(8, std::uint32_t{6}));
    CHECK(refuses(16, std::uint32_t{0}));  // dim
    CHECK(refuses(16, std::uint32_t{5}));
    CHECK(refuses(20, std::uint8_t{9}));  // metric
    CHECK(refuses(21, std::uint8_t{9}));  // type
    CHECK(refuses(21, std::uint8_t{3}));  // one of other size
    CHECK(refuses(22, std::uint8_t{0}));  // no graph, but links
    CHECK(refuses(22, std::uint8_t{2}));
    CHECK(refuses(23, std::uint8_t{1}));  // quantization, but no codebook
    CHECK(refuses(23, std::uint8_t{2}));  // nor four-bit rows
    CHECK(refuses(23, std::uint8_t{3}));
    CHECK(refuses(24, std::uint32_t{101}));  // m
    CHECK(refuses(48, ~std::uint64_t{0}));   // seed
    CHECK(refuses(64, std::uint64_t{59}));   // slots
    CHECK(refuses(64, ~std::uint64_t{0}));
    CHECK(refuses(72, std::uint32_t{3}));  // an entry that is a free slot
    CHECK(refuses(72, std::uint32_t{60}));
    CHECK(refuses(76, std::int32_t{-1}));  // the top level
    CHECK(refuses(80, std::uint32_t{5}));  // the first free slot
    CHECK(refuses(80, ~std::uint32_t{0}));
    CHECK(refuses(84, std::uint32_t{1}));                            // codes
    CHECK(refuses(kSectionsAt, ~std::uint64_t{0}));                  // an offset
    CHECK(refuses(kSectionsAt + 8, ~std::uint64_t{7}));              // a length
    CHECK(refuses(section(good, kLabels), std::uint64_t{1} << 40));  // not where the table has it
    CHECK(refuses(section(good, kLabels), ~std::uint64_t{0}));
    CHECK(refuses(section(good, kLabels) + 8 * 3, std::uint64_t{3}));  // free slots in a circle
    CHECK(refuses(section(good, kStates), std::uint8_t{0}));
    CHECK(refuses(section(good, kStates), std::uint8_t{2}));
    CHECK(refuses(section(good, kStates), std::uint8_t{9}));
    for (std::size_t at = 0; at < 60; ++at) {
        CHECK(refuses(section(good, kTable) + 4 * at, std::uint32_t{60}));
        CHECK(refuses(section(good, kTable) + 4 * at, std::uint32_t{3}));
    }
    CHECK(refuses(section(good, kLevels), std::int8_t{31}));
    CHECK(refuses(section(good, kLevels), std::int8_t{-1}));
    CHECK(refuses(section(good, kCounts), std::uint16_t{7}));
    CHECK(refuses(section(good, kParents), std::uint32_t{60}));
    CHECK(refuses(section(good, kParents), std::uint32_t{3}));
    CHECK(refuses(section(good, kUpper), std::uint32_t{4}));
    CHECK(refuses(section(good, kUpper) + 4, std::uint32_t{60}));
    CHECK(refuses(section(good, kRows), std::numeric_limits<float>::quiet_NaN()));
    CHECK(refuses(section(good, kRows), std::numeric_limits<float>::infinity()));
    CHECK(refuses(section(good, kBottom), std::uint32_t{0}));  // a link to itself
    CHECK(refuses(section(good, kBottom), std::uint32_t{3}));  // to a free slot
    CHECK(refuses(section(good, kBottom), std::uint32_t{60}));
    CHECK(refuses(section(good, kBottom), ~std::uint32_t{0}));
}

void where_walks_by_codes_start_is_a_node(const Folder& folder) {
    constexpr std::size_t kRoot = 32;
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::f32, 0, Quantization::pq);
    const std::size_t root = section(good, kCoding) + kRoot;
    CHECK(get<std::uint32_t>(good, root) < 60);
    for (const std::uint32_t slot : {3u, 60u, 0x7fffffffu, ~0u}) {
        std::vector<char> bad = good;
        set(bad, root, slot);
        seal(bad);
        write(path, bad);
        CHECK(refused(path));
    }
}

void an_id_that_stands_twice_is_refused(const Folder& folder) {
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::f32, 0);
    const std::size_t labels = section(good, kLabels), table = section(good, kTable);
    const auto length = get<std::uint64_t>(good, kSectionsAt + kTable * kExtent + 8);
    std::size_t tried = 0;
    for (std::size_t at = table; at + 8 <= table + length; at += 4) {
        const auto one = get<std::uint32_t>(good, at), next = get<std::uint32_t>(good, at + 4);
        if (one >= 60 || next >= 60) continue;
        std::vector<char> bad = good;
        set(bad, labels + 8 * next, get<std::uint64_t>(good, labels + 8 * one));
        seal(bad);
        write(path, bad);
        CHECK(refused(path));
        ++tried;
    }
    CHECK(tried > 10);
}

void spare_bits_that_are_set_are_refused(const Folder& folder) {
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::binary, 10'000);
    const std::size_t rows = section(good, kRows);
    for (int bit = 0; bit < 8; ++bit) {
        std::vector<char> bad = good;
        bad[rows] = static_cast<char>(bad[rows] | (0x80 >> bit));
        seal(bad);
        write(path, bad);
        CHECK(refused(path) == (bit >= static_cast<int>(kDim)));
    }
}

// A parent that is none of the node's, or parents in a circle: no walk depends on them, and the
// next change plants the tree anew.
void a_tree_that_does_not_hold_is_planted_anew(const Folder& folder) {
    const std::string path = folder.path / "index";
    const std::vector<char> good = a_snapshot(path, simd::ElementType::f32, 0);
    std::vector<char> bad = good;
    for (std::uint32_t slot = 0; slot < 60; ++slot) {
        if (slot == 3 || slot == 7 || slot == 8) continue;
        const std::uint32_t next = slot == 59 ? 0 : slot + 1;
        set(bad, section(good, kParents) + 4 * slot,
            next == 3 || next == 7 ? 9u
            : next == 8            ? 9u
                                   : next);
    }
    seal(bad);
    write(path, bad);
    CHECK(!refused(path));
    for (const Mapping mapping : kAllMappings) {
        const std::unique_ptr<Index> index = Index::load(path, nullptr, mapping);
        index->remove(make_labels(1).data(), 1);
        CHECK(index->audit({0, 0, 1, false}).faults.unrooted == 0);
    }
}

template <class Act>
bool refused_by(const Act& act) {
    try {
        act();
    } catch (const Error& error) {
        return error.code() == ErrorCode::corrupt_file;
    }
    return false;
}

// Blocks are checked when a search comes to them, and not before; what is read is at once.
// With sq4 and its vectors mapped a search reads these from the file.
void a_damaged_block_is_found_by_the_search_that_comes_to_it(const Folder& folder,
                                                             Quantization quantization) {
    const std::string path = folder.path / "index";
    constexpr std::size_t kCount = 3000, kWide = 32;
    Params params;
    params.quantization = quantization;
    Index index(kWide, Metric::l2, simd::ElementType::f32, params);
    const std::vector<float> vectors = make_vectors(kCount, kWide, 1);
    index.add(make_labels(kCount).data(), vectors.data(), kCount, false, 2);
    index.save(path, 1);
    const std::vector<char> good = read(path);
    for (const Section damaged : {kRows, kBottom}) {
        std::vector<char> bad = good;
        const auto length =
            static_cast<std::size_t>(get<std::uint64_t>(good, kSectionsAt + damaged * kExtent + 8));
        for (std::size_t at = length / 2; at < length; at += 4096) {
            bad[section(good, damaged) + at] ^= 1;
        }
        write(path, bad);
        CHECK(refused_by([&] { Index::load(path, nullptr, Mapping::none); }));
        for (const Mapping mapping : {Mapping::vectors, Mapping::all}) {
            if (damaged != kRows && mapping == Mapping::vectors) {
                CHECK(refused_by([&] { Index::load(path, nullptr, mapping); }));
                continue;
            }
            const std::unique_ptr<Index> opened = Index::load(path, nullptr, mapping);
            std::size_t refusals = 0, right = 0;
            for (std::size_t i = 0; i < 200; ++i) {
                const float* vector = &vectors[i * (kCount / 200) * kWide];
                Label label = 0;
                float score = -1.0f;
                std::size_t found = 0;
                SearchOptions options;
                options.k = 1;
                if (refused_by(
                        [&] { opened->search(vector, 1, options, &label, &score, &found); })) {
                    ++refusals;
                } else {
                    right += found == 1 && label == i * (kCount / 200) ? 1 : 0;
                }
            }
            CHECK(refusals > 0);
            CHECK(refused_by([&] { opened->verify(); }));
            CHECK(refused_by([&] { opened->remove(make_labels(1).data(), 1); }));
            CHECK(refused_by([&] { opened->save(path + "-again", 1); }));
            CHECK(opened->size() == kCount && opened->contains(0));
            CHECK(right + refusals > 190);
        }
    }
    write(path, good);
}

// Searches read the codes themselves where a filter comes again and again.
void a_damaged_code_is_found_by_the_filter_that_lets_it_through(const Folder& folder) {
    const std::string path = folder.path / "index";
    constexpr std::size_t kCount = 3000, kWide = 64;
    Params params;
    params.quantization = Quantization::pq;
    Index index(kWide, Metric::l2, simd::ElementType::f32, params);
    std::vector<float> vectors = make_vectors(kCount, kWide, 1);
    for (std::size_t i = 0; i < vectors.size(); ++i) {  // such that codes tell them apart
        vectors[i] /= static_cast<float>(1 + i % kWide);
    }
    index.add(make_labels(kCount).data(), vectors.data(), kCount, false, 2);
    index.save(path, 1);
    std::vector<char> bytes = read(path);
    bytes[section(bytes, kCodes) + 8] ^= 1;
    write(path, bytes);
    const std::vector<Label> ids = make_labels(kCount / 2);
    Filter filter;
    filter.ids = ids.data();
    filter.id_count = ids.size();
    SearchOptions options;
    options.k = 1;
    options.filter = &filter;
    for (const Mapping mapping : {Mapping::vectors, Mapping::all}) {
        const std::unique_ptr<Index> opened = Index::load(path, nullptr, mapping);
        bool refused = false;
        for (std::size_t i = 0; i < 500 && !refused; ++i) {
            Label label = 0;
            float score = -1.0f;
            std::size_t found = 0;
            refused = refused_by(
                [&] { opened->search(&vectors[i * kWide], 1, options, &label, &score, &found); });
            CHECK(refused || found == 1);
        }
        CHECK(refused);
    }
}

// What was mapped can grow, shrink and be saved, and the file stays what it was.
void changes_stay_out_of_the_file(const Folder& folder) {
    const std::string path = folder.path / "index";
    constexpr std::size_t kCount = 4000, kWide = 32;
    Params params;
    for (const Quantization quantization :
         {Quantization::none, Quantization::pq, Quantization::sq4}) {
        params.quantization = quantization;
        Index index(kWide, Metric::l2, simd::ElementType::f32, params);
        const std::vector<float> vectors = make_vectors(2 * kCount, kWide, 1);
        index.add(make_labels(kCount).data(), vectors.data(), kCount, false, 2);
        for (const Mapping mapping : {Mapping::vectors, Mapping::all}) {
            index.save(path, 1);
            const std::vector<char> before = read(path);
            const std::unique_ptr<Index> opened = Index::load(path, nullptr, mapping);
            CHECK(opened->stats().memory.mapped >= kCount * kWide * sizeof(float));
            opened->verify();
            opened->remove(make_labels(kCount / 4).data(), kCount / 4);
            for (std::size_t at = kCount; at < 2 * kCount; at += kCount / 4) {
                opened->add(make_labels(kCount / 4, at).data(), &vectors[at * kWide], kCount / 4,
                            false, 2);
            }
            CHECK(opened->size() == 2 * kCount - kCount / 4);
            const Audit audit = opened->audit({500, 0, 2, false});
            CHECK(audit.faults.sound() && audit.lost.size() < 10);
            CHECK(read(path) == before);
            opened->remove(make_labels(2 * kCount - 100).data(), 2 * kCount - 100);
            CHECK(opened->size() == 100);
            opened->save(path, 2);
            CHECK(Index::load(path, nullptr, mapping)->size() == 100);
        }
    }
}

}  // namespace

int main() {
    const Folder folder;
    resealed_changes_are_refused_or_harmless(folder);
    resealed_truncations_are_refused(folder);
    each_check_holds(folder);
    where_walks_by_codes_start_is_a_node(folder);
    an_id_that_stands_twice_is_refused(folder);
    spare_bits_that_are_set_are_refused(folder);
    a_tree_that_does_not_hold_is_planted_anew(folder);
    for (const Quantization quantization : {Quantization::none, Quantization::sq4}) {
        a_damaged_block_is_found_by_the_search_that_comes_to_it(folder, quantization);
    }
    a_damaged_code_is_found_by_the_filter_that_lets_it_through(folder);
    changes_stay_out_of_the_file(folder);
    return check_result();
}

// The walk against a plain best-first search over the same rows. Factors are 1 and tables hold
// whole numbers, so that keys are exact and every level must find the same nodes in the same order.
#include "index/walk.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "check.hpp"
#include "forced_level.hpp"
#include "index/reach.hpp"
#include "simd/half.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

constexpr std::size_t kNoEnd = ~std::size_t{0};

const WalkKernels& kernels() { return walk_kernels(simd::active().level); }

// A graph of random links, and rows and tables as the walk reads them.
struct Rows {
    Rows(std::size_t nodes, std::size_t blocks, std::size_t groups, bool has_bias)
        : layout{blocks, groups, has_bias, has_bias ? kMaxLeading - 2 : 0u},
          random(nodes + blocks + groups),
          links(nodes) {
        tables.resize(groups * kGroupBytes);
        const auto top = static_cast<unsigned>(std::min<std::size_t>(255, 65535 / groups));
        for (std::size_t i = 0; i < groups * kGroupBytes; ++i) {
            tables[i] = static_cast<std::uint8_t>(random() % (top + 1));
        }
        codes.resize(nodes * groups);
        for (auto& code : codes) code = static_cast<std::uint8_t>(random() % 16);
        biases.resize(nodes);
        for (auto& bias : biases) bias = static_cast<float>(has_bias ? random() % 5000 : 0);
        coordinates.resize(nodes * layout.leading);
        for (auto& x : coordinates) x = static_cast<std::int16_t>(random() % 2001 - 1000);
        for (std::size_t a = 0; a < layout.leading; ++a) {
            weights[a] = static_cast<std::int16_t>(random() % 201 - 100);
        }
        stride = (layout.bytes() + 63) / 64 * 64;
        bytes.resize(nodes * stride);
        for (Slot node = 0; node < nodes; ++node) {
            // One in three rows is full; some lead to themselves, some nowhere.
            const std::size_t most = blocks * kBlock;
            const std::size_t degree = random() % 3 == 0 ? most : random() % most;
            for (std::size_t i = 0; i < degree; ++i) {
                links[node].push_back(static_cast<Slot>(random() % nodes));
            }
            pack(bytes.data() + node * stride, layout, links[node]);
        }
        first_row.resize(layout.one_block().bytes());
        pack(first_row.data(), layout.one_block(), {3, 5, 8});
    }

    // What a walk from nodes 3, 5 and 8 takes.
    WalkRows starts() const {
        return {first_row.data(), layout.one_block().bytes(), layout.one_block()};
    }
    WalkRows graph() const { return {bytes.data(), stride, layout}; }
    WalkQuery query() const {
        WalkQuery query{tables.data(), 0.5f, -100.0f};
        std::copy(weights, weights + kMaxLeading, query.weights);
        query.unit = 0.25f;
        query.shift = 7.0f;
        return query;
    }

    void pack(std::byte* row, const RowLayout& as, const std::vector<Slot>& to) const {
        auto* ids = reinterpret_cast<Slot*>(row);
        for (std::size_t i = 0; i < as.blocks * kBlock; ++i) {
            ids[i] = i < to.size() ? to[i] : kNoSlot;
            std::byte* block = row + as.ids_bytes() + i / kBlock * as.block_bytes();
            if (i >= to.size()) continue;
            const std::size_t at = i % kBlock;
            reinterpret_cast<std::uint16_t*>(block)[at] = simd::float_to_half(1.0f);
            block += as.factors_bytes();
            if (as.has_bias) reinterpret_cast<float*>(block)[at] = biases[to[i]];
            auto* beside = reinterpret_cast<std::int16_t*>(block + as.biases_bytes());
            for (std::size_t a = 0; a < as.leading; ++a) {
                beside[(a / 2 * kBlock + at) * 2 + a % 2] = coordinates[to[i] * as.leading + a];
            }
            auto* pairs =
                reinterpret_cast<std::uint8_t*>(block + as.biases_bytes() + as.leading_bytes());
            for (std::size_t g = 0; g < as.groups; ++g) {
                std::uint8_t& pair = pairs[g * kGroupBytes + 2 * (at % 8) + at / 8 % 2];
                const unsigned code = codes[to[i] * as.groups + g];
                pair = static_cast<std::uint8_t>(pair | code << (at < 16 ? 0 : 4));
            }
        }
    }

    // Whole numbers, rounded as the walk rounds them: the last bits of a key are flags.
    std::int32_t key(Slot node) const {
        float sum = 0.0f;
        for (std::size_t g = 0; g < layout.groups; ++g) {
            sum += tables[g * kGroupBytes + codes[node * layout.groups + g]];
        }
        float value = biases[node] - (0.5f * sum - 100.0f);
        std::int64_t along = 0;
        for (std::size_t a = 0; a < layout.leading; ++a) {
            along += weights[a] * coordinates[node * layout.leading + a];
        }
        if (layout.has_bias) value += 0.25f * static_cast<float>(along) + 7.0f;
        std::int32_t bits;
        std::memcpy(&bits, &value, sizeof(bits));
        return (bits ^ ((bits >> 31) & INT32_MAX)) & ~WalkPool::kFlags;
    }

    // The `ef` nearest that a walk comes to from `starts`, which expands the first `most` of them,
    // as far as they are in reach; of equal keys the latest comes first.
    std::vector<Slot> nearest(const std::vector<Slot>& starts, std::size_t ef, std::size_t most,
                              const WalkReach& reach) const {
        struct Entry {
            std::int32_t key;
            Slot node;
            bool expanded;
        };
        std::vector<Entry> pool;
        std::int32_t bound = WalkPool::kNone;
        const auto offer = [&](Slot node) {
            const std::int32_t own = key(node);
            if (own >= bound) return;
            if (pool.size() == ef && own >= pool.back().key) return;
            for (const Entry& entry : pool) {
                if (entry.node == node) return;
            }
            const auto at = std::find_if(pool.begin(), pool.end(),
                                         [&](const Entry& entry) { return entry.key >= own; });
            pool.insert(at, {own, node, false});
            if (pool.size() > ef) pool.pop_back();
        };
        for (const Slot start : starts) offer(start);
        for (;;) {
            const auto next = std::find_if(pool.begin(), pool.end(),
                                           [](const Entry& entry) { return !entry.expanded; });
            if (next == pool.end() || next - pool.begin() >= static_cast<std::ptrdiff_t>(most)) {
                break;
            }
            if (pool.size() > reach.rank) {
                const float at = WalkPool::value_of(pool[reach.rank].key);
                bound = std::min(bound, WalkPool::key_of(reach.beyond(at, reach.kept)));
                if (WalkPool::value_of(next->key) > reach.beyond(at, reach.expanded)) break;
            }
            next->expanded = true;
            const Slot node = next->node;
            for (const Slot to : links[node]) offer(to);
        }
        std::vector<Slot> nodes;
        for (const Entry& entry : pool) {
            if (entry.key <= bound) nodes.push_back(entry.node);
        }
        return nodes;
    }

    RowLayout layout;
    SplitMix64 random;
    std::vector<std::vector<Slot>> links;
    AlignedArray<std::uint8_t> tables;
    std::vector<std::uint8_t> codes;
    std::vector<float> biases;
    std::vector<std::int16_t> coordinates;
    std::int16_t weights[kMaxLeading] = {};
    std::size_t stride = 0;
    AlignedArray<std::byte> bytes;
    AlignedArray<std::byte> first_row;
};

void walk_finds_what_a_plain_search_finds() {
    const WalkReach reaches[] = {{}, {0, 40, 40, 0, 1}, {9, 25, 90, 0, 1}, {4, 0, 0.5f, 1, 60}};
    for (const std::size_t blocks : {1u, 2u, 3u}) {
        for (const std::size_t groups : {4u, 96u, 128u}) {
            for (const bool has_bias : {false, true}) {
                const Rows rows(700, blocks, groups, has_bias);
                const WalkRows starts = rows.starts(), graph = rows.graph();
                const WalkQuery query = rows.query();
                WalkPool pool;  // one for all, as a search's scratch is
                for (const std::size_t ef : {1u, 2u, 3u, 15u, 16u, 17u, 100u, 255u, 600u, 2000u}) {
                    for (const std::size_t most : {ef, ef / 2 + 1}) {
                        for (const WalkReach& reach : reaches) {
                            pool.reset(ef, most, reach);
                            kernels().walk(starts, 1, graph, query, pool);
                            CHECK(std::vector<Slot>(pool.slots(), pool.slots() + pool.size) ==
                                  rows.nearest({3, 5, 8}, ef, most, reach));
                        }
                    }
                }
            }
        }
    }
}

// All is allowed: what is found is what a walk without a filter finds. Where only some are, those
// near enough are all found if the walk goes far enough beyond.
void walk_under_a_filter_finds_what_is_allowed() {
    for (const std::size_t blocks : {1u, 2u}) {
        for (const bool has_bias : {false, true}) {
            const Rows rows(700, blocks, 96, has_bias);
            const WalkRows starts = rows.starts(), graph = rows.graph();
            const WalkQuery query = rows.query();
            WalkPool found, others;
            for (const std::size_t ef : {1u, 16u, 100u, 600u}) {
                const std::vector<std::uint64_t> all(11, ~std::uint64_t{0});
                FilteredWalk walk{all.data(), 1, ef - 1, 1.0, kNoEnd, found, others};
                found.reset(2 * ef, 0);
                others.reset(ef, 0);
                kernels().walk_filtered(starts, 1, graph, query, walk);
                CHECK(std::vector<Slot>(found.slots(), found.slots() + found.size) ==
                      rows.nearest({3, 5, 8}, 2 * ef, ef, {}));
                CHECK(others.size == 0);
            }
            for (const std::size_t every : {2u, 7u}) {
                std::vector<std::uint64_t> some(11);
                for (Slot i = 0; i < 700; i += static_cast<Slot>(every)) {
                    some[i / 64] |= std::uint64_t{1} << (i % 64);
                }
                FilteredWalk walk{some.data(), 10,    690,   static_cast<double>(every),
                                  kNoEnd,      found, others};
                found.reset(700, 0);
                others.reset(700, 0);
                kernels().walk_filtered(starts, 1, graph, query, walk);
                std::vector<Slot> expected = rows.nearest({3, 5, 8}, 700, 700, {});
                std::erase_if(expected, [&](Slot slot) { return slot % every != 0; });
                CHECK(std::set<Slot>(found.slots(), found.slots() + found.size) ==
                      std::set<Slot>(expected.begin(), expected.end()));
                CHECK(walk.steps == found.size + others.size);
                for (std::size_t i = 0; i < others.size; ++i) {
                    CHECK(others.slots()[i] % every != 0);
                }
            }
        }
    }
}

// As far as a walk by distance that has no filter.
void walk_under_a_filter_ends_by_distance() {
    const Rows rows(2000, 1, 16, false);
    const WalkRows starts = rows.starts(), graph = rows.graph();
    const WalkQuery query = rows.query();
    WalkPool plain, found, others;
    plain.reset(400, 400);
    kernels().walk(starts, 1, graph, query, plain);
    std::vector<float> estimates;
    for (std::size_t i = 0; i < plain.size; ++i) {
        estimates.push_back(WalkPool::value_of(plain.keys()[i]));
    }
    Reach reach(Metric::ip);
    reach.start(0.0f);
    reach.add_walk(estimates, std::vector<float>{-2.0f, 2.0f});
    reach.finish();
    const std::vector<std::uint64_t> all(32, ~std::uint64_t{0});
    for (const std::size_t wanted : {1u, 10u}) {
        for (const std::size_t ef : {10u, 24u, 100u}) {
            plain.reset(3 * ef, 2 * ef, reach.at(wanted, ef));
            kernels().walk(starts, 1, graph, query, plain);
            found.reset(3 * ef, 0);
            others.reset(ef, 0);
            FilteredWalk walk{all.data(), wanted, ef - wanted, 1.0, kNoEnd, found, others, &reach};
            kernels().walk_filtered(starts, 1, graph, query, walk);
            CHECK(std::vector<Slot>(plain.slots(), plain.slots() + plain.size) ==
                  std::vector<Slot>(found.slots(), found.slots() + found.size));
            CHECK(walk.steps <= 2 * ef && found.size >= wanted);
        }
    }
}

void only_the_nearest_starts_are_taken_but_all_of_the_last_row() {
    Rows rows(64, 1, 16, false);
    for (Slot node = 0; node < 64; ++node) {  // no links: what is found are the starts
        rows.pack(rows.bytes.data() + node * rows.stride, rows.layout, {});
    }
    const std::size_t row_bytes = rows.layout.bytes();
    AlignedArray<std::byte> start;
    start.resize(3 * row_bytes);
    std::vector<Slot> first(32), second(8);
    for (Slot i = 0; i < 32; ++i) first[i] = i;
    for (Slot i = 0; i < 8; ++i) second[i] = 32 + i;
    rows.pack(start.data(), rows.layout, first);
    rows.pack(start.data() + row_bytes, rows.layout, second);
    rows.pack(start.data() + 2 * row_bytes, rows.layout, {50, 51});
    WalkPool pool;
    pool.reset(20, 20);
    kernels().walk({start.data(), row_bytes, rows.layout}, 3,
                   {rows.bytes.data(), rows.stride, rows.layout}, {rows.tables.data(), 1.0f, 0.0f},
                   pool);
    std::vector<Slot> nearest(40);
    for (Slot i = 0; i < 40; ++i) nearest[i] = i;
    std::sort(nearest.begin(), nearest.end(),
              [&](Slot a, Slot b) { return rows.key(a) < rows.key(b); });
    std::set<Slot> found;
    for (std::size_t i = 0; i < pool.size; ++i) found.insert(pool.slots()[i]);
    CHECK(found == (std::set<Slot>{nearest[0], nearest[1], nearest[2], 50, 51}));
}

void tables_hold_what_each_point_adds() {
    for (const std::size_t groups : {4u, 96u, 128u}) {
        SplitMix64 random(groups);
        std::vector<std::uint32_t> ends;  // groups of 0 to 4 axes
        for (std::size_t g = 0; g < groups; ++g) {
            ends.push_back((ends.empty() ? 0 : ends.back()) + static_cast<std::uint32_t>(g % 5));
        }
        std::vector<float> projected(ends.back()), points(ends.back() * kGroupPoints);
        for (float& x : projected) x = static_cast<float>(random.unit() - 0.5);
        for (float& x : points) x = static_cast<float>(random.unit() - 0.3);
        std::vector<std::uint8_t> tables(groups * kGroupBytes);
        const WalkQuery made =
            kernels().tabulate(projected.data(), points.data(), ends.data(), groups, tables.data());
        CHECK(made.tables == tables.data());
        double offset = 0;
        std::uint8_t most = 0;
        for (std::size_t g = 0; g < groups; ++g) {
            double entries[kGroupPoints] = {};
            for (std::uint32_t a = g == 0 ? 0 : ends[g - 1]; a < ends[g]; ++a) {
                for (std::size_t k = 0; k < kGroupPoints; ++k) {
                    entries[k] += double{projected[a]} * points[a * kGroupPoints + k];
                }
            }
            const double low = *std::min_element(entries, entries + kGroupPoints);
            offset += low;
            for (std::size_t k = 0; k < kGroupPoints; ++k) {
                const std::uint8_t entry = tables[g * kGroupBytes + k];
                CHECK(std::fabs(entry * double{made.step} - (entries[k] - low)) <
                      0.501 * made.step);
                most = std::max(most, entry);
            }
        }
        CHECK(most == 255);
        CHECK(std::fabs(made.offset - offset) < 1e-3);
    }
    const std::vector<float> points(64 * kGroupPoints, 1.0f), zero(64);
    const std::vector<std::uint32_t> ends{16, 32, 48, 64};
    std::vector<std::uint8_t> tables(64, 1);
    const WalkQuery made =
        kernels().tabulate(zero.data(), points.data(), ends.data(), 4, tables.data());
    CHECK(made.offset == 0.0f && std::isfinite(made.step));
    CHECK(std::count(tables.begin(), tables.end(), 0) == 64);
}

void a_scan_keeps_the_nearest_of_all_rows() {
    for (const bool has_bias : {false, true}) {
        Rows rows(96, 1, 16, has_bias);
        AlignedArray<std::byte> all;
        all.resize(3 * rows.layout.bytes());
        std::vector<Slot> nodes(96);
        for (Slot i = 0; i < 96; ++i) nodes[i] = i;
        for (std::size_t b = 0; b < 3; ++b) {
            rows.pack(all.data() + b * rows.layout.bytes(), rows.layout,
                      {nodes.begin() + static_cast<std::ptrdiff_t>(b * 32),
                       nodes.begin() + static_cast<std::ptrdiff_t>(b * 32 + 32)});
        }
        WalkPool pool;
        pool.reset(20, 0);
        kernels().scan({all.data(), rows.layout.bytes(), rows.layout}, 3, rows.query(), pool);
        CHECK(pool.size == 20);
        std::sort(nodes.begin(), nodes.end(),
                  [&](Slot a, Slot b) { return rows.key(a) < rows.key(b); });
        for (std::size_t i = 0; i < 20; ++i) CHECK(rows.key(pool.slots()[i]) == rows.key(nodes[i]));
    }
}

void coordinates_of_any_size_add_up() {
    const RowLayout layout{1, kGroupsStep, true, kMaxLeading};
    std::vector<std::byte> row(layout.bytes());
    std::vector<std::uint8_t> tables(layout.groups * kGroupBytes);
    const Slot nobody = kNoSlot;
    for (std::size_t i = 0; i < kBlock; ++i) {
        std::memcpy(row.data() + i * sizeof(Slot), &nobody, sizeof(nobody));
    }
    for (const int sign : {-1, 1}) {
        for (const Slot slot : {0u, 9u, 31u}) {
            std::vector<std::byte> own = row;
            std::memcpy(own.data() + slot * sizeof(Slot), &slot, sizeof(slot));
            auto* beside = reinterpret_cast<std::int16_t*>(
                own.data() + layout.ids_bytes() + layout.factors_bytes() + layout.biases_bytes());
            WalkQuery query{tables.data(), 0.0f, 0.0f};
            query.unit = 1.0f;
            for (std::size_t a = 0; a < kMaxLeading; ++a) {
                beside[(a / 2 * kBlock + slot) * 2 + a % 2] = a % 2 == 0 ? 32767 : -32768;
                query.weights[a] = static_cast<std::int16_t>(a % 2 == 0 ? sign * kMostWeight
                                                                        : -sign * kMostWeight);
            }
            WalkPool pool;
            pool.reset(4, 0);
            kernels().scan({own.data(), layout.bytes(), layout}, 1, query, pool);
            CHECK(pool.size == 1 && pool.slots()[0] == slot);
            const double sum = sign * 4.0 * kMostWeight * (32767.0 + 32768.0);
            CHECK(std::fabs(WalkPool::value_of(pool.keys()[0]) - sum) < 1e-5 * std::fabs(sum));
        }
    }
}

void products_of_four_bit_rows_are_exact() {
    for (const std::size_t chunks : {1u, 2u, 3u, 4u, 5u, 9u, 128u}) {
        constexpr std::size_t kRows = 20;
        SplitMix64 random(chunks);
        const std::size_t stride = chunks * kChunkBytes + 8;
        std::vector<std::int8_t> query(chunks * kChunkDims);
        std::vector<std::uint8_t> rows(kRows * stride);
        for (auto& x : query) x = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
        for (auto& x : rows) x = static_cast<std::uint8_t>(random());
        std::fill(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(stride), 0xff);
        if (chunks % 2 == 0) std::fill(query.begin(), query.end(), std::int8_t{-127});
        std::vector<Slot> slots{7, 0, 19, 3, 3, 11, 12, 13, 1, 2, 4};
        std::vector<std::int32_t> found(slots.size());
        kernels().products(query.data(), rows.data(), stride, slots.data(), slots.size(), chunks,
                           found.data());
        for (std::size_t i = 0; i < slots.size(); ++i) {
            std::int32_t expected = 0;
            for (std::size_t d = 0; d < query.size(); ++d) {
                const std::uint8_t pair = rows[slots[i] * stride + d / 128 * 64 + d % 64];
                expected += query[d] * (d % 128 < 64 ? pair & 15 : pair >> 4);
            }
            CHECK(found[i] == expected);
        }
    }
}

void numbers_are_rounded_to_the_nearest_step() {
    for (const std::size_t dim : {1u, 7u, 8u, 9u, 16u, 31u, 384u}) {
        SplitMix64 random(dim);
        std::vector<float> vector(dim);
        for (float& x : vector) x = static_cast<float>(random.unit() - 0.5);
        vector[dim / 2] = -0.75f;  // the largest
        std::vector<std::int8_t> out(dim + 1, 77);
        for (const int offset : {0, 128}) {
            const float unit = kernels().round(vector.data(), dim, 127, offset, out.data());
            CHECK(unit == 0.75f / 127.0f);
            for (std::size_t i = 0; i < dim; ++i) {
                const int number = offset == 0 ? out[i] : static_cast<std::uint8_t>(out[i]) - 128;
                CHECK(std::fabs(static_cast<float>(number) * unit - vector[i]) < 0.501f * unit);
            }
            CHECK(out[dim] == 77);
            std::vector<std::int8_t> expected(dim + 1, 77);
            CHECK(walk_kernels(simd::Level::scalar)
                      .round(vector.data(), dim, 127, offset, expected.data()) == unit);
            CHECK(out == expected);
        }
    }
    const float zero = 0.0f;
    std::int8_t out = 1;
    CHECK(kernels().round(&zero, 1, 127, 0, &out) > 0.0f && out == 0);
}

}  // namespace

int main() {
    if (forced_level_is_missing()) return kSkipped;
    walk_finds_what_a_plain_search_finds();
    walk_under_a_filter_finds_what_is_allowed();
    walk_under_a_filter_ends_by_distance();
    only_the_nearest_starts_are_taken_but_all_of_the_last_row();
    tables_hold_what_each_point_adds();
    a_scan_keeps_the_nearest_of_all_rows();
    coordinates_of_any_size_add_up();
    products_of_four_bit_rows_are_exact();
    numbers_are_rounded_to_the_nearest_step();
    return check_result();
}

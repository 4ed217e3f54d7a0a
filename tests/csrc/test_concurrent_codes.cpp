// Codes beside changes, for ThreadSanitizer to look at: under filters each answer is one that could
// be given at some moment, and codes are learnt anew.
#include <atomic>
#include <cmath>
#include <filesystem>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "check.hpp"
#include "index/index.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

constexpr std::size_t kDim = 96, kK = 4;

// That vary less and less from one axis to the next, so that codes tell them apart; and hardly
// beyond the first `axes`.
std::vector<float> spread(std::size_t count, std::uint64_t seed, std::size_t axes = kDim) {
    SplitMix64 random(seed);
    std::vector<float> vectors(count * kDim);
    for (std::size_t i = 0; i < vectors.size(); ++i) {
        const double around_zero = random.unit() + random.unit() + random.unit() - 1.5;
        const std::size_t axis = i % kDim;
        const double width = axis < axes ? 1.0 / (1.0 + static_cast<double>(axis)) : 1e-4;
        vectors[i] = static_cast<float>(around_zero * width);
    }
    return vectors;
}

// Vectors by their labels: from 0 on those that stay, from kComes on those that come.
struct Stored {
    static constexpr Label kComes = 5'000;
    std::vector<float> stay, come;

    std::size_t staying() const { return stay.size() / kDim; }
    std::size_t coming() const { return come.size() / kDim; }
    const float* of(Label label) const {
        return label < kComes ? &stay[label * kDim] : &come[(label - kComes) * kDim];
    }
};

float distance(const float* a, const float* b) {
    float sum = 0.0f;
    for (std::size_t i = 0; i < kDim; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

// Every `nth` label, of those that come as of those that stay, and of some that never come.
std::vector<std::uint8_t> every(std::size_t nth, const Stored& stored) {
    std::vector<std::uint8_t> bits((Stored::kComes + stored.coming() + 64) / 8);
    for (std::size_t label = 0; label < 8 * bits.size(); label += nth) {
        bits[label / 8] = static_cast<std::uint8_t>(bits[label / 8] | 1u << (label % 8));
    }
    return bits;
}

// How far a thread that searches has come, and whether it is to end.
struct Searching {
    std::atomic<std::size_t> rounds{0};
    std::atomic<bool> done{false};

    // Until so many more rounds have begun and ended, however busy the machine is.
    void wait_for(std::size_t more) const {
        const std::size_t before = rounds;
        while (rounds < before + more) std::this_thread::yield();
    }
};

// Searches until it is done, once at least, with a filter that comes again, or a new one each time;
// the ways in which it was answered.
std::set<Strategy> search_under(const Index& index, const Stored& stored, std::size_t nth,
                                bool again, Searching& searching) {
    const std::vector<float> queries = spread(16, 3);
    std::vector<std::uint8_t> bits = every(nth, stored);
    Filter filter;
    filter.bits = bits.data();
    filter.bit_count = 8 * bits.size();
    std::set<Strategy> ways;
    Label labels[16 * kK];
    float scores[16 * kK];
    std::size_t found[16];
    do {
        if (!again) ++bits.back();
        Watch watch;
        SearchOptions options;
        options.k = kK;
        options.ef = 16;
        options.filter = &filter;
        options.threads = 2;
        options.watch = &watch;
        index.search(queries.data(), 16, options, labels, scores, found);
        for (std::size_t i = 0; i < 16; ++i) {
            CHECK(found[i] == kK);
            for (std::size_t j = 0; j < found[i]; ++j) {
                const Label label = labels[i * kK + j];
                CHECK(label % nth == 0);
                const float expected = distance(&queries[i * kDim], stored.of(label));
                CHECK(std::fabs(scores[i * kK + j] + expected) < 1e-3f);
            }
        }
        ways.insert(watch.counters().strategy);
        ++searching.rounds;
    } while (!searching.done);
    return ways;
}

Params params_with(Quantization codes) {
    Params params;
    params.quantization = codes;
    params.m = 8;
    params.max_neighbors = 16;
    params.ef_construction = 32;
    params.graph_threshold = 0;
    return params;
}

void filters_hold_beside_changes(Quantization codes) {
    const Stored stored{spread(4'000, 1), spread(200, 2)};
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(codes));
    index.add(make_labels(4'000).data(), stored.stay.data(), 4'000, false, 2);
    Searching first, second;
    std::set<Strategy> by_walks, by_sweeps;
    std::thread walking([&] { by_walks = search_under(index, stored, 2, false, first); });
    std::thread sweeping([&] { by_sweeps = search_under(index, stored, 20, true, second); });
    const std::vector<Label> labels = make_labels(200, Stored::kComes);
    for (int round = 0; round < 4; ++round) {
        index.add(labels.data(), stored.come.data(), 200, false, 1);
        index.add(labels.data(), stored.come.data(), 100, true, 1);
        CHECK(index.remove(labels.data(), 200) == 200);
    }
    first.done = second.done = true;
    walking.join();
    sweeping.join();
    CHECK(by_walks.count(Strategy::filtered_quantized) == 1);
    CHECK(by_sweeps.count(Strategy::swept_codes) == 1);
}

// Searches sweep, then walk by links that are chosen a second time meanwhile.
void a_first_graph_is_built_in_two_passes_beside_searches() {
    constexpr std::size_t kFirst = 1'000, kAll = 4'000;
    const Stored stored{spread(kAll, 1), {}};
    Params params = params_with(Quantization::pq);
    params.graph_threshold = 2'000;
    Index index(kDim, Metric::l2, simd::ElementType::f32, params);
    index.add(make_labels(kFirst).data(), stored.stay.data(), kFirst, false, 2);
    Searching first, second;
    std::set<Strategy> wide, narrow;
    std::thread walking([&] { wide = search_under(index, stored, 2, false, first); });
    std::thread sweeping([&] { narrow = search_under(index, stored, 20, true, second); });
    first.wait_for(1);
    index.add(make_labels(kAll - kFirst, kFirst).data(), &stored.stay[kFirst * kDim], kAll - kFirst,
              false, 2);
    first.wait_for(2);  // the first of which may have begun before
    first.done = second.done = true;
    walking.join();
    sweeping.join();
    CHECK(wide.count(Strategy::exact) == 1 && wide.count(Strategy::filtered_quantized) == 1);
    const Audit audit = index.audit({0, 0, 2, false});
    CHECK(audit.faults.sound() && audit.lost.empty());
}

// What was laid together for a filter, of codes that are learnt anew, isn't looked through by the
// new ones.
void filters_hold_while_codes_are_learnt_anew() {
    const Stored stored{spread(400, 1, 6), spread(1'400, 2)};
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(Quantization::pq));
    index.add(make_labels(400).data(), stored.stay.data(), 400, false, 2);
    const std::size_t groups = index.stats().code_groups;
    Searching one;
    std::thread searching([&] { search_under(index, stored, 3, true, one); });
    index.add(make_labels(1'400, Stored::kComes).data(), stored.come.data(), 1'400, false, 1);
    one.done = true;
    searching.join();
    CHECK(groups > 0 && index.stats().code_groups > groups);
}

// Upkeep isn't put off for as long as others are at work, which may be for ever.
void codes_are_learnt_anew_while_many_add() {
    constexpr std::size_t kMore = 4'000;
    const Stored stored{spread(200, 1, 6), spread(kMore, 2)};
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(Quantization::pq));
    index.add(make_labels(200).data(), stored.stay.data(), 200, false, 2);
    const std::size_t groups = index.stats().code_groups;
    std::atomic<bool> learnt{false};
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> adding;
    for (int thread = 0; thread < 4; ++thread) {
        adding.emplace_back([&] {
            for (std::size_t i = next++; i < kMore && !learnt; i = next++) {
                const Label label = Stored::kComes + i;
                index.add(&label, stored.of(label), 1, false, 1);
                // Looked at by those who add: another thread may get no turn on a busy machine.
                if (index.stats().code_groups != groups) learnt = true;
            }
        });
    }
    for (std::thread& thread : adding) thread.join();
    CHECK(learnt && next < kMore);
}

// What reads vectors from the file, and what checks its blocks, goes at the first change.
void a_loaded_index_is_changed_beside_its_first_searches() {
    const std::string path = (std::filesystem::temp_directory_path() /
                              ("llmspell-concurrent-" + std::to_string(std::random_device{}())))
                                 .string();
    const Stored stored{spread(4'000, 1), spread(200, 2)};
    {
        Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(Quantization::sq4));
        index.add(make_labels(4'000).data(), stored.stay.data(), 4'000, false, 2);
        index.save(path, 1);
    }
    const std::unique_ptr<Index> index = Index::load(path, nullptr, Mapping::vectors);
    CHECK(index->stats().memory.vectors == 0);
    Searching first, second;
    std::thread one([&] { search_under(*index, stored, 1, true, first); });
    std::thread other([&] { search_under(*index, stored, 2, false, second); });
    const std::vector<Label> labels = make_labels(200, Stored::kComes);
    for (int round = 0; round < 3; ++round) {
        index->add(labels.data(), stored.come.data(), 200, false, 1);
        CHECK(index->remove(labels.data(), 200) == 200);
    }
    first.done = second.done = true;
    one.join();
    other.join();
    CHECK(index->size() == 4'000);
    std::filesystem::remove(path);
}

}  // namespace

int main() {
    for (const Quantization codes : {Quantization::pq, Quantization::sq4}) {
        filters_hold_beside_changes(codes);
    }
    a_first_graph_is_built_in_two_passes_beside_searches();
    filters_hold_while_codes_are_learnt_anew();
    codes_are_learnt_anew_while_many_add();
    a_loaded_index_is_changed_beside_its_first_searches();
    return check_result();
}

// Every operation beside every other, for ThreadSanitizer to look at; and that each answer is one
// that could be given at some moment.
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <set>
#include <thread>
#include <vector>

#include "check.hpp"
#include "index/index.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

constexpr std::size_t kDim = 8;
constexpr std::size_t kStays = 300;  // labels 0 to kStays - 1 are there all the time

Params params_with(std::uint64_t graph_threshold) {
    Params params;
    params.m = 8;
    params.max_neighbors = 16;
    params.ef_construction = 32;
    params.graph_threshold = graph_threshold;
    return params;
}

void searches(const Index& index, const std::atomic<bool>& done, bool filtered) {
    const std::vector<float> queries = make_vectors(8, kDim, 9);
    const std::vector<Label> allowed = make_labels(kStays / 2);
    Filter filter;
    filter.ids = allowed.data();
    filter.id_count = allowed.size();
    SearchOptions options;
    options.k = 10;
    options.threads = 2;
    if (filtered) options.filter = &filter;
    std::vector<Label> labels(80);
    std::vector<float> scores(80);
    std::size_t found[8];
    while (!done) {
        index.search(queries.data(), 8, options, labels.data(), scores.data(), found);
        for (std::size_t i = 0; i < 8; ++i) {
            CHECK(found[i] == 10);
            for (std::size_t j = 1; j < 10; ++j)
                CHECK(scores[i * 10 + j] <= scores[i * 10 + j - 1]);
            if (filtered) CHECK(labels[i * 10] < kStays / 2);
        }
    }
}

void other_searches(const Index& index, const std::atomic<bool>& done) {
    const std::vector<float> queries = make_vectors(8, kDim, 9);
    const std::vector<Label> stored = make_labels(8);
    CancelToken token;
    SearchOptions options;
    options.threads = 2;
    std::vector<Label> labels(80);
    std::vector<float> scores(80);
    std::size_t found[8];
    while (!done) {
        Watch watch(3600.0, &token);
        options.watch = &watch;
        index.search_stored(stored.data(), 8, false, options, labels.data(), scores.data(), found);
        for (std::size_t i = 0; i < 8; ++i) CHECK(found[i] == 10 && labels[i * 10] != stored[i]);
        CHECK(index.range_search(queries.data(), 8, -0.5f, options).offsets.size() == 9);
        CHECK(watch.counters().distances > 0);
        const std::unique_ptr<PageWalk> walk = index.start_pages(queries.data(), 0, nullptr);
        std::set<Label> came;
        for (std::size_t size = 90; size == 90;) {
            const Page page = index.next_page(*walk, 90, &watch);
            size = page.labels.size();
            for (const Label label : page.labels) CHECK(came.insert(label).second);
        }
        for (Label label = 0; label < kStays; ++label) CHECK(came.count(label) == 1);
    }
}

void a_search_is_stopped_by_another_thread() {
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(0));
    const std::vector<float> vectors = make_vectors(kStays, kDim, 1);
    index.add(make_labels(kStays).data(), vectors.data(), kStays, false, 4);
    CancelToken token;
    std::atomic<bool> began{false}, stopped{false};
    std::thread searching([&] {
        SearchOptions options;
        options.threads = 2;
        std::vector<Label> labels(kStays * 10);
        std::vector<float> scores(kStays * 10);
        std::vector<std::size_t> found(kStays);
        try {
            for (;;) {
                Watch watch({}, &token);
                options.watch = &watch;
                index.search(vectors.data(), kStays, options, labels.data(), scores.data(),
                             found.data());
                began = true;
            }
        } catch (const Error& error) {
            stopped = error.code() == ErrorCode::search_cancelled;
        }
    });
    while (!began) std::this_thread::yield();
    token.cancel();
    searching.join();
    CHECK(stopped);
}

void looks(const Index& index, const std::atomic<bool>& done) {
    std::vector<float> held(2 * kDim);
    const Label labels[2] = {1, kStays - 1};
    while (!done) {
        index.get(labels, 2, held.data());
        CHECK(index.contains(0));
        CHECK(index.size() >= kStays);
        CHECK(index.stats().live >= kStays);
    }
}

void changes(Index& index, Label first) {
    const std::vector<float> vectors = make_vectors(120, kDim, first);
    const std::vector<Label> labels = make_labels(120, first);
    for (int round = 0; round < 4; ++round) {
        index.add(labels.data(), vectors.data(), 120, false, 2);
        index.add(labels.data(), &vectors[60 * kDim], 60, true, 1);
        CHECK(index.remove(labels.data(), 120) == 120);
    }
}

void all_at_once(std::uint64_t graph_threshold) {
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("concurrency-" + std::to_string(::getpid()));
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(graph_threshold));
    const std::vector<float> vectors = make_vectors(kStays, kDim, 1);
    index.add(make_labels(kStays).data(), vectors.data(), kStays, false, 4);
    std::atomic<bool> done{false};
    std::vector<std::thread> others;
    others.emplace_back([&] { searches(index, done, false); });
    others.emplace_back([&] { searches(index, done, true); });
    others.emplace_back([&] { other_searches(index, done); });
    others.emplace_back([&] { looks(index, done); });
    others.emplace_back([&] {
        while (!done) {
            index.save(path, 1);
            CHECK(Index::load(path, nullptr)->size() >= kStays);
        }
    });
    std::thread changer([&] { changes(index, 1'000); });
    changes(index, 2'000);
    changer.join();
    done = true;
    for (std::thread& other : others) other.join();
    CHECK(index.size() == kStays);
    std::filesystem::remove(path);
}

void a_build_by_many_threads_finds_all() {
    Index index(kDim, Metric::l2, simd::ElementType::f16, params_with(0));
    const std::vector<float> vectors = make_vectors(3'000, kDim, 1);
    index.add(make_labels(3'000).data(), vectors.data(), 3'000, false, 8);
    CHECK(index.stats().graph_nodes == 3'000);
    SearchOptions options;
    options.k = 1;
    options.threads = 8;
    std::vector<Label> labels(3'000);
    std::vector<float> scores(3'000);
    std::vector<std::size_t> found(3'000);
    index.search(vectors.data(), 3'000, options, labels.data(), scores.data(), found.data());
    for (std::size_t i = 0; i < 3'000; ++i) CHECK(found[i] == 1 && scores[i] > -1e-5f);
}

}  // namespace

int main() {
    all_at_once(0);
    all_at_once(350);  // the graph comes and goes
    a_build_by_many_threads_finds_all();
    a_search_is_stopped_by_another_thread();
    return check_result();
}

// Every operation beside every other, for ThreadSanitizer to look at; and that each answer is one
// that could be given at some moment.
#include <unistd.h>

#include <algorithm>
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

Params params_with(std::uint64_t graph_threshold, Quantization codes = Quantization::none) {
    Params params;
    params.quantization = codes;
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

// Batches come and go as wholes: who searches for one sees all of it or nothing of it, each vector
// with its own score.
void see_batches_whole(const Index& index, const std::vector<float>& vectors, Label first,
                       std::size_t size, const std::atomic<bool>& done) {
    std::vector<Label> allowed = make_labels(size, first);
    Filter filter;
    filter.ids = allowed.data();
    filter.id_count = size;
    SearchOptions options;
    options.k = size;
    options.filter = &filter;
    std::vector<Label> labels(size);
    std::vector<float> scores(size);
    while (!done) {
        std::size_t found = 0;
        index.search(vectors.data(), 1, options, labels.data(), scores.data(), &found);
        CHECK(found == 0 || found == size);
        for (std::size_t i = 0; i < found; ++i) {
            const float* own = &vectors[(labels[i] - first) * kDim];
            float distance = 0.0f;
            for (std::size_t d = 0; d < kDim; ++d) {
                distance += (own[d] - vectors[d]) * (own[d] - vectors[d]);
            }
            CHECK(std::fabs(distance + scores[i]) < 1e-4f);
        }
    }
}

// Replaced vectors are there all the time, the old or the new one: never neither, never both.
void see_one_of_two(const Index& index, Label label, const float* query,
                    const std::atomic<bool>& done) {
    SearchOptions options;
    options.k = kStays / 8;
    std::vector<Label> labels(options.k);
    std::vector<float> scores(options.k);
    while (!done) {
        std::size_t found = 0;
        index.search(query, 1, options, labels.data(), scores.data(), &found);
        CHECK(found == options.k);
        CHECK(std::set<Label>(labels.begin(), labels.end()).size() == found);
        CHECK(std::count(labels.begin(), labels.end(), label) == 1);
    }
}

void changes_are_seen_whole(Quantization codes) {
    constexpr Label kBatch = 5'000;
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(0, codes));
    const std::vector<float> vectors = make_vectors(kStays, kDim, 1);
    const std::vector<float> batch = make_vectors(20, kDim, 2);
    index.add(make_labels(kStays).data(), vectors.data(), kStays, false, 2);
    std::atomic<bool> done{false};
    std::vector<std::thread> others;
    others.emplace_back([&] { see_batches_whole(index, batch, kBatch, 20, done); });
    others.emplace_back([&] { see_one_of_two(index, 7, &vectors[7 * kDim], done); });
    others.emplace_back([&] {
        for (CancelToken token; !done;) {
            Watch watch(3600.0, &token);
            index.compact(&watch);
            std::this_thread::yield();
        }
    });
    std::thread replacing([&] {
        for (int round = 0; round < 60; ++round) {
            std::vector<float> moved(&vectors[7 * kDim], &vectors[8 * kDim]);
            moved[0] += 1e-3f * static_cast<float>(round % 2);
            const Label label = 7;
            index.add(&label, moved.data(), 1, true, 1);
        }
    });
    for (int round = 0; round < 20; ++round) {
        index.add(make_labels(20, kBatch).data(), batch.data(), 20, false, 2);
        CHECK(index.remove(make_labels(20, kBatch).data(), 20) == 20);
    }
    replacing.join();
    done = true;
    for (std::thread& other : others) other.join();
    CHECK(index.size() == kStays);
    const Audit audit = index.audit({0, 0, 1, false});
    CHECK(audit.faults.sound() && audit.lost.empty());
}

// Of two that add one label at the same time, one fails; of two that replace it, none does.
void one_label_is_added_once() {
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(0));
    const std::vector<float> vectors = make_vectors(200, kDim, 3);
    std::atomic<std::size_t> added{0}, refused{0};
    const auto add_all = [&] {
        for (Label label = 0; label < 200; ++label) {
            try {
                index.add(&label, &vectors[label * kDim], 1, false, 1);
                ++added;
            } catch (const Error& error) {
                refused += error.code() == ErrorCode::duplicate_id ? 1 : 0;
            }
            index.add(&label, &vectors[label * kDim], 1, true, 1);
        }
    };
    std::thread other(add_all);
    add_all();
    other.join();
    CHECK(added == 200 && refused == 200 && index.size() == 200);
}

void compaction_goes_on_where_it_was_stopped() {
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(0));
    const std::vector<float> vectors = make_vectors(3'000, kDim, 4);
    index.add(make_labels(3'000).data(), vectors.data(), 3'000, false, 2);
    index.remove(make_labels(50).data(), 50);
    CHECK(index.stats().deleted == 50);
    CancelToken token;
    Watch stopped({}, &token);
    token.cancel();
    try {
        index.compact(&stopped);
        CHECK(false);
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::search_cancelled);
    }
    CHECK(index.stats().deleted == 50 && index.size() == 2'950);
    index.compact(nullptr);
    const Stats stats = index.stats();
    CHECK(stats.deleted == 0 && stats.slots == 2'950 && stats.capacity == 2'950);
    CHECK(index.audit({0, 0, 1, false}).faults.sound());
}

void all_at_once(std::uint64_t graph_threshold, Quantization codes = Quantization::none) {
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("concurrency-" + std::to_string(::getpid()));
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(graph_threshold, codes));
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
    all_at_once(0, Quantization::pq);
    for (const Quantization codes : {Quantization::none, Quantization::pq}) {
        changes_are_seen_whole(codes);
    }
    one_label_is_added_once();
    compaction_goes_on_where_it_was_stopped();
    all_at_once(350);  // the graph comes and goes
    a_build_by_many_threads_finds_all();
    a_search_is_stopped_by_another_thread();
    return check_result();
}

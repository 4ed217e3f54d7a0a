// That every kind of search looks at its watch often enough, counts what it does, and can be left
// and gone on with.
#include "index/watch.hpp"

#include <initializer_list>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "check.hpp"
#include "index/build.hpp"
#include "index/pages.hpp"
#include "index/searcher.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

constexpr std::size_t kDim = 8;
constexpr std::size_t kCount = 3000;

// A step of a walk or of a sweep may end after the interval is over.
constexpr std::size_t kMostBetweenChecks = 2 * Watched::kCheckInterval;

struct Parts {
    explicit Parts(bool with_graph)
        : storage(Quantiser(kDim, Metric::l2, simd::ElementType::f32)),
          graph(params.m, params.max_neighbors) {
        const std::vector<float> vectors = make_vectors(kCount, kDim, 1);
        storage.reserve(kCount);
        std::vector<Slot> slots;
        for (std::size_t i = 0; i < kCount; ++i) {
            slots.push_back(put(storage, i, &vectors[i * kDim]));
        }
        if (with_graph) link_all(storage, graph, params, slots, 1);
        searcher =
            std::make_unique<Searcher>(storage, with_graph ? &graph : nullptr, nullptr, params);
        bits.resize((kCount + 63) / 64);
        for (const Slot slot : slots) bits[slot / 64] |= std::uint64_t{1} << (slot % 64);
        allowed = {bits, slots.size()};
    }

    Params params;
    Storage storage;
    Graph graph;
    std::unique_ptr<Searcher> searcher;
    std::vector<std::uint64_t> bits;
    Allowed allowed;
    SearchContext context;
    std::vector<float> query = std::vector<float>(kDim, 0.1f);
};

template <class Call>
ErrorCode code_of(const Call& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.code();
    }
    return ErrorCode::config;
}

void a_watch_stops_by_its_clock_and_by_its_token() {
    CancelToken token;
    CHECK(!Watch().may_stop());
    CHECK(code_of([] { Watch(-1.0); }) == ErrorCode::input);
    CHECK(code_of([] { Watch(0.0).check(); }) == ErrorCode::search_timeout);
    Watch(3600.0).check();
    Watch(1e300).check();
    const Watch watch({}, &token);
    CHECK(watch.may_stop());
    watch.check();
    token.cancel();
    CHECK(code_of([&] { watch.check(); }) == ErrorCode::search_cancelled);
}

void a_probe_looks_once_in_an_interval() {
    CancelToken token;
    Watch watch({}, &token);
    Watched probe(watch);
    token.cancel();
    probe.computed(Watched::kCheckInterval - 1);
    probe.poll();
    probe.computed(1);
    CHECK(code_of([&] { probe.poll(); }) == ErrorCode::search_cancelled);
    CHECK(code_of([&] { Watched late(watch); }) == ErrorCode::search_cancelled);
}

void counters_of_threads_add_up() {
    Watch watch;
    const auto work = [&](Strategy strategy) {
        for (int i = 0; i < 1000; ++i) {
            Watched probe(watch);
            probe.visited();
            probe.computed(3);
            probe.reranked(2);
            probe.used(strategy);
        }
    };
    std::thread other(work, Strategy::graph);
    work(Strategy::graph);
    other.join();
    const Counters counters = watch.counters();
    CHECK(counters.visited == 2000);
    CHECK(counters.distances == 10'000);
    CHECK(counters.reranked == 4000);
    CHECK(counters.strategy == Strategy::graph);
    work(Strategy::exact);
    CHECK(watch.counters().strategy == Strategy::mixed);
}

// Runs `search` with a token that is cancelled as soon as it has begun.
template <class Search>
void stops_soon(const Search& search) {
    CancelToken token;
    Watch watch({}, &token);
    const ErrorCode code = code_of([&] {
        Watched probe(watch);
        token.cancel();
        search(probe);
    });
    CHECK(code == ErrorCode::search_cancelled);
    CHECK(watch.counters().distances >= Watched::kCheckInterval / 2);
    CHECK(watch.counters().distances <= kMostBetweenChecks);
}

void every_search_stops_soon() {
    for (const bool with_graph : {false, true}) {
        Parts parts(with_graph);
        for (const Allowed* allowed :
             std::initializer_list<const Allowed*>{nullptr, &parts.allowed}) {
            for (const std::size_t k : {std::size_t{100}, kCount}) {
                stops_soon([&](Watched& probe) {
                    parts.searcher->nearest(parts.query.data(), k, 0, allowed, parts.context,
                                            probe);
                });
            }
            for (const float bound : {0.01f, 100.0f}) {
                stops_soon([&](Watched& probe) {
                    std::vector<Candidate> found;
                    parts.searcher->within(parts.query.data(), bound, 0, allowed, parts.context,
                                           found, probe);
                });
            }
        }
        PageWalk pages(parts.query.data(), kDim * sizeof(float), 0, nullptr);
        stops_soon([&](Watched& probe) { pages.next(*parts.searcher, 100, parts.context, probe); });
    }
}

void a_walk_with_deleted_nodes_stops_soon() {
    Parts parts(true);
    for (Slot slot = 0; slot < 50; ++slot) parts.storage.mark_deleted(slot);
    stops_soon([&](Watched& probe) {
        parts.searcher->nearest(parts.query.data(), 100, 0, nullptr, parts.context, probe);
    });
}

void pages_that_are_stopped_again_and_again_miss_and_repeat_nothing() {
    for (const bool with_graph : {false, true}) {
        Parts parts(with_graph);
        PageWalk pages(parts.query.data(), kDim * sizeof(float), 0, nullptr);
        std::vector<Label> labels;
        std::size_t stops = 0;
        for (bool more = true; more;) {
            CancelToken token;
            Watch watch({}, &token);
            try {
                Watched probe(watch);
                token.cancel();
                const Page page = pages.next(*parts.searcher, 70, parts.context, probe);
                labels.insert(labels.end(), page.labels.begin(), page.labels.end());
                more = page.labels.size() == 70;
            } catch (const Error&) {
                ++stops;
            }
        }
        CHECK(stops > 5);
        CHECK(labels.size() == kCount);
        CHECK(std::set<Label>(labels.begin(), labels.end()).size() == kCount);
    }
}

void a_watched_search_finds_what_an_unwatched_one_does() {
    Parts parts(true);
    std::vector<Slot> plain, watched;
    const auto slots = [](const CandidatePool& pool, std::vector<Slot>& out) {
        for (std::size_t i = 0; i < 50; ++i) out.push_back(pool[i].slot);
    };
    Unwatched unwatched;
    slots(parts.searcher->nearest(parts.query.data(), 50, 0, nullptr, parts.context, unwatched),
          plain);
    CancelToken token;
    Watch watch(3600.0, &token);
    {
        Watched probe(watch);
        slots(parts.searcher->nearest(parts.query.data(), 50, 0, nullptr, parts.context, probe),
              watched);
    }
    CHECK(plain == watched);
    CHECK(watch.counters().visited >= 50);
    CHECK(watch.counters().strategy == Strategy::graph);
}

}  // namespace

int main() {
    a_watch_stops_by_its_clock_and_by_its_token();
    a_probe_looks_once_in_an_interval();
    counters_of_threads_add_up();
    every_search_stops_soon();
    a_walk_with_deleted_nodes_stops_soon();
    pages_that_are_stopped_again_and_again_miss_and_repeat_nothing();
    a_watched_search_finds_what_an_unwatched_one_does();
    return check_result();
}

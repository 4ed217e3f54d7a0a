// The facade where Python can't look: memory that runs out at any point of a change, and ids beyond
// what Python may pass.
#include "index/index.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <new>
#include <vector>

#include "check.hpp"
#include "nearest.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

long allocations_left = -1;  // -1: any number

void* allocate(std::size_t size, std::size_t alignment) {
    if (allocations_left == 0) throw std::bad_alloc();
    if (allocations_left > 0) --allocations_left;
    const std::size_t rounded = (std::max<std::size_t>(size, 1) + alignment - 1) / alignment;
    void* memory = std::aligned_alloc(alignment, rounded * alignment);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {  // as std::stable_sort does
    try {
        return operator new(size);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

constexpr std::size_t kDim = 6;
using Model = std::map<Label, std::vector<float>>;

void put(Model& model, const std::vector<Label>& labels, const std::vector<float>& vectors) {
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const float* vector = &vectors[i * kDim];
        model[labels[i]] = std::vector<float>(vector, vector + kDim);
    }
}

// The index holds exactly the model, and each vector finds itself or a copy.
bool holds(const Index& index, const Model& model) {
    if (index.size() != model.size()) return false;
    for (const auto& [label, vector] : model) {
        if (!index.contains(label)) return false;
        std::vector<float> held(kDim);
        index.get(&label, 1, held.data());
        if (held != vector) return false;
        const std::vector<Label> found = nearest_labels(index, vector, 1);
        if (found.size() != 1 || model.at(found[0]) != vector) return false;
    }
    return nearest_labels(index, std::vector<float>(kDim, 0.5f), model.size() + 5).size() ==
           model.size();
}

constexpr Quantization kQuantizations[] = {Quantization::none, Quantization::pq, Quantization::sq4};

Params params_with(std::uint64_t graph_threshold, Quantization quantization = Quantization::none) {
    Params params;
    params.quantization = quantization;
    params.m = 3;
    params.max_neighbors = 6;
    params.ef_construction = 20;
    params.graph_threshold = graph_threshold;
    return params;
}

// Runs `change` with room for 0, 1, 2, ... allocations until it succeeds; `check` looks at what
// each failure left.
template <class Prepare, class Change, class Check>
void with_failures(const Prepare& prepare, const Change& change, const Check& check) {
    bool failed = true;
    long room = 0;
    for (; failed && room < 100'000; ++room) {
        const std::unique_ptr<Index> index = prepare();
        failed = false;
        allocations_left = room;
        try {
            change(*index);
        } catch (const std::bad_alloc&) {
            failed = true;
        }
        allocations_left = -1;
        check(*index, failed);
    }
    CHECK(!failed);
    CHECK(room > 3);
}

void an_addition_without_memory_changes_nothing() {
    const std::vector<float> old_vectors = make_vectors(40, kDim, 1);
    const std::vector<float> new_vectors = make_vectors(12, kDim, 2);
    const std::vector<Label> old_labels = make_labels(40), new_labels = make_labels(12, 40);
    Model before, after;
    put(before, old_labels, old_vectors);
    after = before;
    put(after, new_labels, new_vectors);
    for (const std::uint64_t threshold : {0u, 45u, 10'000u}) {  // graph, becoming one, flat
        for (const Quantization quantization : kQuantizations)
            with_failures(
                [&] {
                    auto index = std::make_unique<Index>(kDim, Metric::l2, simd::ElementType::f32,
                                                         params_with(threshold, quantization));
                    index->add(old_labels.data(), old_vectors.data(), 40, false, 1);
                    return index;
                },
                [&](Index& index) {
                    index.add(new_labels.data(), new_vectors.data(), 12, false, 1);
                },
                [&](Index& index, bool failed) {
                    CHECK(holds(index, failed ? before : after));
                    if (!failed) return;
                    index.add(new_labels.data(), new_vectors.data(), 12, false, 1);
                    CHECK(holds(index, after));
                });
    }
}

void a_replacement_without_memory_changes_nothing() {
    const std::vector<float> old_vectors = make_vectors(40, kDim, 1);
    const std::vector<float> new_vectors = make_vectors(12, kDim, 2);
    const std::vector<Label> old_labels = make_labels(40), new_labels = make_labels(12, 34);
    Model before, after;
    put(before, old_labels, old_vectors);
    after = before;
    put(after, new_labels, new_vectors);
    for (const std::uint64_t threshold : {0u, 10'000u}) {
        for (const Quantization quantization : kQuantizations)
            with_failures(
                [&] {
                    auto index = std::make_unique<Index>(kDim, Metric::l2, simd::ElementType::f32,
                                                         params_with(threshold, quantization));
                    index->add(old_labels.data(), old_vectors.data(), 40, false, 1);
                    return index;
                },
                [&](Index& index) {
                    index.add(new_labels.data(), new_vectors.data(), 12, true, 1);
                },
                [&](Index& index, bool failed) {
                    CHECK(holds(index, failed ? before : after));
                    if (failed) index.add(new_labels.data(), new_vectors.data(), 12, true, 1);
                    CHECK(holds(index, after));
                });
    }
}

// Vectors are made unit vectors on the way in, which takes memory as well.
void a_replacement_under_cosine_without_memory_changes_nothing() {
    const std::vector<float> old_vectors = make_vectors(40, kDim, 1);
    const std::vector<float> new_vectors = make_vectors(12, kDim, 2);
    const std::vector<Label> old_labels = make_labels(40), new_labels = make_labels(12, 34);
    for (const std::uint64_t threshold : {0u, 10'000u}) {
        with_failures(
            [&] {
                auto index = std::make_unique<Index>(kDim, Metric::cosine, simd::ElementType::f32,
                                                     params_with(threshold));
                index->add(old_labels.data(), old_vectors.data(), 40, false, 1);
                return index;
            },
            [&](Index& index) { index.add(new_labels.data(), new_vectors.data(), 12, true, 1); },
            [&](Index& index, bool failed) {
                CHECK(index.size() == (failed ? 40u : 46u));
                if (failed) index.add(new_labels.data(), new_vectors.data(), 12, true, 1);
                CHECK(index.size() == 46 && index.audit({0, 0, 1, false}).faults.sound());
            });
    }
}

void a_graph_is_not_due_where_vectors_are_replaced() {
    const std::vector<float> vectors = make_vectors(60, kDim, 1);
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(100));
    index.add(make_labels(60).data(), vectors.data(), 60, false, 1);
    index.add(make_labels(60).data(), vectors.data(), 60, true, 1);
    CHECK(index.size() == 60 && index.stats().graph_nodes == 0);
    index.add(make_labels(60, 20).data(), vectors.data(), 60, true, 1);
    CHECK(index.size() == 80 && index.stats().graph_nodes == 0);
    index.add(make_labels(60, 40).data(), vectors.data(), 60, true, 1);
    CHECK(index.size() == 100 && index.stats().graph_nodes == 100);
}

void a_deletion_without_memory_is_done_all_the_same() {
    const std::vector<float> vectors = make_vectors(120, kDim, 1);
    const std::vector<Label> labels = make_labels(120);
    for (const std::size_t gone : {40u, 90u}) {  // enough to bridge; enough to move rows too
        Model after;
        put(after, labels, vectors);
        for (std::size_t i = 0; i < gone; ++i) after.erase(labels[i]);
        for (const Quantization quantization : kQuantizations)
            with_failures(
                [&] {
                    auto index = std::make_unique<Index>(kDim, Metric::l2, simd::ElementType::f32,
                                                         params_with(0, quantization));
                    index->add(labels.data(), vectors.data(), 120, false, 1);
                    return index;
                },
                [&](Index& index) {
                    CHECK(index.remove(labels.data(), gone) == gone);
                    if (index.stats().graph_nodes == 0)
                        throw std::bad_alloc();  // it noticed, go on
                },
                [&](Index& index, bool) { CHECK(holds(index, after)); });
    }
}

void a_page_without_memory_can_be_asked_for_again() {
    const std::vector<float> vectors = make_vectors(200, kDim, 1);
    const std::vector<Label> labels = make_labels(200);
    const std::vector<float> query(kDim, 0.5f);
    for (const std::uint64_t threshold : {0u, 10'000u}) {
        Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(threshold));
        index.add(labels.data(), vectors.data(), 200, false, 1);
        bool failed = true;
        long room = 0;
        for (; failed && room < 100'000; ++room) {
            const std::unique_ptr<PageWalk> walk = index.start_pages(query.data(), 8, nullptr);
            std::vector<Label> found = index.next_page(*walk, 10, nullptr).labels;
            const auto next = [&] {
                const std::vector<Label> page = index.next_page(*walk, 60, nullptr).labels;
                found.insert(found.end(), page.begin(), page.end());
                return page.size() == 60;
            };
            found.reserve(200);
            failed = false;
            allocations_left = room;
            try {
                next();
            } catch (const std::bad_alloc&) {
                failed = true;
            }
            allocations_left = -1;
            while (next()) {
            }
            std::sort(found.begin(), found.end());
            CHECK(found == labels);
        }
        CHECK(!failed);
        CHECK(room > 3);
    }
}

void labels_end_where_signed_ids_do() {
    Index index(kDim, Metric::l2, simd::ElementType::f32, params_with(0));
    const std::vector<float> vectors = make_vectors(2, kDim, 1);
    const Label labels[2] = {kMaxLabel, kMaxLabel + 1};
    ErrorCode code{};
    try {
        index.add(labels, vectors.data(), 2, false, 1);
    } catch (const Error& error) {
        code = error.code();
    }
    CHECK(code == ErrorCode::invalid_id);
    CHECK(index.size() == 0);
    index.add(labels, vectors.data(), 1, false, 1);
    CHECK(index.contains(kMaxLabel));
}

void parameters_out_of_range_are_refused() {
    const auto refused = [](auto change, std::size_t dim = 4) {
        Params params;
        change(params);
        try {
            Index(dim, Metric::ip, simd::ElementType::f32, params);
            return false;
        } catch (const Error& error) {
            return error.code() == ErrorCode::config;
        }
    };
    CHECK(!refused([](Params&) {}));
    CHECK(refused([](Params&) {}, 0));
    CHECK(refused([](Params&) {}, kMaxDim + 1));
    CHECK(refused([](Params& p) { p.m = 1; }));
    CHECK(refused([](Params& p) { p.m = 101; }));
    CHECK(refused([](Params& p) { p.max_neighbors = p.m - 1; }));
    CHECK(refused([](Params& p) { p.max_neighbors = 4 * p.m + 1; }));
    CHECK(refused([](Params& p) { p.ef_construction = p.m - 1; }));
    CHECK(refused([](Params& p) { p.ef_search = 0; }));
    CHECK(refused([](Params& p) { p.graph_threshold = (std::uint64_t{1} << 32) + 1; }));
    CHECK(refused([](Params& p) { p.seed = kMaxLabel + 1; }));
}

}  // namespace

int main() {
    an_addition_without_memory_changes_nothing();
    a_replacement_without_memory_changes_nothing();
    a_replacement_under_cosine_without_memory_changes_nothing();
    a_graph_is_not_due_where_vectors_are_replaced();
    a_deletion_without_memory_is_done_all_the_same();
    a_page_without_memory_can_be_asked_for_again();
    labels_end_where_signed_ids_do();
    parameters_out_of_range_are_refused();
    return check_result();
}

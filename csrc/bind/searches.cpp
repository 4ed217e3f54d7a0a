// The searches of an index, and what they can be watched by.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "bind/arrays.hpp"
#include "index/index.hpp"
#include "index/watch.hpp"

namespace llmspell::bind {
namespace {

using index::Index;
using index::Watch;

// None where nobody watches. A parameter of type Watch* would take 5,000 instructions to find that
// None is none.
Watch* watch_of(const py::object& watch) {
    return watch.is_none() ? nullptr : watch.cast<Watch*>();
}

index::Filter filter_of(const std::optional<Labels>& ids, const std::optional<Bits>& bits) {
    index::Filter filter;
    if (ids) {
        filter.ids = ids->data();
        filter.id_count = static_cast<std::size_t>(ids->size());
    } else if (bits) {
        filter.bits = bits->data();
        filter.bit_count = static_cast<std::size_t>(bits->size()) * 8;
    }
    return filter;
}

// Arrays of what `call` finds: as long as that is for one query, filled up to k for several. One
// answer is no longer than the index, so that a huge k takes no huge memory; the index may grow
// until it is searched.
template <class Call>
py::tuple results(const Index& self, bool one, std::size_t count, index::SearchOptions& options,
                  const Call& call) {
    const std::size_t asked = options.k;
    if (one && asked > 0) options.k = std::min(asked, std::max<std::size_t>(self.size(), 1));
    const std::size_t k = options.k;
    auto labels = one ? py::array_t<std::int64_t>(k) : py::array_t<std::int64_t>({count, k});
    auto scores = one ? py::array_t<float>(k) : py::array_t<float>({count, k});
    auto* label_data = reinterpret_cast<Label*>(labels.mutable_data());
    float* score_data = scores.mutable_data();
    std::vector<std::size_t> found(count);
    {
        const py::gil_scoped_release unlocked;  // tens of microseconds a query
        call(label_data, score_data, found.data());
        for (std::size_t i = 0; !one && i < count; ++i) {
            for (std::size_t j = found[i]; j < k; ++j) {
                label_data[i * k + j] = ~Label{0};  // -1 as int64
                score_data[i * k + j] = -std::numeric_limits<float>::infinity();
            }
        }
    }
    if (one && found[0] == k && k < asked && self.size() > k) {
        options.k = asked;
        return results(self, one, count, options, call);
    }
    if (one && found[0] < k) {
        labels.resize({found[0]});
        scores.resize({found[0]});
    }
    return py::make_tuple(std::move(labels), std::move(scores));
}

template <class Element>
py::tuple search(const Index& self, const VectorsOf<Element>& queries, std::size_t k,
                 std::size_t ef, std::optional<float> threshold, const std::optional<Labels>& ids,
                 const std::optional<Bits>& bits, unsigned threads, const py::object& watch,
                 double recall) {
    const std::size_t count = rows_of(self, queries);
    const index::Filter filter = filter_of(ids, bits);
    index::SearchOptions options{k,         ef,      ids || bits ? &filter : nullptr,
                                 threshold, threads, watch_of(watch)};
    options.recall = recall;
    const Element* data = queries.data();
    return results(self, queries.ndim() == 1, count, options,
                   [&](Label* labels, float* scores, std::size_t* found) {
                       self.search(data, count, options, labels, scores, found);
                   });
}

py::tuple search_stored(const Index& self, const Labels& stored, bool one, bool keep_self,
                        std::size_t k, std::size_t ef, std::optional<float> threshold,
                        const std::optional<Labels>& ids, const std::optional<Bits>& bits,
                        unsigned threads, const py::object& watch, double recall) {
    const auto count = static_cast<std::size_t>(stored.size());
    const index::Filter filter = filter_of(ids, bits);
    index::SearchOptions options{k,         ef,      ids || bits ? &filter : nullptr,
                                 threshold, threads, watch_of(watch)};
    options.recall = recall;
    const Label* data = stored.data();
    return results(self, one, count, options,
                   [&](Label* labels, float* scores, std::size_t* found) {
                       self.search_stored(data, count, keep_self, options, labels, scores, found);
                   });
}

template <class To, class From>
py::array_t<To> to_array(const std::vector<From>& values) {
    static_assert(sizeof(To) == sizeof(From));
    py::array_t<To> array(values.size());
    if (!values.empty()) {
        std::memcpy(array.mutable_data(), values.data(), values.size() * sizeof(To));
    }
    return array;
}

template <class Element>
py::tuple range_search(const Index& self, const VectorsOf<Element>& queries, float threshold,
                       std::size_t ef, const std::optional<Labels>& ids,
                       const std::optional<Bits>& bits, unsigned threads, const py::object& watch) {
    const std::size_t count = rows_of(self, queries);
    const index::Filter filter = filter_of(ids, bits);
    index::SearchOptions options;
    options.ef = ef;
    options.filter = ids || bits ? &filter : nullptr;
    options.threads = threads;
    options.watch = watch_of(watch);
    const Element* data = queries.data();
    const index::RangeResults found = [&] {
        const py::gil_scoped_release unlocked;  // tens of microseconds a query, or many more
        return self.range_search(data, count, threshold, options);
    }();
    return py::make_tuple(to_array<std::int64_t>(found.offsets),
                          to_array<std::int64_t>(found.labels), to_array<float>(found.scores));
}

// A walk by pages that several threads may ask for the next.
class Pages {
  public:
    Pages(py::object owner, std::unique_ptr<index::PageWalk> walk)
        : owner_(std::move(owner)), index_(owner_.cast<const Index&>()), walk_(std::move(walk)) {}

    py::tuple next(std::size_t size, const py::object& watch) {
        Watch* const of_page = watch_of(watch);
        const index::Page page = [&] {
            const py::gil_scoped_release unlocked;  // as long as a search, and waits for changes
            const std::lock_guard<std::mutex> guard(mutex_);
            return index_.next_page(*walk_, size, of_page);
        }();
        return py::make_tuple(to_array<std::int64_t>(page.labels), to_array<float>(page.scores));
    }

  private:
    // pybind11 3.1 crashes where one overload of several has a keep_alive and is not taken.
    py::object owner_;
    const Index& index_;
    std::unique_ptr<index::PageWalk> walk_;
    std::mutex mutex_;
};

template <class Element>
std::unique_ptr<Pages> iterate(const py::object& owner, const VectorsOf<Element>& query,
                               std::size_t ef, const std::optional<Labels>& ids,
                               const std::optional<Bits>& bits) {
    const auto& self = owner.cast<const Index&>();
    rows_of(self, query);
    if (query.ndim() != 1) {
        throw Error(ErrorCode::shape, "expected one query of shape (dim,), got " +
                                          std::to_string(query.ndim()) + " axes");
    }
    const index::Filter filter = filter_of(ids, bits);
    return std::make_unique<Pages>(
        owner, self.start_pages(query.data(), ef, ids || bits ? &filter : nullptr));
}

const char* name_of(index::Strategy strategy) {
    switch (strategy) {
        case index::Strategy::none:
            return "none";
        case index::Strategy::exact:
            return "exact";
        case index::Strategy::graph:
            return "graph";
        case index::Strategy::filtered_graph:
            return "filtered-graph";
        case index::Strategy::quantized:
            return "quantized";
        case index::Strategy::filtered_quantized:
            return "filtered-quantized";
        case index::Strategy::swept_codes:
            return "quantized-sweep";
        case index::Strategy::mixed:
            return "mixed";
    }
    return "none";
}

py::tuple counters(const Watch& self) {
    const index::Counters c = self.counters();
    return py::make_tuple(c.visited, c.estimated, c.distances, c.reranked, c.width,
                          name_of(c.strategy));
}

template <class Element>
void define_searches_of(py::class_<Index>& index) {
    using namespace py::literals;
    index
        .def("search", &search<Element>, "queries"_a.noconvert(), "k"_a, "ef"_a, "threshold"_a,
             "ids"_a, "bits"_a, "threads"_a, "watch"_a = py::none(), "recall"_a = 0.0)
        .def("range_search", &range_search<Element>, "queries"_a.noconvert(), "threshold"_a, "ef"_a,
             "ids"_a, "bits"_a, "threads"_a, "watch"_a = py::none())
        .def("iterate", &iterate<Element>, "query"_a.noconvert(), "ef"_a, "ids"_a, "bits"_a);
}

}  // namespace

void define_searches(py::module_& module, py::class_<Index>& index) {
    using namespace py::literals;
    py::class_<index::CancelToken>(module, "CancelToken")
        .def(py::init<>())
        .def("cancel", &index::CancelToken::cancel)
        .def_property_readonly("cancelled", &index::CancelToken::cancelled);
    py::class_<Watch>(module, "Watch", "One call's deadline, token and counters.")
        .def(py::init<std::optional<double>, const index::CancelToken*>(), "timeout"_a, "token"_a,
             py::keep_alive<1, 3>())
        .def("counters", &counters);
    py::class_<Pages>(module, "Pages").def("next", &Pages::next, "size"_a, "watch"_a = py::none());
    index.def("search_stored", &search_stored, "stored"_a.noconvert(), "one"_a, "keep_self"_a,
              "k"_a, "ef"_a, "threshold"_a, "ids"_a, "bits"_a, "threads"_a, "watch"_a = py::none(),
              "recall"_a = 0.0);
    define_searches_of<float>(index);
    define_searches_of<std::uint8_t>(index);
}

}  // namespace llmspell::bind

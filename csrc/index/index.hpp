// The index that the bindings see: labels in, labels out, thread-safe.
//
// Below params.graph_threshold vectors it answers by an exact sweep and holds no graph; above, it
// builds one. Searches and changes run beside each other. What takes long, linking and mending, is
// done on rows of links that are read and changed as wholes; what must not be seen half done is
// done in short steps, for which searches wait: staging vectors in slots, publishing a batch,
// marking what is deleted, giving slots away, letting arrays grow. Building a first graph, learning
// codes anew, saving and what else must be the only change hold off others, but no searches.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "index/audit.hpp"
#include "index/build.hpp"
#include "index/calibration.hpp"
#include "index/coded.hpp"
#include "index/filter_cache.hpp"
#include "index/gate.hpp"
#include "index/graph.hpp"
#include "index/pages.hpp"
#include "index/repair.hpp"
#include "index/search.hpp"
#include "index/searcher.hpp"
#include "index/stats.hpp"
#include "index/storage.hpp"

namespace llmspell::index {

struct SearchOptions {
    std::size_t k = 10;
    std::size_t ef = 0;  // 0: the index's ef_search
    const Filter* filter = nullptr;
    std::optional<float> threshold;  // the lowest score wanted
    unsigned threads = 1;
    Watch* watch = nullptr;
    double recall = 0.0;  // in place of ef, where above 0
    bool exact = false;
};

// Query i has the results from offsets[i] up to offsets[i + 1], best first.
struct RangeResults {
    std::vector<std::size_t> offsets;
    std::vector<Label> labels;
    std::vector<float> scores;
};

class Index {
  public:
    Index(std::size_t dim, Metric metric, simd::ElementType type, const Params& params);

    std::size_t dim() const noexcept { return dim_; }
    Metric metric() const noexcept { return metric_; }
    simd::ElementType type() const noexcept { return type_; }
    const Params& params() const noexcept { return params_; }
    std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
    bool contains(Label label) const;
    std::vector<Label> labels() const;  // ascending
    Stats stats() const;

    // Vectors are float32 (count, dim) or, where the type is binary, packed bits, each from a byte
    // of its own on; see Quantiser.

    // All or nothing. Without `replace` a label that is there is an error.
    void add(const Label* labels, const void* vectors, std::size_t count, bool replace,
             unsigned threads);
    std::size_t remove(const Label* labels, std::size_t count);
    void get(const Label* labels, std::size_t count, void* out) const;
    // Mends links after deletes and gives memory back, beside searches and changes. Where the watch
    // ends it, what is done is kept, and the next time goes on.
    void compact(const Watch* watch);

    // Query i gets found[i] <= k results at labels + i * k and scores + i * k, best first.
    void search(const void* queries, std::size_t count, const SearchOptions& options, Label* labels,
                float* scores, std::size_t* found) const;
    // The same for the vectors that are stored under `stored`, of which each is left out of its own
    // results unless `keep_self`.
    void search_stored(const Label* stored, std::size_t count, bool keep_self,
                       const SearchOptions& options, Label* labels, float* scores,
                       std::size_t* found) const;

    // All with a score of at least `threshold`; of the options, k and threshold are not looked at.
    RangeResults range_search(const void* queries, std::size_t count, float threshold,
                              const SearchOptions& options) const;
    // Measures which widths of a walk give which recall@k, at least as far as `recall`. Searches
    // that ask for a recall do so themselves where nothing is measured yet or much has changed.
    void calibrate(std::size_t k, double recall, unsigned threads, Watch* watch) const;
    std::vector<CalibratedCurve> calibration() const;
    // Takes over what was measured of an index of the same content, a share of which has changed
    // since; what no walk of this one goes by is passed over.
    void adopt(RecallCurve curve, double changed) const;
    // The curve that tells of searches for the k nearest; none where they are sweeps.
    std::optional<CurveKey> curve_for(std::size_t k) const;
    // A walk for next_page, which one thread at a time may call with it.
    std::unique_ptr<PageWalk> start_pages(const void* query, std::size_t ef,
                                          const Filter* filter) const;
    Page next_page(PageWalk& walk, std::size_t size, Watch* watch) const;

    // Checks the graph's structure, looks for some of the vectors by themselves, and mends what it
    // finds where asked to.
    Audit audit(const AuditOptions& options);

    void save(const std::string& path, std::uint64_t tag);
    // What is mapped of the file is checked block by block when it is first asked for, what is read
    // at once.
    static std::unique_ptr<Index> load(const std::string& path, std::uint64_t* tag,
                                       Mapping mapping = Mapping::all);
    // Checks all that has not been yet of a file that was mapped; throws Error(corrupt_file).
    void verify() const;

  private:
    class SharedLock;
    class ExclusiveStep;
    class Borrowed;
    class Batch;

    void check_batch(const Label* labels, const std::byte* vectors, std::size_t count) const;
    bool add(Batch& batch, unsigned threads);
    void build(Batch& batch, unsigned threads);
    bool builds_graph(std::size_t more) const noexcept;
    bool is_sparse() const noexcept;
    std::unique_ptr<CodedGraph> rounded(std::span<const Slot> slots, unsigned threads) const;
    void check_blocks() const;
    void unseal();
    void open_for_changes(const Watch* watch = nullptr);
    std::vector<Slot> live_slots() const;
    void make_room(std::size_t count);
    bool is_linked(Slot slot) const noexcept;
    void give_away(Slot slot) noexcept;
    void drop_graph() noexcept;
    void look_after(unsigned threads);
    bool bridge(const Watch* watch);
    void bridge_all(const Watch* watch);
    ExclusiveEntry only_change(const Watch* watch);
    bool step_repair();
    bool begin_repair();
    void end_repair();
    void learn_again(unsigned threads);
    void survey();
    void shrink();
    std::vector<Label> sample(std::size_t count, std::uint64_t seed) const;
    std::vector<Label> lost_of(std::span<const Label> labels, unsigned threads) const;
    double mean_recall(std::span<const Label> labels, unsigned threads) const;
    void mend(unsigned threads, Mended& mended);
    void lead_to(std::span<const Label> lost, Mended& mended);
    struct Sample;
    struct Walks {
        bool any, coded;
        std::size_t live;
        std::uint64_t version;
    };
    Walks walks(const Watch* watch = nullptr) const;
    SearchOptions settled(const SearchOptions& asked) const;
    bool is_due(const RecallCurve& curve, std::uint64_t version) const;
    std::unique_lock<std::mutex> wait_to_measure(const Watch* watch) const;
    RecallCurve measure(std::size_t k, bool coded, double target, unsigned threads,
                        Watch* watch) const;
    RecallPoint measure_point(std::size_t k, bool coded, std::size_t ef, const Sample& sample,
                              unsigned threads, Watch* watch) const;
    Sample draw_sample(double target, unsigned threads, Watch* watch) const;
    void make_query(std::size_t i, Sample& sample) const;
    void find_bounds(std::size_t k, Sample& sample, unsigned threads, Watch* watch) const;
    template <class Part>
    void for_parts(const Sample& sample, unsigned threads, Watch* watch, const Part& part) const;

    std::vector<Slot> find_all(const Label* labels, std::size_t count) const;
    Searcher searcher() const noexcept {
        return {storage_, has_graph_ ? &graph_ : nullptr, useful_codes(), params_};
    }
    const CodedGraph* useful_codes() const noexcept {
        return has_graph_ && coded_ && coded_->useful() ? coded_.get() : nullptr;
    }
    std::shared_ptr<PreparedFilter> prepare(const SearchOptions& options,
                                            std::size_t queries) const;
    template <class One>
    void for_each_query(std::size_t count, const SearchOptions& options, const One& one) const;
    template <class VectorOf, class LeftOut>
    void answer(std::size_t count, const SearchOptions& options, const VectorOf& vector_of,
                const LeftOut& left_out, Label* labels, float* scores, std::size_t* found) const;

    std::size_t dim_;
    Metric metric_;
    simd::ElementType type_;
    Params params_;
    Storage storage_;
    std::unique_ptr<CodedGraph> coded_;  // with quantization
    Graph graph_;
    bool has_graph_ = false;
    std::vector<std::unique_ptr<BlockGuard>> guards_;  // of a snapshot, until the first change
    std::atomic<bool> sealed_{false};                  // as it was loaded: no change yet
    std::string snapshot_;                             // where from

    std::atomic<std::size_t> size_{0};  // read without a lock, so that nobody waits for a build

    // Taken in this order.
    mutable Gate changes_;              // a change: shared; what must be the only one: exclusive
    std::atomic<unsigned> put_off_{0};  // times that upkeep was due and others were at work
    std::mutex repairing_;
    mutable Gate writers_;  // who links a node: shared; a step of a change: exclusive
    mutable Gate readers_;  // a search: shared; a short step of a change: exclusive
    LinkLocks link_locks_;
    std::optional<Repair> repair_;      // that was stopped; under repairing_
    std::uint64_t graphs_ = 0;          // there have been, counting each numbering of slots
    std::uint64_t repaired_graph_ = 0;  // of repair_
    mutable Calibration calibration_;
    mutable FilterCache filters_;
    mutable std::mutex contexts_mutex_;
    mutable std::vector<std::unique_ptr<SearchContext>> contexts_;
};

}  // namespace llmspell::index

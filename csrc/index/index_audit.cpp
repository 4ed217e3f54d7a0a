// The audit of Index: who holds what meanwhile. The graph's structure is read in one pass, vectors
// are looked for a few at a time, so that a change, and the searches behind it, wait for few.
#include <algorithm>

#include "base/parallel.hpp"
#include "base/random.hpp"
#include "index/access.hpp"
#include "index/audit.hpp"
#include "index/build.hpp"
#include "index/index.hpp"

namespace llmspell::index {
namespace {

constexpr std::size_t kLookedAtOnce = 256;
constexpr std::size_t kSweptAtOnce = 8;  // each reads all vectors
constexpr std::size_t kMendedAtOnce = 16;
constexpr std::size_t kMaxQueries = 200;
constexpr std::size_t kNearest = 10;

}  // namespace

std::vector<Label> Index::sample(std::size_t count, std::uint64_t seed) const {
    std::vector<Label> labels;
    for (const Slot slot : live_slots()) labels.push_back(storage_.label(slot));
    if (count == 0 || count >= labels.size()) return labels;
    SplitMix64 random(seed);
    for (std::size_t i = 0; i < count; ++i) {
        std::swap(labels[i], labels[i + random() % (labels.size() - i)]);
    }
    labels.resize(count);
    return labels;
}

std::vector<Label> Index::lost_of(std::span<const Label> labels, unsigned threads) const {
    std::vector<Label> lost;
    for (std::size_t first = 0; first < labels.size(); first += kLookedAtOnce) {
        const auto some = labels.subspan(first, std::min(kLookedAtOnce, labels.size() - first));
        std::vector<std::uint8_t> is_lost(some.size());
        const SharedLock lock(*this);
        const Searcher searcher = this->searcher();
        parallel_for(
            some.size(), threads, [this] { return Borrowed(*this); },
            [&](std::size_t i, Borrowed& context) {
                const Slot slot = storage_.find(some[i]);
                is_lost[i] = slot != kNoSlot && !finds_itself(searcher, slot, *context);
            });
        for (std::size_t i = 0; i < some.size(); ++i) {
            if (is_lost[i] != 0) lost.push_back(some[i]);
        }
    }
    return lost;
}

double Index::mean_recall(std::span<const Label> labels, unsigned threads) const {
    std::vector<double> recalls(labels.size(), 1.0);
    for (std::size_t first = 0; first < labels.size(); first += kSweptAtOnce) {
        const auto some = labels.subspan(first, std::min(kSweptAtOnce, labels.size() - first));
        const SharedLock lock(*this);
        const Searcher searcher = this->searcher();
        parallel_for(
            some.size(), threads, [this] { return Borrowed(*this); },
            [&](std::size_t i, Borrowed& context) {
                const Slot slot = storage_.find(some[i]);
                if (slot != kNoSlot) {
                    recalls[first + i] = recall_of(searcher, slot, kNearest, *context);
                }
            });
    }
    double sum = 0.0;
    for (const double recall : recalls) sum += recall;
    return labels.empty() ? 1.0 : sum / static_cast<double>(labels.size());
}

Audit Index::audit(const AuditOptions& options) {
    Audit audit;
    std::vector<Label> labels;
    {
        const ExclusiveEntry change = only_change(nullptr);  // none is half linked
        unseal();
        if (repair_) bridge_all(nullptr);
        if (has_graph_) audit.faults = check_graph(storage_, graph_);
        audit.live = storage_.live();
        labels = sample(options.sample, options.seed);
    }
    audit.checked = labels.size();
    // Walks trust the links: none goes by a graph whose links lead nowhere.
    if (audit.faults.bad_links + audit.faults.stale == 0 && !audit.faults.bad_entry) {
        audit.lost = lost_of(labels, options.threads);
        audit.queries = std::min(labels.size(), kMaxQueries);
        audit.recall = mean_recall(std::span(labels).first(audit.queries), options.threads);
    }
    if (!options.repair) return audit;
    mend(options.threads, audit.mended);
    if (audit.queries == 0) audit.lost = lost_of(labels, options.threads);
    for (std::size_t first = 0; first < audit.lost.size(); first += kMendedAtOnce) {
        const std::span<const Label> lost(audit.lost);
        lead_to(lost.subspan(first, std::min(kMendedAtOnce, lost.size() - first)), audit.mended);
    }
    audit.unmended = lost_of(audit.lost, options.threads);
    return audit;
}

// Mends the graph's structure. A graph that is half mended is none.
void Index::mend(unsigned threads, Mended& mended) {
    const ExclusiveEntry change = only_change(nullptr);
    if (repair_) bridge_all(nullptr);  // it goes by a tree without what it takes out
    const ExclusiveStep step(*this);
    if (!has_graph_) return;
    try {
        mended = mend_graph(storage_, graph_, params_);
        std::vector<Slot> missing;
        for (const Slot slot : live_slots()) {
            if (slot >= graph_.slots() || !graph_.contains(slot)) missing.push_back(slot);
        }
        if (!missing.empty()) {
            if (coded_) {
                coded_->resize(storage_.capacity());
                coded_->encode(storage_, missing, threads);
            }
            link_all(storage_, graph_, params_, missing, threads,
                     coded_ ? coded_->rounded_rows() : nullptr);
            mended.linked_nodes += missing.size();
        }
        if (coded_ && coded_->walks_rows()) coded_->set_starts(coded_->choose_starts(graph_));
    } catch (...) {
        drop_graph();
        throw;
    }
}

// Adds links to vectors that don't find themselves, from where searches for them end.
void Index::lead_to(std::span<const Label> lost, Mended& mended) {
    constexpr int kRounds = 4;  // of a link, and a search that ends nearer
    const ExclusiveEntry change = only_change(nullptr);
    if (!has_graph_) return;
    SearchContext context;
    for (const Label label : lost) {
        const Slot slot = storage_.find(label);
        for (int round = 0; slot != kNoSlot && round < kRounds; ++round) {
            Slot end = kNoSlot;
            if (finds_itself(searcher(), slot, context, &end)) break;
            if (!guide(storage_, graph_, end, slot)) break;
            ++mended.added_links;
        }
    }
}

}  // namespace llmspell::index

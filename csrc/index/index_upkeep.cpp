// What changes leave behind them, and Index.compact: mending links, learning codes anew, giving
// memory back. What of it runs beside searches, and what in short steps for itself.
#include <algorithm>
#include <chrono>
#include <new>
#include <thread>
#include <utility>

#include "index/access.hpp"
#include "index/index.hpp"
#include "index/repair.hpp"

namespace llmspell::index {
namespace {

void rest(const Watch* watch) {
    if (watch != nullptr) watch->check();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace

// What a change leaves for later, when enough has come together. None of it is needed for right
// answers, so that it stands back for some time where others are at work, and ends where there is
// no memory.
void Index::look_after(unsigned threads) {
    constexpr std::size_t kMinDeleted = 32, kDeletedShare = 50;
    constexpr unsigned kMostPutOff = 16;
    bool sparse = false, worn = false, outgrown = false, unsurveyed = false, loose = false;
    {
        const SharedLock lock(*this);
        const std::size_t live = storage_.live();
        sparse = is_sparse();
        // A pass over the graph is shared by many deletes.
        worn = has_graph_ && storage_.deleted() > std::max(kMinDeleted, live / kDeletedShare);
        outgrown = has_graph_ && coded_ && coded_->outgrown(storage_);
        unsurveyed = has_graph_ && coded_ && coded_->is_survey_due(storage_);
        loose = storage_.loose();
    }
    if (sparse) {
        const SharedEntry change(changes_);
        const ExclusiveStep step(*this);
        if (is_sparse()) drop_graph();
    } else if (worn) {
        const SharedEntry change(changes_);
        bridge(nullptr);
    }
    if (!outgrown && !unsurveyed && !loose) return;
    ExclusiveEntry change(changes_, std::try_to_lock);
    if (!change.owns_lock()) {
        if (++put_off_ < kMostPutOff) return;
        change.lock();
    }
    put_off_ = 0;
    if (outgrown) learn_again(threads);
    if (outgrown || unsurveyed) survey();
    if (storage_.loose()) shrink();
}

// Takes what is deleted out of the graph, in steps; goes on with what was stopped. False where
// somebody else is at it.
bool Index::bridge(const Watch* watch) {
    constexpr std::chrono::microseconds kPause{50};  // in which those come in who wait to link
    const std::unique_lock<std::mutex> one(repairing_, std::try_to_lock);
    if (!one.owns_lock()) return false;
    while (!step_repair()) {
        if (watch != nullptr) watch->check();
        std::this_thread::sleep_for(kPause);
    }
    return true;
}

// The same, until nothing is left. The only change.
void Index::bridge_all(const Watch* watch) {
    const std::lock_guard<std::mutex> one(repairing_);
    while (has_graph_ && storage_.deleted() > 0) {
        if (watch != nullptr) watch->check();
        step_repair();
    }
}

// True where there is no more to do. The change that made it necessary stands, even if there is no
// memory for this.
bool Index::step_repair() {
    const ExclusiveEntry writers(writers_);
    try {
        if (repair_ && repaired_graph_ != graphs_) repair_.reset();
        if (!repair_) return !begin_repair();
        if (!repair_->step(storage_, graph_, params_)) return false;
        end_repair();
    } catch (const std::bad_alloc&) {
        const ExclusiveEntry readers(readers_);
        drop_graph();
    }
    return true;
}

bool Index::begin_repair() {
    if (!has_graph_ || storage_.deleted() == 0) return false;
    if (find_entry(storage_, graph_) == kNoSlot) {
        const ExclusiveEntry readers(readers_);
        drop_graph();
        return false;
    }
    repair_.emplace(storage_, graph_, params_);
    repaired_graph_ = graphs_;
    if (coded_ && coded_->walks_rows()) {
        CodedGraph::Starts starts = coded_->choose_starts(graph_);
        const ExclusiveEntry readers(readers_);
        coded_->set_starts(std::move(starts));
    }
    return true;
}

// Gives the slots away that nothing leads to any more.
void Index::end_repair() {
    const std::span<const Slot> doomed = repair_->doomed();
    for (std::size_t first = 0; first < doomed.size(); first += kSlotsAtOnce) {
        const ExclusiveEntry readers(readers_);
        for (const Slot slot :
             doomed.subspan(first, std::min(kSlotsAtOnce, doomed.size() - first))) {
            give_away(slot);
        }
    }
    repair_.reset();
}

void Index::compact(const Watch* watch) {
    open_for_changes(watch);
    const auto deleted = [&] {
        const SharedLock lock(*this, watch);
        return has_graph_ ? storage_.deleted() : 0;
    };
    // One that was stopped, and then what was deleted since.
    for (int turn = 0; turn < 2 && deleted() > 0; ++turn) {
        changes_.lock_shared(watch);
        const SharedEntry change(changes_, std::adopt_lock);
        while (!bridge(watch)) rest(watch);
    }
    const ExclusiveEntry change = only_change(watch);
    bridge_all(watch);
    shrink();
}

// Lets others pass for some time: who waits for the exclusive side holds up all that come later,
// until the longest of those at work has ended.
ExclusiveEntry Index::only_change(const Watch* watch) {
    constexpr int kTurns = 1000;
    for (int turn = 0; turn < kTurns; ++turn) {
        ExclusiveEntry change(changes_, std::try_to_lock);
        if (change.owns_lock()) return change;
        rest(watch);
    }
    changes_.lock(watch);
    return ExclusiveEntry(changes_, std::adopt_lock);
}

// Learns codes from what there is now, aside. The only change.
void Index::learn_again(unsigned threads) {
    if (!has_graph_ || !coded_->outgrown(storage_)) return;
    std::unique_ptr<CodedGraph> coded;
    try {
        std::vector<Slot> slots;
        for (Slot slot = 0; slot < graph_.slots(); ++slot) {
            if (graph_.contains(slot)) slots.push_back(slot);
        }
        coded = rounded(slots, threads);
        coded->train(storage_, slots, threads);
    } catch (const std::bad_alloc&) {
        return;  // the old ones do until the next time
    }
    const ExclusiveStep step(*this);
    try {
        coded->attach(graph_, threads);
    } catch (const std::bad_alloc&) {
        drop_graph();
        return;
    }
    coded_.swap(coded);
    storage_.outdate();
}

// Learns how far walks by codes go. The only change.
void Index::survey() {
    if (!has_graph_ || !coded_ || !coded_->is_survey_due(storage_)) return;
    try {
        Reach reach = coded_->survey(storage_, graph_);
        const ExclusiveStep step(*this);
        coded_->set_reach(std::move(reach), storage_);
    } catch (const std::bad_alloc&) {
        return;  // walks go by their width until the next time
    }
}

// Rows move together once so many are unused that it is worth it: where to is settled beside
// searches, so that they wait for the move alone. The only change.
void Index::shrink() {
    bridge_all(nullptr);
    if (storage_.slots() == storage_.live() && storage_.capacity() == storage_.live()) return;
    std::vector<Slot> moved;
    std::optional<Graph> graph;
    std::optional<CodedGraph::Arrays> coded;
    try {
        moved = storage_.packed();
        const std::size_t live = storage_.live();
        if (has_graph_) graph = graph_.renumbered(moved, live);
        if (has_graph_ && coded_) coded = coded_->renumbered(moved, live);
    } catch (const std::bad_alloc&) {
        return;
    }
    {
        const ExclusiveStep step(*this);
        ++graphs_;
        if (graph) graph_ = std::move(*graph);
        if (coded) coded_->adopt(std::move(*coded));
        try {
            storage_.compact(moved);
        } catch (const std::bad_alloc&) {
            drop_graph();
        }
    }
    const std::lock_guard<std::mutex> guard(contexts_mutex_);
    contexts_.clear();  // their size is that of the largest index they have seen
}

}  // namespace llmspell::index

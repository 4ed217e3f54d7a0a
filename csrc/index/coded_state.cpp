// What a snapshot holds of codes besides the codes themselves; see docs/reference/snapshot.md.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "index/coded.hpp"

namespace llmspell::index {
namespace {

template <class T>
void put(std::vector<std::byte>& out, const T* values, std::size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    const std::size_t at = out.size();
    out.resize(at + count * sizeof(T));
    if (count > 0) std::memcpy(out.data() + at, values, count * sizeof(T));
}

template <class T>
void put(std::vector<std::byte>& out, const T& value) {
    put(out, &value, 1);
}

template <class T>
bool take(std::span<const std::byte>& in, T* values, std::size_t count) {
    if (in.size() / sizeof(T) < count) return false;
    if (count > 0) std::memcpy(values, in.data(), count * sizeof(T));
    in = in.subspan(count * sizeof(T));
    return true;
}

template <class T>
bool take(std::span<const std::byte>& in, T& value) {
    return take(in, &value, 1);
}

bool take_floats(std::span<const std::byte>& in, std::vector<float>& out, std::size_t count) {
    if (in.size() / sizeof(float) < count) return false;
    out.resize(count);
    take(in, out.data(), count);
    for (const float x : out) {
        if (!std::isfinite(x)) return false;
    }
    return true;
}

bool is_unit(float x) { return std::isfinite(x) && x >= std::numeric_limits<float>::min(); }

struct Start {
    std::uint64_t trained_for, nodes, surveyed_for;
    std::uint32_t useful, start_rows;
    Slot root;
    std::uint32_t round;
};

}  // namespace

void Codebook::write(std::vector<std::byte>& out) const {
    put(out, static_cast<std::uint32_t>(groups_));
    put(out, static_cast<std::uint32_t>(stretches_.size()));
    put(out, nearest_);
    put(out, factor_unit_);
    put(out, leading_unit_);
    put(out, static_cast<std::uint32_t>(leading()));
    put(out, mean_.data(), mean_.size());
    put(out, leading_rows_.data(), leading_rows_.size());
    for (const Stretch& stretch : stretches_) {
        put(out, static_cast<std::uint32_t>(stretch.first));
        put(out, static_cast<std::uint32_t>(stretch.dims));
        put(out, static_cast<std::uint32_t>(stretch.axes));
        put(out, stretch.rows.data(), stretch.rows.size());
    }
    put(out, group_ends_.data(), group_ends_.size());
    put(out, points_.data(), points_.size());
}

bool Codebook::read(std::span<const std::byte>& in) {
    std::uint32_t groups = 0, stretches = 0, leading = 0;
    if (!take(in, groups) || !take(in, stretches) || !take(in, nearest_) ||
        !take(in, factor_unit_) || !take(in, leading_unit_) || !take(in, leading) || groups == 0 ||
        groups > kMaxGroups || groups % kGroupsStep != 0 || stretches > dim_ ||
        leading > kMaxLeading || leading % 2 != 0 || (leading > 0 && metric_ != Metric::l2) ||
        !std::isfinite(nearest_) || !is_unit(factor_unit_) || !is_unit(leading_unit_) ||
        !take_floats(in, mean_, dim_) || !take_floats(in, leading_rows_, leading * dim_)) {
        return false;
    }
    groups_ = groups;
    std::size_t width = 0;
    stretches_.clear();
    for (std::uint32_t i = 0; i < stretches; ++i) {
        std::uint32_t first = 0, dims = 0, axes = 0;
        if (!take(in, first) || !take(in, dims) || !take(in, axes) || dims > kMaxStretch ||
            first > dim_ || dims > dim_ - first || axes > dims) {
            return false;
        }
        Stretch stretch(first, dims);
        stretch.axes = axes;
        if (!take_floats(in, stretch.rows, std::size_t{axes} * dims)) return false;
        stretches_.push_back(std::move(stretch));
        width += axes;
    }
    group_ends_.resize(groups);
    if (!take(in, group_ends_.data(), groups)) return false;
    for (std::size_t g = 0; g < groups; ++g) {
        if (group_ends_[g] > width || (g > 0 && group_ends_[g] < group_ends_[g - 1])) return false;
    }
    if (group_ends_.back() != width || !take_floats(in, points_, width * kGroupPoints)) {
        return false;
    }
    round_axes();
    return true;
}

void Reach::write(std::vector<std::byte>& out) const {
    put(out, static_cast<std::uint32_t>(ranks_.size()));
    put(out, least_);
    put(out, error2_);
    put(out, ranks_.data(), ranks_.size());
}

bool Reach::read(std::span<const std::byte>& in) {
    std::uint32_t count = 0;
    if (!take(in, count) || !take(in, least_) || !take(in, error2_) || count == 1 ||
        count > kRanks || !std::isfinite(least_) || !std::isfinite(error2_)) {
        return false;
    }
    ranks_.resize(count);
    return take(in, ranks_.data(), count) &&
           std::all_of(ranks_.begin(), ranks_.end(), [](double key) { return std::isfinite(key); });
}

std::vector<std::byte> CodedGraph::state() const {
    std::vector<std::byte> out;
    put(out, Start{trained_for_, starts_.nodes, surveyed_for_, useful_ ? 1u : 0u,
                   static_cast<std::uint32_t>(useful_ ? starts_.count : 0), starts_.root,
                   useful_ && round_ ? 1u : 0u});
    if (!useful_ || rounded_) return out;
    codes_.codebook().write(out);
    reach_.write(out);
    put(out, starts_.rows.data(), starts_.rows.size());
    return out;
}

bool CodedGraph::restore(std::span<const std::byte> state, const Graph& graph) {
    Start start{};
    if (!take(state, start) || start.useful > 1 || start.round > start.useful) return false;
    trained_for_ = start.trained_for;
    starts_.nodes = start.nodes;
    surveyed_for_ = start.surveyed_for;
    starts_.root = start.root;
    useful_ = start.useful == 1;
    round_ = start.round == 1;
    if ((round_ && !refined_) || (rounded_ && useful_ != round_)) return false;
    if (!useful_ || rounded_) return state.empty();
    if (!codes_.restore(state) || !reach_.read(state)) return false;
    RowLayout layout = codes_.layout();
    layout.blocks = 1;
    starts_.count = start.start_rows;
    if (starts_.count == 0 || state.size() / layout.bytes() != starts_.count ||
        state.size() % layout.bytes() != 0) {
        return false;
    }
    starts_.rows.resize(state.size());
    std::memcpy(starts_.rows.data(), state.data(), state.size());
    for (std::size_t row = 0; row < starts_.count; ++row) {
        const auto* ids = reinterpret_cast<const Slot*>(starts_.rows.data() + row * layout.bytes());
        for (std::size_t i = 0; i < kBlock; ++i) {
            const bool node = ids[i] < graph.slots() && graph.contains(ids[i]);
            if (!node && (ids[i] != kNoSlot || (i == 0 && row + 1 == starts_.count))) return false;
        }
        if (row + 1 == starts_.count && ids[0] != starts_.root) return false;
    }
    return true;
}

}  // namespace llmspell::index

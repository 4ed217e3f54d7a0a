// Which candidates become links.
#include "index/select.hpp"

#include <cmath>
#include <vector>

#include "check.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

// What is selected of points on a line, nearest first, for a node at 0; here each is behind those
// before it.
std::vector<float> selected(Metric metric, const std::vector<float>& points, std::size_t limit) {
    Storage storage(Quantiser(1, metric, simd::ElementType::f32));
    storage.reserve(points.size());
    std::vector<Candidate> candidates;
    for (std::size_t i = 0; i < points.size(); ++i) {
        const Slot slot = put(storage, i, &points[i]);
        candidates.push_back(
            {metric == Metric::l2 ? points[i] * points[i] : std::fabs(points[i]), slot});
    }
    std::vector<Slot> slots;
    SearchContext context;
    select_neighbours(storage, candidates, limit, slots, context);
    std::vector<float> out;
    for (const Slot slot : slots) out.push_back(points[slot]);
    return out;
}

using Points = std::vector<float>;

void few_links_are_joined_by_some_that_lie_a_little_behind_others() {
    // 6 is 5 from 1, which isn't 1.22 times nearer than 6 from 0, but 5 is 4 from it, which is.
    const Points line{1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 7.0f};
    CHECK(selected(Metric::l2, line, 8) == (Points{1.0f, 6.0f}));
    CHECK(selected(Metric::l1, line, 8) == (Points{1.0f, 6.0f}));
}

void no_more_than_half_of_the_links_are_such() {
    const Points line{1.0f, 6.0f, 40.0f, -2.0f};
    CHECK(selected(Metric::l2, line, 8) == (Points{1.0f, -2.0f, 6.0f, 40.0f}));
    CHECK(selected(Metric::l2, line, 4) == (Points{1.0f, -2.0f}));
}

// Directions from the node's, in the plane: at angles between 0 and a right one.
std::vector<float> angles_selected(Metric metric, const std::vector<float>& angles) {
    Storage storage(Quantiser(2, metric, simd::ElementType::f32));
    storage.reserve(angles.size());
    std::vector<Candidate> candidates;
    for (std::size_t i = 0; i < angles.size(); ++i) {
        const float vector[2] = {std::cos(angles[i]), std::sin(angles[i])};
        candidates.push_back({-vector[0], put(storage, i, vector)});
    }
    std::vector<Slot> slots;
    SearchContext context;
    select_neighbours(storage, candidates, 8, slots, context);
    std::vector<float> out;
    for (const Slot slot : slots) out.push_back(angles[slot]);
    return out;
}

void angles_are_as_distances_but_inner_products_are_not() {
    const Points angles{0.1f, 0.2f, 0.3f, 0.7f};
    CHECK(angles_selected(Metric::cosine, angles) == (Points{0.1f, 0.7f}));
    CHECK(angles_selected(Metric::ip, angles) == (Points{0.1f}));
}

void copies_are_selected_once() {
    CHECK(selected(Metric::l2, {1.0f, 1.0f, 1.0f, -3.0f, -3.0f}, 16) == (Points{1.0f, -3.0f}));
}

}  // namespace

int main() {
    few_links_are_joined_by_some_that_lie_a_little_behind_others();
    no_more_than_half_of_the_links_are_such();
    angles_are_as_distances_but_inner_products_are_not();
    copies_are_selected_once();
    return check_result();
}

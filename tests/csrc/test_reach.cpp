// From the width of a walk to how far it goes.
#include "index/reach.hpp"

#include <cmath>
#include <vector>

#include "check.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

bool close(double a, double b) { return std::fabs(a - b) < 1e-4 * std::max(1.0, std::fabs(b)); }

void a_walk_reaches_as_far_as_its_width_does_on_average() {
    Reach reach(Metric::ip);
    CHECK(!reach.known());
    reach.start(0.0f);
    std::vector<float> first, second;
    for (int i = 0; i < 100; ++i) {
        first.push_back(-1.0f + 0.01f * static_cast<float>(i));
        second.push_back(-0.5f + 0.03f * static_cast<float>(i));
    }
    reach.add_walk(first, std::vector<float>{0.1f, -0.1f});
    reach.add_walk(second, std::vector<float>{5.1f, 4.9f});  // as exact, whatever all are off by
    reach.finish();
    CHECK(reach.known());
    const WalkReach found = reach.at(10, 30);
    CHECK(found.rank == 9);
    CHECK(close(found.expanded, 20 * 0.02));
    CHECK(found.kept > found.expanded / 2 + 0.1 && found.kept >= found.expanded);
    CHECK(found.slope == 0.0f && found.least == 1.0f);
    CHECK(reach.at(10, 10).expanded == 0.0f && reach.at(10, 3).expanded == 0.0f);
    CHECK(reach.at(10, 10).kept > 0.1f);
    CHECK(reach.at(10, 400).expanded > reach.at(10, 200).expanded);
    CHECK(reach.at(200, 400).expanded > 0.0f && reach.at(200, 400).rank == 199);
    reach.clear();
    CHECK(!reach.known());
}

void squared_distances_are_compared_by_their_ratio() {
    Reach reach(Metric::l2);
    reach.start(0.001f);
    std::vector<float> near, far;
    for (int i = 0; i < 64; ++i) {
        near.push_back(0.01f * std::exp2(static_cast<float>(i) / 16.0f));
        far.push_back(100.0f * near.back());
    }
    near.front() = -0.002f;  // an estimate that is off
    reach.add_walk(near, {});
    reach.add_walk(far, {});
    reach.finish();
    const WalkReach found = reach.at(16, 32);
    CHECK(close(found.expanded, 1.0) && found.slope == 1.0f && found.least == 0.001f);
    CHECK(close(found.beyond(4.0f, 0.5f), 6.0));
    CHECK(close(found.beyond(0.0001f, 2.0f), 0.0021));
    CHECK(close(found.beyond(-7.0f, 2.0f), 0.002));  // as if it were 0
    CHECK(close(WalkReach{}.beyond(-7.0f, 2.0f), -5.0));
}

void walks_that_found_too_little_tell_nothing() {
    Reach reach(Metric::cosine);
    reach.start(0.0f);
    reach.add_walk(std::vector<float>{1.0f, 2.0f, 3.0f}, {});
    reach.add_walk(std::vector<float>{1.0f}, {});
    reach.finish();
    CHECK(!reach.known());
}

}  // namespace

int main() {
    a_walk_reaches_as_far_as_its_width_does_on_average();
    squared_distances_are_compared_by_their_ratio();
    walks_that_found_too_little_tell_nothing();
    return check_result();
}

// From measured points to a width, and which queries are kept to measure with.
#include "index/calibration.hpp"

#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.hpp"
#include "check.hpp"

using namespace llmspell::index;

namespace {

void a_width_is_the_least_whose_lower_estimate_reaches_the_target() {
    RecallCurve curve;
    curve.points = {{10, 0.815, 0.01}, {40, 0.915, 0.01}, {160, 0.99, 0.01}};
    CHECK(curve.width_for(0.5) == 10);
    CHECK(curve.width_for(0.799) == 10);
    const std::size_t halfway = curve.width_for(0.85).value_or(0);  // by the logarithm
    CHECK(halfway == 20 || halfway == 21);                          // rounded up
    CHECK(curve.width_for(0.899) == 40);
    CHECK(!curve.width_for(0.98));
    curve.points.clear();
    CHECK(!curve.width_for(0.1));
}

void a_k_stands_for_those_up_to_it() {
    const std::vector<std::size_t> asked = {1, 2, 3, 5, 6, 10, 11, 21, 100, 501};
    const std::vector<std::size_t> stands = {1, 2, 5, 5, 10, 10, 20, 50, 100, 1000};
    for (std::size_t i = 0; i < asked.size(); ++i) CHECK(k_class(asked[i]) == stands[i]);
}

void what_has_changed_is_a_share_of_the_vectors() {
    RecallCurve curve;
    curve.vectors = 200;
    curve.version = 1000;
    CHECK(curve.changed(900) == 0.0);
    CHECK(curve.changed(1020) == 0.1);
    CHECK(curve.changed(9000) == 1.0);
    curve.before = 30;
    CHECK(curve.changed(900) == 0.15);
    CHECK(curve.changed(1020) == 0.25);
}

void a_curve_that_nobody_can_measure_is_refused() {
    const auto refused = [](const RecallCurve& curve, double changed) {
        try {
            check_curve(curve, changed);
            return false;
        } catch (const llmspell::Error& error) {
            return error.code() == llmspell::ErrorCode::input;
        }
    };
    RecallCurve curve;
    curve.k = 10;
    curve.vectors = 100;
    curve.points = {{10, 0.9, 0.01}, {14, 1.0, 0.01}};
    CHECK(!refused(curve, 0.0) && !refused(curve, 1.0));
    CHECK(refused(curve, -0.1) && refused(curve, 1.1) && refused(curve, std::nan("")));
    curve.k = 9;
    CHECK(refused(curve, 0.0));
    curve.k = 10;
    curve.vectors = 0;
    CHECK(refused(curve, 0.0));
    curve.vectors = 100;
    for (const RecallPoint& bad :
         {RecallPoint{14, 1.0, 0.01}, RecallPoint{15, 1.1, 0.01}, RecallPoint{15, 1.0, -1.0}}) {
        curve.points.resize(2);
        curve.points.push_back(bad);
        CHECK(refused(curve, 0.0));
    }
}

void queries_are_recorded_from_the_first_curve_on_and_the_last_are_kept() {
    constexpr std::size_t kBytes = 4;
    const auto offer = [](Calibration& calibration, std::uint32_t first, std::size_t count) {
        std::vector<std::byte> queries(count * kBytes);
        for (std::size_t i = 0; i < count; ++i) {
            const auto number = static_cast<std::uint32_t>(first + i);
            std::memcpy(&queries[i * kBytes], &number, kBytes);
        }
        calibration.offer(queries.data(), count, kBytes);
    };
    Calibration calibration;
    offer(calibration, 0, 4096);
    CHECK(calibration.recorded() == 0 && calibration.recent(kBytes).empty());
    calibration.set({});
    for (std::uint32_t i = 0; i < 2000; ++i) offer(calibration, i, 1);
    const std::uint64_t quarter = calibration.recorded();
    CHECK(quarter > 400 && quarter < 600);
    offer(calibration, 2000, 4000);
    CHECK(calibration.recorded() > Calibration::kRecent);
    const std::uint64_t before = calibration.recorded();
    offer(calibration, 1'000'000, 64'000);
    CHECK(calibration.recorded() - before > 800 && calibration.recorded() - before < 1200);
    const std::vector<std::byte> recent = calibration.recent(kBytes);
    CHECK(recent.size() == Calibration::kRecent * kBytes);
}

void a_query_that_comes_in_again_counts_once() {
    Calibration calibration;
    calibration.set({});
    const std::byte two[] = {std::byte{7}, std::byte{9}};
    for (int i = 0; i < 100; ++i) calibration.offer(two, 2, 1);
    CHECK(calibration.recorded() > 20);
    CHECK(calibration.recent(1).size() == 2);
}

void a_curve_takes_the_place_of_the_one_for_the_same_walks() {
    Calibration calibration;
    for (const bool coded : {true, false, true}) {
        RecallCurve curve;
        curve.k = 10;
        curve.coded = coded;
        curve.vectors = calibration.all().size() + 1;
        calibration.set(curve);
    }
    CHECK(calibration.all().size() == 2);
    CHECK(calibration.find(10, true)->vectors == 3);
    CHECK(calibration.find(10, false)->vectors == 2);
    CHECK(calibration.find(20, true) == nullptr);
}

}  // namespace

int main() {
    a_width_is_the_least_whose_lower_estimate_reaches_the_target();
    a_k_stands_for_those_up_to_it();
    what_has_changed_is_a_share_of_the_vectors();
    a_curve_that_nobody_can_measure_is_refused();
    queries_are_recorded_from_the_first_curve_on_and_the_last_are_kept();
    a_query_that_comes_in_again_counts_once();
    a_curve_takes_the_place_of_the_one_for_the_same_walks();
    return check_result();
}

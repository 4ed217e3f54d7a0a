// From measured points to a width, and which queries are kept to measure with.
#include "index/calibration.hpp"

#include <vector>

#include "check.hpp"

using namespace llmspell::index;

namespace {

void a_width_is_the_least_whose_lower_estimate_reaches_the_target() {
    RecallCurve curve;
    curve.points = {{10, 0.81, 0.01}, {40, 0.91, 0.01}, {160, 0.99, 0.01}};
    CHECK(curve.width_for(0.5) == 10);
    CHECK(curve.width_for(0.80) == 10);
    CHECK(curve.width_for(0.85) == 20);  // halfway by the logarithm
    CHECK(curve.width_for(0.90) == 40);
    CHECK(curve.width_for(0.98) == 160);
    CHECK(!curve.width_for(0.985));
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
}

void queries_are_recorded_from_the_first_curve_on_and_the_last_are_kept() {
    Calibration calibration;
    std::vector<std::byte> queries(4096);
    for (std::size_t i = 0; i < queries.size(); ++i) queries[i] = static_cast<std::byte>(i / 64);
    calibration.offer(queries.data(), queries.size(), 1);
    CHECK(calibration.recorded() == 0 && calibration.recent().empty());
    calibration.set({});
    for (std::size_t i = 0; i < 2048; ++i) calibration.offer(queries.data() + i, 1, 1);
    CHECK(calibration.recorded() == Calibration::kRecent);  // one in four
    CHECK(calibration.recent()[16] == std::byte{1});
    calibration.offer(queries.data(), queries.size(), 1);
    CHECK(calibration.recorded() == Calibration::kRecent + 64);  // one in 64
    const std::vector<std::byte> recent = calibration.recent();
    CHECK(recent.size() == Calibration::kRecent);
    CHECK(recent[63] == std::byte{63} && recent[64] == std::byte{4});
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
    queries_are_recorded_from_the_first_curve_on_and_the_last_are_kept();
    a_curve_takes_the_place_of_the_one_for_the_same_walks();
    return check_result();
}

// What the ledger's calls cost in C++: a charge of each kind, and a reservation with its
// settlement. The least of several rounds, in nanoseconds a call: wall time by the calls of all
// threads together, which charge the same slot.
//
//   bench_ledger [rounds = 9] [calls of a thread = 1000000] [threads = 1]
#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ledger/ledger.hpp"
#include "ledger/reservation.hpp"

using namespace llmspell::ledger;

namespace {

constexpr std::int64_t kLimit = std::int64_t{1} << 36;

struct Plan {
    int rounds;
    int calls;
    int threads;
};

// Prints what `call` takes; returns how many of the calls were refused.
template <typename Call>
long report(const char* name, const Plan& plan, Call call) {
    using namespace std::chrono;
    double least = 1e300;
    std::atomic<long> refused{0};
    for (int round = 0; round < plan.rounds; ++round) {
        std::barrier together(plan.threads);
        std::vector<std::jthread> threads;
        // Each thread looks at the clock itself: another one may run late.
        std::vector<steady_clock::time_point> begins(plan.threads), ends(plan.threads);
        for (int number = 0; number < plan.threads; ++number) {
            threads.emplace_back([&, number] {
                long mine = 0;
                together.arrive_and_wait();
                begins[number] = steady_clock::now();
                for (int i = 0; i < plan.calls; ++i) mine += call() ? 0 : 1;
                ends[number] = steady_clock::now();
                refused += mine;
            });
        }
        threads.clear();
        const duration<double, std::nano> passed = *std::max_element(ends.begin(), ends.end()) -
                                                   *std::min_element(begins.begin(), begins.end());
        least = std::min(least, passed.count() / plan.calls / plan.threads);
    }
    std::printf("%-28s %7.1f ns\n", name, least);
    return refused;
}

}  // namespace

int main(int argc, char** argv) {
    const Plan plan{argc > 1 ? std::atoi(argv[1]) : 9, argc > 2 ? std::atoi(argv[2]) : 1'000'000,
                    argc > 3 ? std::atoi(argv[3]) : 1};
    std::string name = (std::filesystem::temp_directory_path() / "ledgerXXXXXX").string();
    const std::filesystem::path directory = mkdtemp(name.data());
    std::unique_ptr<Ledger> ledger;
    int error = 0;
    Handle slot;
    if (Ledger::open(directory / "ledger", 64, system_environment, ledger, error) != Status::ok ||
        ledger->slot({1, 2}, slot, error) != Status::ok) {
        std::fprintf(stderr, "no ledger in %s: error %d\n", directory.c_str(), error);
        return 1;
    }
    std::filesystem::remove_all(directory);
    long refused = 0;
    constexpr const char* names[] = {"documents",  "vectors",    "storage",
                                     "dimensions", "embeddings", "tokens",
                                     "cost",       "api_calls",  "queries"};
    for (std::size_t i = 0; i < quota_count; ++i)
        set_limit(slot, static_cast<Quota>(i), kLimit, false);
    refused += report("read the clock", plan, [&] { return ledger->now().boot_ns != 0; });
    const Now fixed = ledger->now();
    for (std::size_t i = 0; i < quota_count; ++i) {
        const auto quota = static_cast<Quota>(i);
        refused += report(("charge " + std::string(names[i])).c_str(), plan, [&] {
            Refusal refusal;
            Receipt receipt;
            return try_charge(slot, {quota, 1}, fixed, refusal, receipt);
        });
    }
    refused += report("charge a call and a query", plan, [&] {
        Refusal refusal;
        Receipt receipt;
        const Item items[] = {{Quota::api_calls, 1}, {Quota::queries, 1}};
        return try_charge_all(slot, items, fixed, refusal, receipt);
    });
    const std::uint64_t owner = own_process();
    refused += report("reserve and settle levels", plan, [&] {
        Refusal refusal;
        Receipt receipt;
        Ticket ticket;
        const Item items[] = {{Quota::documents, 1}, {Quota::vectors, 10}, {Quota::storage, 4096}};
        return open_hold(slot, owner, ~std::uint64_t{0}, ticket) &&
               reserve(slot, ticket, items, fixed, refusal, receipt) &&
               settle(slot, ticket, {1, 10, 4096});
    });
    refused += report("reserve and settle tokens", plan, [&] {
        Refusal refusal;
        Receipt receipt;
        Ticket ticket;
        const Item items[] = {{Quota::tokens, 10}};
        return open_hold(slot, owner, ~std::uint64_t{0}, ticket) &&
               reserve(slot, ticket, items, fixed, refusal, receipt) && settle(slot, ticket, {});
    });
    if (refused != 0) std::printf("%ld refused: the figures are of refusals too\n", refused);
    return refused == 0 ? 0 : 1;
}

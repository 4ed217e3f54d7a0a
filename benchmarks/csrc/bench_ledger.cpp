// What the ledger's calls cost in C++: a charge of each kind, and a reservation with its
// settlement. The least of several rounds, in nanoseconds a call, on one thread.
//
//   bench_ledger [rounds = 9] [calls = 1000000]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "ledger/ledger.hpp"
#include "ledger/reservation.hpp"

using namespace llmspell::ledger;

namespace {

constexpr std::int64_t kLimit = std::int64_t{1} << 36;

template <typename Call>
void report(const char* name, int rounds, int calls, Call call) {
    using namespace std::chrono;
    double least = 1e300;
    for (int round = 0; round < rounds; ++round) {
        const auto begin = steady_clock::now();
        for (int i = 0; i < calls; ++i) call();
        const duration<double, std::nano> passed = steady_clock::now() - begin;
        least = std::min(least, passed.count() / calls);
    }
    std::printf("%-28s %7.1f ns\n", name, least);
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 9;
    const int calls = argc > 2 ? std::atoi(argv[2]) : 1'000'000;
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
    int refused = 0;
    constexpr const char* names[] = {"documents",  "vectors",    "storage",
                                     "dimensions", "embeddings", "tokens",
                                     "cost",       "api_calls",  "queries"};
    for (std::size_t i = 0; i < quota_count; ++i)
        set_limit(slot, static_cast<Quota>(i), kLimit, false);
    report("read the clock", rounds, calls, [&] { refused += ledger->now().boot_ns == 0; });
    const Now fixed = ledger->now();
    for (std::size_t i = 0; i < quota_count; ++i) {
        const auto quota = static_cast<Quota>(i);
        report(("charge " + std::string(names[i])).c_str(), rounds, calls, [&] {
            Refusal refusal;
            Receipt receipt;
            refused += try_charge(slot, {quota, 1}, fixed, refusal, receipt) ? 0 : 1;
        });
    }
    report("charge a call and a query", rounds, calls, [&] {
        Refusal refusal;
        Receipt receipt;
        const Item items[] = {{Quota::api_calls, 1}, {Quota::queries, 1}};
        refused += try_charge_all(slot, items, fixed, refusal, receipt) ? 0 : 1;
    });
    const std::uint64_t owner = own_process();
    report("reserve and settle levels", rounds, calls, [&] {
        Refusal refusal;
        Receipt receipt;
        Ticket ticket;
        const Item items[] = {{Quota::documents, 1}, {Quota::vectors, 10}, {Quota::storage, 4096}};
        if (!open_hold(slot, owner, ~std::uint64_t{0}, ticket) ||
            !reserve(slot, ticket, items, fixed, refusal, receipt) ||
            !settle(slot, ticket, {1, 10, 4096})) {
            ++refused;
        }
    });
    report("reserve and settle tokens", rounds, calls, [&] {
        Refusal refusal;
        Receipt receipt;
        Ticket ticket;
        const Item items[] = {{Quota::tokens, 10}};
        if (!open_hold(slot, owner, ~std::uint64_t{0}, ticket) ||
            !reserve(slot, ticket, items, fixed, refusal, receipt) || !settle(slot, ticket, {})) {
            ++refused;
        }
    });
    if (refused != 0) std::printf("%d refused: the figures are of refusals too\n", refused);
    return refused == 0 ? 0 : 1;
}

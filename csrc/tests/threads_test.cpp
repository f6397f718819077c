// The pool of threads and the sweeps on it, for the thread sanitizer: every piece runs once,
// callers do not meet, the same threads give the same bits, beside busy neighbours too. OpenMP's
// pool is not looked at: its runtime is not built for the sanitizer.
#if defined(__linux__)
#include <sched.h>
#endif

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "calls.h"
#include "engine/shared_product.h"
#include "threads/crowd.h"
#include "threads/threads.h"

namespace tidegate::baseline {
extern const Kernels table;
}

namespace {

using namespace std::chrono_literals;
using namespace tests;

int failures = 0;

void expect(bool holds, const char* claim) {
    if (holds) return;
    ++failures;
    std::printf("not so: %s\n", claim);
}

bool every_piece_runs_once(int pieces, int threads) {
    std::vector<int> runs(static_cast<std::size_t>(pieces));
    tidegate::parallel_for(pieces, threads, [&](int i) { ++runs[static_cast<std::size_t>(i)]; });
    return std::all_of(runs.begin(), runs.end(), [](int n) { return n == 1; });
}

// Each piece waits for all the others, which only threads of their own can bring.
void meet(int pieces) {
    std::atomic<int> arrived{0};
    tidegate::parallel_for(pieces, [&](int) {
        ++arrived;
        while (arrived < pieces) std::this_thread::yield();
    });
}

// Of the calling thread.
int processors() {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
    return 0;
}

// Pieces that meet after the pool's threads have gone to sleep, on fewest processors.
int fewest_processors_after_sleep(int pieces) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> arrived{0}, fewest{processors()};
    tidegate::parallel_for(pieces, [&](int) {
        const int mine = processors();
        for (int known = fewest; mine < known && !fewest.compare_exchange_weak(known, mine);) {
        }
        ++arrived;
        while (arrived < pieces) std::this_thread::yield();
    });
    return fewest;
}

bool denormals_count() {
    volatile float tiny = 1e-40f;
    return tiny * 0.5f > 0;
}

Floats train(const CellKernels& cell, bool ragged, int threads, bool by_units) {
    Random random(1);
    // long enough for every thread to wake before the first is done
    Problem problem(tidegate::baseline::table, cell, {20, 12, 3, 33},
                    {ragged, false, true, Masks::kShared, true, true, threads, by_units}, random);
    Calls calls(problem);
    Saved saved = calls.train();
    Floats all = saved.outputs.y;
    const Gradients gradients = calls.backward(saved);
    for (const Floats* each : gradients.all()) all.insert(all.end(), each->begin(), each->end());
    return all;
}

Floats multiply(Index rows, Index columns, Index depth, bool transposed) {
    Random random(2);
    const Floats a = draw(random, rows * depth, 1), b = draw(random, depth * columns, 1);
    Floats c = nans(rows * columns);
    tidegate::Product product{};
    product.a = {a.data(), transposed ? rows : depth, transposed};
    product.b = {b.data(), columns, false};
    product.c = c.data();
    product.stride = product.columns = columns;
    product.rows = rows;
    product.depth = depth;
    tidegate::multiply(tidegate::baseline::table, product, 2);
    return c;
}

// A thread that sleeps while it is watched looks like one whose processor was taken away.
void lose_processor(std::chrono::milliseconds time) {
    const tidegate::Watch watch;
    std::this_thread::sleep_for(time);
}

// Results of everything that runs otherwise in a crowd.
std::vector<Floats> results(bool in_crowd) {
    std::vector<Floats> all;
    const auto add = [&](const auto& result_of) {
        while (in_crowd && !tidegate::crowded()) lose_processor(12ms);
        all.push_back(result_of());
    };
    const tidegate::Kernels& kernels = tidegate::baseline::table;
    for (int i = 0; i < kernels.cell_count; ++i)
        for (const bool ragged : {false, true})
            for (const bool by_units : {false, true})
                add([&] { return train(kernels.cells[i], ragged, 2, by_units); });
    for (const bool transposed : {false, true}) {
        add([&] { return multiply(1733, 35, 9, transposed); });   // shares of rows, in pieces
        add([&] { return multiply(811, 1301, 7, transposed); });  // shares of columns
    }
    return all;
}

void check_crowd() {
    const std::vector<Floats> calm = results(false);
    bool stays_calm = false;  // other processes of this machine may make a crowd of their own
    for (int i = 0; i < 20 && !stays_calm; ++i) {
        std::this_thread::sleep_until(tidegate::end_of_crowd() + 200ms);
        lose_processor(3ms);
        stays_calm = !tidegate::crowded();
    }
    expect(stays_calm, "what the system takes now and then is no crowd");
    for (int i = 0; i < 3; ++i) lose_processor(3ms);
    expect(tidegate::crowded(), "losses soon after each other are a crowd");
    for (int pieces = 1; pieces <= 20; ++pieces)
        expect(every_piece_runs_once(pieces, 2), "every piece runs once in a crowd");
    meet(3);
    expect(results(true) == calm, "a crowd changes no bit");
    std::this_thread::sleep_until(tidegate::end_of_crowd());
    expect(!tidegate::crowded(), "a crowd that is not seen again has gone");
}

}  // namespace

int main() {
    for (int pieces = 1; pieces <= 5; ++pieces)
        for (int i = 0; i < 200; ++i)
            expect(every_piece_runs_once(pieces, pieces), "every piece runs once");
    for (int i = 0; i < 20; ++i) meet(3);
    for (int i = 0; i < 20; ++i)
        expect(fewest_processors_after_sleep(3) == processors(),
               "threads that slept come back, on all processors");
    expect(denormals_count(), "the caller's denormals survive");

    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int c = 0; c < 4; ++c)
        callers.emplace_back([&] {
            for (int i = 0; i < 200; ++i) wrong += !every_piece_runs_once(3, 3);
        });
    for (std::thread& caller : callers) caller.join();
    expect(wrong == 0, "callers at the same time do not meet");

    const tidegate::Kernels& kernels = tidegate::baseline::table;
    for (int i = 0; i < kernels.cell_count; ++i)
        for (const bool ragged : {false, true})
            for (const int threads : {2, 3})
                for (const bool by_units : {false, true})
                    expect(train(kernels.cells[i], ragged, threads, by_units) ==
                               train(kernels.cells[i], ragged, threads, by_units),
                           "the same threads give the same bits");
    check_crowd();
    std::printf("threads: %d failed\n", failures);
    return failures ? 1 : 0;
}

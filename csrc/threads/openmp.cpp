#include "openmp.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

#include <algorithm>
#include <atomic>
#include <optional>
#include <system_error>
#include <thread>

#include "crowd.h"
#include "flush.h"
#include "fork.h"

namespace tidegate {
namespace {

using Parallel = void (*)(void (*)(void*), void*, unsigned threads, unsigned flags);
using Processors = int (*)();

std::atomic<Parallel> gomp_parallel{nullptr};
std::atomic<Processors> omp_processors{nullptr};
std::atomic<bool> sleeping{false};

// A forked child has none of the parent's threads, and libgomp cannot start new ones in it.
void forget() {
    gomp_parallel = nullptr;
    sleeping = false;
}

thread_local std::optional<FlushToZero> flushed_here;

// Once in each thread of a team.
void in_each_thread(int threads, void (*change)(void*)) {
    if (threads < 2 || !on_openmp(threads, change, nullptr)) change(nullptr);
}

}  // namespace

bool adopt_openmp(const char* path) {
    static const bool registered = in_forked_child(forget);
    (void)registered;
#if defined(_WIN32)
    (void)path;  // torch's runtime has no GOMP_parallel there
    return false;
#else
    void* library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (!library) return false;
    omp_processors = reinterpret_cast<Processors>(dlsym(library, "omp_get_num_procs"));
    const auto found = reinterpret_cast<Parallel>(dlsym(library, "GOMP_parallel"));
    if (found) gomp_parallel = found;
    return found != nullptr;
#endif
}

bool on_openmp(int threads, void (*task)(void*), void* context) {
    const Parallel parallel = gomp_parallel;
    if (parallel) parallel(task, context, static_cast<unsigned>(threads), 0);
    return parallel != nullptr;
}

// libgomp's threads spin for milliseconds where they wait, but hardly at all while it counts more
// threads than processors (its manual, GOMP_SPINCOUNT). That cannot be set once it is loaded; so it
// gets the missing threads, as another team, which sleeps until the crowd has gone.
void let_openmp_sleep(int threads) {
    const Parallel parallel = gomp_parallel;
    const Processors processors = omp_processors;
    if (!parallel || !processors) return;
    const int missing = std::max(2, processors() - threads + 2);  // one of them is its caller's
    if (missing > 2 * threads || sleeping.exchange(true)) return;
    try {
        std::thread([parallel, missing] {
            parallel([](void*) {}, nullptr, static_cast<unsigned>(missing), 0);
            while (crowded()) std::this_thread::sleep_until(end_of_crowd());
            sleeping = false;
        }).detach();
    } catch (const std::system_error&) {  // no more threads for this process: it spins on
        sleeping = false;
    }
}

FlushedTeam::FlushedTeam(int threads) : threads_(threads) {
    in_each_thread(threads_, [](void*) {
        if (!flushed_here) flushed_here.emplace();
    });
}

FlushedTeam::~FlushedTeam() {
    in_each_thread(threads_, [](void*) { flushed_here.reset(); });
}

}  // namespace tidegate

#include "threads.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace tidegate {
namespace {

// Denormal results and operands count as zero while it lives: each one costs microcode otherwise.
class FlushToZero {
  public:
#if defined(__x86_64__)
    FlushToZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~FlushToZero() { _mm_setcsr(before_); }

  private:
    unsigned before_;
#elif defined(__aarch64__)
    FlushToZero() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" ::"r"(before_ | (std::uint64_t{1} << 24)));
    }
    ~FlushToZero() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

  private:
    std::uint64_t before_;
#endif
};

// The pieces of one call; every thread takes the next one until none is left.
struct Work {
    void (*task)(void*, int);
    void* context;
    int count;
    std::atomic<int> next{0};

    void run() {
        const FlushToZero flush;
        for (int i; (i = next.fetch_add(1)) < count;) task(context, i);
    }
};

using GompParallel = void (*)(void (*)(void*), void*, unsigned threads, unsigned flags);
std::atomic<GompParallel> gomp_parallel{nullptr};

// Threads that sleep until there is work. Lives until the process ends.
class Pool {
  public:
    // False if another thread is using the pool.
    bool run(Work& work) {
        std::unique_lock<std::mutex> alone(in_use_, std::try_to_lock);
        if (!alone) return false;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            while (static_cast<int>(threads_.size()) < work.count - 1)
                threads_.emplace_back([this] { serve(); });
            work_ = &work;
            wanted_ = work.count - 1;
        }
        wake_.notify_all();
        work.run();
        std::unique_lock<std::mutex> lock(mutex_);
        wanted_ = 0;  // who has not come yet need not
        done_.wait(lock, [this] { return running_ == 0; });
        work_ = nullptr;
        return true;
    }

  private:
    void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return wanted_ > 0; });
            --wanted_;
            ++running_;
            Work* work = work_;
            lock.unlock();
            work->run();
            lock.lock();
            if (--running_ == 0) done_.notify_one();
        }
    }

    std::mutex in_use_, mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> threads_;
    Work* work_ = nullptr;
    int wanted_ = 0, running_ = 0;
};

std::atomic<Pool*> pool{nullptr};

// In a forked child the parent's threads do not exist: forget the pools that count on them.
void forget_pools() {
    gomp_parallel = nullptr;
    pool = nullptr;
}

Pool& own_pool() {
    static const int registered = pthread_atfork(nullptr, nullptr, forget_pools);
    (void)registered;
    Pool* current = pool.load();
    if (!current) {
        Pool* fresh = new Pool;
        if (pool.compare_exchange_strong(current, fresh)) return *fresh;
        delete fresh;
    }
    return *current;
}

}  // namespace

namespace {

thread_local std::optional<FlushToZero> flushed_here;

// Calls change(nullptr) once in each thread of the team, the caller's among them.
void in_each_thread(int threads, void (*change)(void*)) {
    const GompParallel gomp = gomp_parallel.load();
    if (gomp && threads > 1) {
        gomp(change, nullptr, static_cast<unsigned>(threads), 0);
    } else {
        change(nullptr);
    }
}

}  // namespace

FlushedTeam::FlushedTeam(int threads) : threads_(threads) {
    in_each_thread(threads_, [](void*) {
        if (!flushed_here) flushed_here.emplace();
    });
}

FlushedTeam::~FlushedTeam() {
    in_each_thread(threads_, [](void*) { flushed_here.reset(); });
}

void parallel_for(int count, void (*task)(void*, int), void* context) {
    Work work{task, context, count};
    if (count > 1) {
        if (const GompParallel gomp = gomp_parallel.load()) {
            gomp([](void* p) { static_cast<Work*>(p)->run(); }, &work, static_cast<unsigned>(count),
                 0);
            return;
        }
        if (own_pool().run(work)) return;
    }
    work.run();
}

bool adopt_openmp(const char* path) {
    static const int registered = pthread_atfork(nullptr, nullptr, forget_pools);
    (void)registered;
    void* library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (!library) return false;
    const auto found = reinterpret_cast<GompParallel>(dlsym(library, "GOMP_parallel"));
    if (found) gomp_parallel = found;
    return found != nullptr;
}

}  // namespace tidegate

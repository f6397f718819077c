#include "threads.h"

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>
#include <thread>

#include "crowd.h"
#include "flush.h"
#include "fork.h"
#include "openmp.h"

namespace tidegate {
namespace {

// The pieces of one call; every thread takes the next one until none is left.
struct Work {
    void (*task)(void*, int);
    void* context;
    int count, threads;
    std::atomic<int> next{0};

    void run() {
        const FlushToZero flush;
        std::optional<Watch> watch;
        if (threads > 1) watch.emplace();
        for (int i; (i = next.fetch_add(1)) < count;) task(context, i);
    }
};

// How long a thread of ours looks for more work, or for the end of the others', before it sleeps.
// To wake one takes 50 us and more; the layers of a network follow each other faster.
constexpr std::chrono::microseconds kAwake{500};

// Returns when condition() holds, and after kAwake; who wants the core meanwhile gets it. At once
// in a crowd: who gives a core away gets it back milliseconds later, but who is woken sooner.
template <class Condition>
void look_for(const Condition& condition) {
    if (crowded()) return;
    const auto end = std::chrono::steady_clock::now() + kAwake;
    while (!condition() && std::chrono::steady_clock::now() < end) {
        for (int i = 0; i < 8; ++i) pause();
        std::this_thread::yield();
    }
}

// The processors the caller may run on, and those among them it does not run on now.
struct Processors {
#if defined(__linux__)
    Processors() {
        if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;  // more than a set holds
        others = allowed;
        const int here = sched_getcpu();
        if (here >= 0) CPU_CLR(here, &others);
        known = CPU_COUNT(&others) > 0;
    }
    void keep(std::thread& thread, bool off_the_callers) const {
        if (known)
            pthread_setaffinity_np(thread.native_handle(), sizeof allowed,
                                   off_the_callers ? &others : &allowed);
    }

  private:
    cpu_set_t allowed, others;
    bool known = false;
#else
    void keep(std::thread&, bool) const {}
#endif
};

// Threads that look for work for a moment, then sleep until there is some. Lives until the process
// ends.
class Pool {
  public:
    // False if another thread is using the pool.
    bool run(Work& work) {
        std::unique_lock<std::mutex> alone(in_use_, std::try_to_lock);
        if (!alone) return false;
        // In a crowd one more, to take over from the first whose core the system gives to others.
        const int helpers = crowded() ? work.threads : work.threads - 1;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            while (static_cast<int>(workers_.size()) < helpers) {
                Worker& fresh = workers_.emplace_back();
                fresh.thread = std::thread([this, &fresh] { serve(fresh); });
            }
            wake_elsewhere();
            work_ = &work;
            wanted_ = helpers;
        }
        wake_.notify_all();
        work.run();
        std::unique_lock<std::mutex> lock(mutex_);
        wanted_ = 0;  // who has not come yet need not
        lock.unlock();
        look_for([this] { return running_ == 0; });
        lock.lock();
        done_.wait(lock, [this] { return running_ == 0; });
        work_ = nullptr;
        return true;
    }

  private:
    struct Worker {
        std::thread thread;
        bool asleep = false, kept_off = false;
    };

    // Linux in a virtual machine takes a halted processor for one the host has taken away, and
    // wakes a thread on its waker's, where it may stay for milliseconds: a call on two cores then
    // takes the time of one. So until they run, sleepers may wake on all processors but this.
    void wake_elsewhere() {
        bool any = false;
        for (const Worker& worker : workers_) any |= worker.asleep;
        if (!any) return;
        processors_ = Processors();
        for (Worker& worker : workers_)
            if (worker.asleep) {
                processors_.keep(worker.thread, true);
                worker.kept_off = true;
            }
    }

    void serve(Worker& self) {
        std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
        for (;;) {
            look_for([this] { return wanted_ > 0; });
            lock.lock();
            self.asleep = true;
            wake_.wait(lock, [this] { return wanted_ > 0; });
            self.asleep = false;
            if (self.kept_off) processors_.keep(self.thread, false);
            self.kept_off = false;
            --wanted_;
            ++running_;
            Work* work = work_;
            lock.unlock();
            work->run();
            lock.lock();
            if (--running_ == 0) done_.notify_one();
            lock.unlock();
        }
    }

    std::mutex in_use_, mutex_;
    std::condition_variable wake_, done_;
    std::list<Worker> workers_;
    Processors processors_;  // when sleepers were last woken
    Work* work_ = nullptr;
    std::atomic<int> wanted_{0}, running_{0};  // changed under mutex_
};

std::atomic<Pool*> pool{nullptr};

// In a forked child the parent's threads do not exist: forget the pool that counts on them.
void forget_pool() { pool = nullptr; }

Pool& own_pool() {
    static const bool registered = in_forked_child(forget_pool);
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

bool parallel_if_free(int count, int threads, void (*task)(void*, int), void* context) {
    Work work{task, context, count, threads};
    if (crowded()) {
        let_openmp_sleep(threads);  // all of whose threads would have to come: ours need not
    } else if (on_openmp(threads, [](void* p) { static_cast<Work*>(p)->run(); }, &work)) {
        return true;
    }
    return own_pool().run(work);
}

void parallel_for(int count, int threads, void (*task)(void*, int), void* context) {
    if (count > 1 && threads > 1 && parallel_if_free(count, threads, task, context)) return;
    Work{task, context, count, 1}.run();
}

}  // namespace tidegate

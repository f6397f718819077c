// Running independent pieces of one call on several threads.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace tidegate {

// Once more round a loop that waits for another thread.
inline void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Calls task(context, i) for 0 <= i < count, on up to `count` threads, and returns when all are
// done. In each of them denormals count as zero; the thread's own floating-point state comes back.
// Runs on the OpenMP pool given to adopt_openmp, else on threads of ours that sleep between calls.
void parallel_for(int count, void (*task)(void* context, int i), void* context);

// The same; false, and nothing done, if there are no other threads at hand.
bool parallel_if_free(int count, void (*task)(void* context, int i), void* context);

template <class Body>
void call_body(void* context, int i) {
    (*static_cast<const Body*>(context))(i);
}

template <class Body>
void parallel_for(int count, const Body& body) {
    parallel_for(count, call_body<Body>, const_cast<Body*>(&body));
}

template <class Body>
bool parallel_if_free(int count, const Body& body) {
    return parallel_if_free(count, call_body<Body>, const_cast<Body*>(&body));
}

// From construction to destruction denormals count as zero in the caller and, of an adopted OpenMP
// pool, in the threads of a team of `threads`: for torch's own products between our sweeps.
class FlushedTeam {
  public:
    explicit FlushedTeam(int threads);
    ~FlushedTeam();
    FlushedTeam(const FlushedTeam&) = delete;
    FlushedTeam& operator=(const FlushedTeam&) = delete;

  private:
    int threads_;
};

// Uses the pool of an OpenMP runtime this process has loaded already, torch's: two pools would take
// the cores from each other, since an OpenMP thread spins for a while when its work is done.
// Returns whether the library at `path` is loaded and has GOMP_parallel.
bool adopt_openmp(const char* path);

}  // namespace tidegate

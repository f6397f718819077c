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

// Calls task(context, i) for 0 <= i < count, on up to `threads` threads, and returns when all are
// done. In each of them denormals count as zero; the thread's own floating-point state comes back.
// Runs on the OpenMP pool given to adopt_openmp, else on threads of ours that sleep between calls;
// on those in any case while the machine is crowded, and then on one more.
void parallel_for(int count, int threads, void (*task)(void* context, int i), void* context);

// The same; false, and nothing done, if there are no other threads at hand.
bool parallel_if_free(int count, int threads, void (*task)(void* context, int i), void* context);

template <class Body>
void call_body(void* context, int i) {
    (*static_cast<const Body*>(context))(i);
}

template <class Body>
void parallel_for(int count, int threads, const Body& body) {
    parallel_for(count, threads, call_body<Body>, const_cast<Body*>(&body));
}

template <class Body>
void parallel_for(int count, const Body& body) {
    parallel_for(count, count, body);
}

template <class Body>
bool parallel_if_free(int count, const Body& body) {
    return parallel_if_free(count, count, call_body<Body>, const_cast<Body*>(&body));
}

}  // namespace tidegate

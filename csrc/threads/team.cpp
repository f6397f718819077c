#include "team.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <chrono>
#include <thread>

namespace tidegate {
namespace {

constexpr int kClosed = 1 << 30;
// As long as it takes to wake a thread, and some. Sweeps that are shared take longer.
constexpr std::chrono::microseconds kPatience{100};
// Between two meetings lies a microsecond; who waits for longer has lost a member its core.
constexpr int kPauses = 1000;

// -1 where the system does not tell.
int core_of_caller() {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

template <class Condition>
void wait_until(const Condition& condition) {
    for (int i = 0; !condition(); ++i) {
        if (i < kPauses) {
            pause();
        } else {
            std::this_thread::yield();
        }
    }
}

}  // namespace

Share Team::join() {
    const int core = core_of_caller();
    int joined = joined_.load();
    do {
        if (joined & kClosed) return {0, 0};
        if (joined > 0 && core >= 0 && core == first_core_) {
            ++left_out_;
            return {0, 0};
        }
    } while (!joined_.compare_exchange_weak(joined, joined + 1));
    if (joined == 0) {
        first_core_ = core;
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (joined_ + left_out_ < most_ && std::chrono::steady_clock::now() < end) pause();
        joined_.fetch_or(kClosed);
    }
    wait_until([this] { return joined_ & kClosed; });
    const auto meet = [](void* team) { static_cast<Team*>(team)->meet(); };
    return {joined, joined_ & ~kClosed, meet, this};
}

void Team::meet() {
    const unsigned before = meetings_;
    if (++arrived_ == (joined_ & ~kClosed)) {
        arrived_ = 0;
        meetings_ = before + 1;
    } else {
        wait_until([&] { return meetings_ != before; });
    }
}

}  // namespace tidegate

#include "crowd.h"

#include <time.h>

#include <atomic>
#include <mutex>

namespace tidegate {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// The system takes a processor away for a slice, 3 ms and more on Linux; interrupts are shorter.
constexpr auto kSlice = 1ms;
// So much is lost in a crowd before a tenth of a second goes by without a loss. A busy neighbour
// takes half of a processor; the system's own threads take one for 4 ms now and then.
constexpr auto kLost = 10ms;
constexpr auto kQuiet = 100ms;
// How long a crowd is remembered: to the next loss, once the threads wait for each other in sleep.
constexpr auto kRemembered = 250ms;

constexpr Clock::time_point kNever{};
std::atomic<Clock::time_point> crowd_ends{kNever};

std::mutex mutex;  // of these two
Clock::time_point last_loss{kNever};
Clock::duration lost{0};

// Of the calling thread, without the time it waited for a processor. Windows counts that in ticks
// of 16 ms, which cannot tell a slice: there it counts as computing, and no crowd is seen.
std::chrono::nanoseconds computed() {
#if defined(_WIN32)
    return Clock::now().time_since_epoch();
#else
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
#endif
}

}  // namespace

Watch::Watch() : began_(Clock::now()), computed_(computed()) {}

Watch::~Watch() {
    const Clock::time_point now = Clock::now();
    if (now - began_ < kSlice) return;
    const Clock::duration waited = (now - began_) - (computed() - computed_);
    if (waited < kSlice) return;
    const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
    if (!lock) return;  // another thread notes its own, or did so when this process was forked
    if (last_loss == kNever || began_ - last_loss > kQuiet) lost = Clock::duration::zero();
    last_loss = now;
    lost += waited;
    if (lost >= kLost) crowd_ends = now + kRemembered;
}

bool crowded() {
    const Clock::time_point ends = crowd_ends;
    return ends != kNever && Clock::now() < ends;
}

Clock::time_point end_of_crowd() { return crowd_ends; }

}  // namespace tidegate

#include "crowd.h"

#include <time.h>

#include <atomic>

namespace tidegate {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// The system takes a processor away for a slice, 3 ms and more on Linux; interrupts are shorter.
constexpr auto kSlice = 1ms;
// Two losses so close are no chance: a busy neighbour takes a slice in every 10 ms or so.
constexpr auto kSoon = 100ms;
// How long a crowd is remembered, so that it is not taken for gone between two slices.
constexpr auto kRemembered = 250ms;

constexpr Clock::time_point kNever{};
std::atomic<Clock::time_point> last_loss{kNever}, crowd_ends{kNever};

// Of the calling thread, without the time it waited for a processor.
std::chrono::nanoseconds computed() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

Watch::Watch() : began_(Clock::now()), computed_(computed()) {}

Watch::~Watch() {
    const Clock::time_point now = Clock::now();
    if (now - began_ < kSlice || (now - began_) - (computed() - computed_) < kSlice) return;
    const Clock::time_point before = last_loss.exchange(now);
    if (before != kNever && now - before < kSoon) crowd_ends = now + kRemembered;
}

bool crowded() {
    const Clock::time_point ends = crowd_ends;
    return ends != kNever && Clock::now() < ends;
}

Clock::time_point end_of_crowd() { return crowd_ends; }

}  // namespace tidegate

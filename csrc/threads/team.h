// Running one sweep on several threads that meet at every step.
#pragma once

#include <atomic>

#include "crowd.h"
#include "engine/sweeps.h"
#include "threads.h"

namespace tidegate {

class Team {
  public:
    explicit Team(int most) : most_(most) {}

    // The caller's share, among as many as came: the first waits for the others, but not for long,
    // since all of them may be busy elsewhere. Count 0: the caller is left out, having come too
    // late, or to the core of the first, where one of the two would always wait for the other.
    Share join();

  private:
    void meet();

    const int most_;
    std::atomic<int> joined_{0};  // and kClosed, once they have set off
    std::atomic<int> left_out_{0}, first_core_{-1};
    std::atomic<int> arrived_{0};
    std::atomic<unsigned> meetings_{0};
};

// Calls body(share) on up to `count` threads at a time, whose shares make up the whole. On one in a
// crowd, where one of them would be waited for at nearly every step.
template <class Body>
void side_by_side(int count, const Body& body) {
    Team team(count);
    const auto member = [&](int) {
        const Share share = team.join();
        if (share.count > 0) body(share);
    };
    if (count <= 1 || crowded() || !parallel_if_free(count, member))
        parallel_for(1, [&](int) { body(Share{}); });
}

}  // namespace tidegate

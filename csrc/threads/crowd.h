// Whether other work on the machine takes processors from the threads of this process.
#pragma once

#include <chrono>

namespace tidegate {

// Lives while a thread computes; notes if the system gave its processor to others meanwhile.
class Watch {
  public:
    Watch();
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

  private:
    std::chrono::steady_clock::time_point began_;
    std::chrono::nanoseconds computed_;
};

// Whether that happened a lot and not long ago. Who waits for another thread then does
// well to sleep: the other one may need the very processor.
bool crowded();

// When it will no longer have been so, if it does not happen again.
std::chrono::steady_clock::time_point end_of_crowd();

}  // namespace tidegate

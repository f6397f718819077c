// The most that a caller from outside may ask for.
#pragma once

#include <cstdint>

namespace tidegate {

// Beyond the processors of any machine: each of them may become a thread.
constexpr int kMostThreads = 1024;
// Of a batch, padding included: where arrays of them exist, their bytes fit 64 bits.
constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;

}  // namespace tidegate

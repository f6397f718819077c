// Memory for workspace and large results: freed blocks are kept for the next call, within a bound.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tidegate {

// Aligned to 64 bytes or more: a vector load that crosses a cache line takes two. Blocks of
// kSmallestKept bytes and more come from those freed before, where one fits: the system hands out
// fresh memory page by page at the first touch, which takes as long as the arithmetic on it.
// Contents are undefined.
class Buffer {
  public:
    explicit Buffer(std::int64_t floats);
    ~Buffer();
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    float* data() const { return data_; }

  private:
    std::size_t bytes_;
    float* data_;
};

constexpr std::size_t kSmallestKept = std::size_t{1} << 14;
// Of all freed blocks that are kept; beyond it those freed first go back to the system.
constexpr std::size_t kMostKept = std::size_t{1} << 28;

// Bytes of freed blocks kept now, at most kMostKept.
std::size_t kept_bytes();

}  // namespace tidegate

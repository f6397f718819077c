#include "memory.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace tidegate {
namespace {

constexpr std::size_t kLargePage = std::size_t{1} << 21;

// The address sanitizer must see each block's end, and fill what is fresh.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeeps = false;
#else
constexpr bool kKeeps = true;
#endif

bool is_kept(std::size_t bytes) { return kKeeps && bytes >= kSmallestKept; }

// Sizes of blocks: eight to each doubling, so that calls of other shapes find blocks that fit.
std::size_t round_up(std::size_t bytes) {
    if (!is_kept(bytes)) return bytes;
    std::size_t unit = kSmallestKept / 8;
    while (unit * 16 <= bytes) unit *= 2;
    return (bytes + unit - 1) / unit * unit;
}

std::align_val_t alignment(std::size_t bytes) {
    return std::align_val_t{bytes < kLargePage ? 64 : kLargePage};
}

void* fresh(std::size_t bytes) {
    void* data = ::operator new(bytes, alignment(bytes));
#ifdef MADV_HUGEPAGE
    // a refusal costs time and nothing else
    if (bytes >= kLargePage) (void)madvise(data, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);
#endif
    return data;
}

void release(void* data, std::size_t bytes) { ::operator delete(data, alignment(bytes)); }

struct Block {
    void* data;
    std::size_t bytes;
};

// Freed blocks, the one freed last at the end.
class Kept {
  public:
    // The block of this size, or up to a quarter larger, that was freed last; or a fresh one.
    Block take(std::size_t bytes) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            for (std::size_t i = blocks_.size(); i-- > 0;)
                if (blocks_[i].bytes >= bytes && blocks_[i].bytes <= bytes + bytes / 4) {
                    const Block found = blocks_[i];
                    blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(i));
                    total_ -= found.bytes;
                    return found;
                }
        }
        return {fresh(bytes), bytes};
    }

    void put(Block block) {
        std::lock_guard<std::mutex> lock(mutex_);
        std::size_t oldest = 0;
        while (oldest < blocks_.size() && total_ + block.bytes > kMostKept) {
            total_ -= blocks_[oldest].bytes;
            release(blocks_[oldest].data, blocks_[oldest].bytes);
            ++oldest;
        }
        blocks_.erase(blocks_.begin(), blocks_.begin() + static_cast<std::ptrdiff_t>(oldest));
        if (block.bytes > kMostKept) return release(block.data, block.bytes);
        blocks_.push_back(block);
        total_ += block.bytes;
    }

    std::size_t total() {
        std::lock_guard<std::mutex> lock(mutex_);
        return total_;
    }

  private:
    std::mutex mutex_;
    std::vector<Block> blocks_;
    std::size_t total_ = 0;
};

// Lives until the process ends: arrays made of its blocks may outlive every static object.
Kept& kept() {
    static Kept* const all = new Kept;
    return *all;
}

}  // namespace

Buffer::Buffer(std::int64_t floats)
    : bytes_(
          round_up(sizeof(float) * static_cast<std::size_t>(std::max<std::int64_t>(floats, 1)))) {
    const Block block = is_kept(bytes_) ? kept().take(bytes_) : Block{fresh(bytes_), bytes_};
    bytes_ = block.bytes;
    data_ = static_cast<float*>(block.data);
}

Buffer::~Buffer() {
    if (is_kept(bytes_)) {
        kept().put({data_, bytes_});
    } else {
        release(data_, bytes_);
    }
}

std::size_t kept_bytes() { return kept().total(); }

}  // namespace tidegate

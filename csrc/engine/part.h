// What one part of a batch, the rows of one thread or team, is given by a call: its rows of arrays
// [B, ...], and workspace for its sweep.
#pragma once

#include <memory>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "schedule.h"

namespace tidegate {

// Recurrent dropout: [B, W], or for each block of recurrent weights [blocks, B, W]; or null.
struct BatchMask {
    const float* data = nullptr;
    bool per_gate = false;
};

// rows [n, width] = those of the part in an array [B, width], and back.
void copy_rows(const float* all, const Schedule::Part& part, std::int64_t width, float* rows);
void put_rows(const float* rows, const Schedule::Part& part, std::int64_t width, float* all);

// all [B, width] = the part's last states: of a forward sweep's two blocks, each row's own was the
// last it wrote.
void put_last_rows(const Schedule::Part& part, std::int64_t width, float* const blocks[2],
                   float* all);

// The rows of one part of a [B, width] array, in the part's order; null stays null.
class PartRows {
  public:
    PartRows() = default;
    PartRows(const float* all, const Schedule::Part& part, std::int64_t width);
    const float* data() const { return rows_; }

  private:
    std::unique_ptr<Buffer> own_;
    const float* rows_ = nullptr;
};

// The same of a mask.
class PartMask {
  public:
    PartMask(const BatchMask& mask, std::int64_t batch, int blocks, const Schedule::Part& part,
             std::int64_t width);
    const Mask& rows() const { return mask_; }

  private:
    std::unique_ptr<Buffer> own_;
    Mask mask_;
};

// Workspace of one sweep, in blocks of just the size that it may touch.
class Workspace {
  public:
    // Null for none.
    float* take(std::int64_t floats);
    // What a forward sweep over n rows needs; in training the states beyond the first are kept
    // elsewhere.
    void fill(ForwardSweep& sweep, const Kernels& kernels, const Cell& cell, std::int64_t n,
              bool training);
    void fill(BackwardSweep& sweep, const Kernels& kernels, const Cell& cell, std::int64_t n);

  private:
    std::vector<std::unique_ptr<Buffer>> taken_;
};

// With rounded factors a step's products are made for all units at a time.
inline int sharers_of(const Kernels& kernels, const Schedule& schedule) {
    return kernels.rounded ? 1 : schedule.sharers;
}

}  // namespace tidegate

// One layer in one direction for inference.
#pragma once

#include <memory>

#include "kernels.h"
#include "part.h"
#include "schedule.h"

namespace tidegate {

// Its weights are packed once. Several threads may call forward() at a time, one step().
class Layer {
  public:
    // Weights packed by `threads`.
    Layer(const Kernels& kernels, const CellKernels& cell, std::int64_t inputs, const Sizes& sizes,
          const Weights& weights, int threads);

    // x: [T, B, I]; state0, final: of each state [B, W], which may be the same; y: [T, B, W] of the
    // first, zero from each row's length on.
    void forward(const Schedule& schedule, const float* x, const BatchMask& mask,
                 const float* const* state0, float* const* final, float* y) const;

    // x: [B, I]; states: [B, W] each, in and out. No memory is allocated while B does not grow.
    void step(const float* x, std::int64_t B, float* const* states);
    // What a step makes of x first, which depends on no state: [B, gates * H].
    void input_products(const float* x, std::int64_t B, float* products) const;
    // The rest of the step.
    void step_from(const float* products, std::int64_t B, float* const* states);

    const Cell& cell() const { return *kernel_->cell; }
    std::int64_t inputs() const { return inputs_; }
    const Sizes& sizes() const { return sizes_; }

  private:
    void forward_part(const Schedule& schedule, const Schedule::Part& part, const float* x,
                      const BatchMask& mask, const float* const* state0, float* const* final,
                      float* y) const;
    ForwardSweep sweep_of(const Mask& mask) const;
    void hold_step(std::int64_t B);
    void take_step(std::int64_t B, float* const* states);

    const Kernels* kernels_;
    const CellKernels* kernel_;
    std::int64_t inputs_, step_rows_ = 0;
    Sizes sizes_;
    Buffer input_panels_, panels_;
    const float* vectors_[kMostBlocks] = {};  // into own_vectors_
    Buffer own_vectors_;
    std::unique_ptr<Workspace> workspace_;  // of steps, and the sweep that uses it
    ForwardSweep step_{};
    float* step_affine_ = nullptr;
};

}  // namespace tidegate

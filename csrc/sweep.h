// One layer in one direction over a batch: which rows each thread runs, and its workspace.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"
#include "memory.h"

namespace tidegate {

// Where the tokens of a batch stand and which thread runs them.
//
// Rectangular batch (no lengths): token (t, b) is t * B + b, the layout of [T, B, ...] itself.
// Ragged: the tokens are packed part after part, within a part step after step, within a step the
// rows that are still alive; index[token] = t * B + b says where each comes from.
struct Schedule {
    struct Part {
        std::vector<std::int64_t> rows;     // b of each row, longest first
        std::vector<std::int64_t> lengths;  // of these rows
        std::vector<std::int64_t> start, count;
        std::int64_t first_token;
    };
    std::int64_t steps = 0, batch = 0, tokens = 0;
    std::vector<Part> parts;            // of the rows, each one thread's; or a single one,
    int sharers = 1;                    // whose units so many threads share
    std::vector<std::int64_t> index;    // empty if rectangular
    std::vector<std::int64_t> lengths;  // [B], empty if rectangular
    bool ragged = false, reverse = false;

    int threads() const { return std::max(static_cast<int>(parts.size()), sharers); }

    // Of a token in [T, B].
    std::int64_t place(std::int64_t token) const {
        return ragged ? index[static_cast<std::size_t>(token)] : token;
    }
};

// lengths: [B], each in 0 .. T, or null; threads >= 1 take rows each, or with `by_units` all rows,
// each some of the units.
Schedule make_schedule(std::int64_t T, std::int64_t B, const std::int64_t* lengths, bool reverse,
                       int threads, bool by_units);

// rows [n, H] = those of the part in an array [B, H].
void copy_rows(const float* all, const Schedule::Part& part, std::int64_t H, float* rows);
// final [B, H] = the part's last states: of a forward sweep's two blocks, each row's own was the
// last it wrote.
void put_final_h(const Schedule::Part& part, std::int64_t H, float* const h[2], float* final);
// rows [T, B, width] = 0 from each one's length on; share `share` of `shares`, which takes whole
// steps: threads that write neighbouring rows at a time take the cache lines from each other.
void zero_padding(const Schedule& schedule, int share, int shares, std::int64_t width, float* rows);

// tokens [N, width] = the true steps of rows [T, B, width], and back, zeros beyond each length.
void gather(const Schedule& schedule, std::int64_t width, const float* rows, float* tokens);
void scatter(const Schedule& schedule, std::int64_t width, const float* tokens, float* rows);

// The forward pass of training, which keeps what backward() needs.
// Arrays of a whole batch; [B, ...] ones in the caller's order of rows, [N, ...] ones by token.
struct ForwardCall {
    std::int64_t hidden;
    const float *weight_hh, *bias_hh, *mask;  // [G*H, H], [G*H] or null, [B, H] or null
    const float* state0[2];                   // [B, H]
    float *gates, *extra;                     // [N, G*H], [N, extra*H]
    float* states[2];                         // y: [T, B, H], zero from each length on; c: [N, H]
    float* final[2];                          // [B, H]
};
void forward(const CellKernels& cell, const Schedule& schedule, const ForwardCall& call);

struct BackwardCall {
    std::int64_t hidden;
    const float *weight_hh, *mask;
    const float* state0[2];
    const float *gates, *extra;
    const float* states[2];        // as forward() left them
    const float* d_y;              // [T, B, H] or null
    const float* d_final[2];       // [B, H] or null
    float *d_gates, *d_products;   // [N, G*H], [N, separate*H]
    float* d_state0[2];            // [B, H]
    float *d_bias_ih, *d_bias_hh;  // [G*H]
    float* operand;                // [N, H] or null
    float* second_operand;         // [N, H], if the cell is staged
    bool needs_d_state0;
};
void backward(const CellKernels& cell, const Schedule& schedule, const BackwardCall& call);

// One layer in one direction for inference, its weights packed once. Several threads may call
// forward() at a time, one step().
class Layer {
  public:
    // weight_ih: [G*H, I]; weight_hh: [G*H, H]; biases: [G*H] or null; packed by `threads`.
    Layer(const Kernels& kernels, const CellKernels& cell, std::int64_t inputs, std::int64_t hidden,
          const float* weight_ih, const float* weight_hh, const float* bias_ih,
          const float* bias_hh, int threads);

    // x: [T, B, I]; mask: [B, H] or null; state0, final: [B, H] each, which may be the same;
    // y: [T, B, H], zero from each row's length on.
    void forward(const Schedule& schedule, const float* x, const float* mask,
                 const float* const state0[2], float* const final[2], float* y) const;

    // x: [B, I]; states: [B, H] each, in and out. No memory is allocated while B does not grow.
    void step(const float* x, std::int64_t B, float* const states[2]);

    const CellKernels& cell() const { return *cell_; }
    std::int64_t inputs() const { return inputs_; }
    std::int64_t hidden() const { return hidden_; }

  private:
    void forward_part(const Schedule& schedule, const Schedule::Part& part, const float* x,
                      const float* mask, const float* const state0[2], float* const final[2],
                      float* y) const;

    const Kernels* kernels_;
    const CellKernels* cell_;
    std::int64_t inputs_, hidden_, step_rows_ = 0;
    Buffer input_panels_, panels_;
    std::unique_ptr<Buffer> workspace_;
};

}  // namespace tidegate

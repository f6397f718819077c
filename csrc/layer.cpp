#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "sweep.h"
#include "team.h"
#include "threads.h"

namespace tidegate {
namespace {

// Floats of input products made at a time: they stay in cache until the time loop has read them,
// and no memory grows with T.
constexpr std::int64_t kChunk = 1 << 17;
// But as many tokens at least, or the weights are fetched too often.
constexpr std::int64_t kFewestTokens = 192;

}  // namespace

Layer::Layer(const Kernels& kernels, const CellKernels& cell, std::int64_t inputs,
             std::int64_t hidden, const float* weight_ih, const float* weight_hh,
             const float* bias_ih, const float* bias_hh, int threads)
    : kernels_(&kernels),
      cell_(&cell),
      inputs_(inputs),
      hidden_(hidden),
      input_panels_(kernels.affine_panel_floats(cell.gates * hidden, inputs)),
      panels_(cell.forward_panel_floats(hidden)) {
    parallel_for(threads, [&](int i) {
        kernels.pack_affine(weight_ih, bias_ih, cell.gates * hidden, inputs, input_panels_.data(),
                            i, threads);
        cell.pack_forward(weight_hh, bias_hh, hidden, panels_.data(), i, threads);
    });
}

void Layer::forward(const Schedule& schedule, const float* x, const float* mask,
                    const float* const state0[2], float* const final[2], float* y) const {
    const int parts = static_cast<int>(schedule.parts.size());
    parallel_for(parts, [&](int i) {
        const Schedule::Part& part = schedule.parts[static_cast<std::size_t>(i)];
        forward_part(schedule, part, x, mask, state0, final, y);
        zero_padding(schedule, i, parts, hidden_, y);
    });
}

void Layer::forward_part(const Schedule& schedule, const Schedule::Part& part, const float* x,
                         const float* mask, const float* const state0[2], float* const final[2],
                         float* y) const {
    const std::int64_t G = cell_->gates, H = hidden_, I = inputs_;
    const std::int64_t n = static_cast<std::int64_t>(part.rows.size());
    const std::int64_t steps = static_cast<std::int64_t>(part.start.size());
    if (n == 0) return;
    const std::int64_t all = std::accumulate(part.count.begin(), part.count.end(), std::int64_t{0});
    // tokens of a chunk
    const std::int64_t most = std::min(all, std::max({kChunk / (G * H), kFewestTokens, n}));
    const auto bytes = [](std::int64_t floats) {
        return sizeof(float) * static_cast<std::size_t>(floats);
    };
    const bool staged = cell_->first < cell_->gates;
    Buffer inputs(most * I), gates(most * G * H), states((cell_->states + 1) * n * H),
        row_masks(mask ? n * H : 0), masked(mask ? 2 * n * H : 0), operand(staged ? n * H : 0);
    float *const h[2] = {states.data(), states.data() + n * H}, *const c = h[1] + n * H;
    copy_rows(state0[0], part, H, h[0]);
    if (cell_->states > 1) copy_rows(state0[1], part, H, c);
    if (mask) copy_rows(mask, part, H, row_masks.data());
    std::vector<std::int64_t> start;  // of each step of the chunk, in the chunk
    std::vector<std::int64_t> place;  // of each of its tokens, in [T, B]
    for (std::int64_t first = 0, last = 0; first < steps; first = last) {
        std::int64_t tokens = 0;
        start.clear();
        place.clear();
        for (; last < steps && tokens + part.count[last] <= most; ++last) {
            start.push_back(tokens);
            for (std::int64_t j = 0; j < part.count[last]; ++j, ++tokens) {
                place.push_back(schedule.place(part.start[last] + j));
                std::memcpy(inputs.data() + tokens * I, x + place.back() * I, bytes(I));
            }
        }
        ForwardSweep sweep{};
        sweep.rows = {last - first, start.data(), part.count.data() + first};
        sweep.hidden = H;
        sweep.panels = panels_.data();
        sweep.mask = mask ? row_masks.data() : nullptr;
        sweep.gates = gates.data();
        for (int i = 0; i < 2; ++i) {
            sweep.h[i] = h[(first + i) % 2];
            sweep.masked[i] = masked.data() + i * n * H;
        }
        sweep.c0 = sweep.c = c;
        sweep.y = y;
        sweep.place = place.data();
        sweep.operand = operand.data();
        side_by_side(schedule.sharers, [&](const Share& share) {
            const std::int64_t from = share.begin(tokens), to = share.end(tokens);
            kernels_->affine(inputs.data() + from * I, to - from, input_panels_.data(), G * H, I,
                             gates.data() + from * G * H);
            share.wait();
            ForwardSweep mine = sweep;
            mine.share = share;
            cell_->forward(mine);
        });
    }
    put_final_h(part, H, h, final[0]);
    if (cell_->states > 1)
        for (std::int64_t j = 0; j < n; ++j)
            std::memcpy(final[1] + part.rows[j] * H, c + j * H, bytes(H));
}

void Layer::step(const float* x, std::int64_t B, float* const states[2]) {
    const std::int64_t G = cell_->gates, H = hidden_;
    if (B > step_rows_) {
        workspace_ = std::make_unique<Buffer>(B * (G + 2) * H);
        step_rows_ = B;
    }
    if (B == 0) return;
    float *gates = workspace_->data(), *h = gates + B * G * H, *operand = h + B * H;
    const std::int64_t start = 0;
    parallel_for(1, [&](int) {
        kernels_->affine(x, B, input_panels_.data(), G * H, inputs_, gates);
        ForwardSweep sweep{};
        sweep.rows = {1, &start, &B};
        sweep.hidden = H;
        sweep.panels = panels_.data();
        sweep.gates = gates;
        sweep.h[0] = states[0];
        sweep.h[1] = sweep.y = h;
        sweep.c0 = sweep.c = states[1];
        sweep.operand = operand;
        cell_->forward(sweep);
    });
    std::memcpy(states[0], h, sizeof(float) * static_cast<std::size_t>(B * H));
}

}  // namespace tidegate

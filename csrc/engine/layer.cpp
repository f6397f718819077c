#include "layer.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "threads/team.h"
#include "threads/threads.h"

namespace tidegate {
namespace {

// Floats of input products made at a time: they stay in cache until the time loop has read them,
// and no memory grows with T.
constexpr std::int64_t kChunk = 1 << 17;
// But as many tokens at least, or the weights are fetched too often.
constexpr std::int64_t kFewestTokens = 192;

}  // namespace

Layer::Layer(const Kernels& kernels, const CellKernels& kernel, std::int64_t inputs,
             const Sizes& sizes, const Weights& weights, int threads)
    : kernels_(&kernels),
      kernel_(&kernel),
      inputs_(inputs),
      sizes_(sizes),
      input_panels_(kernels.affine_panel_floats(kernel.cell->gates * sizes.hidden, inputs)),
      panels_(kernels.forward_panel_floats(*kernel.cell, sizes)),
      own_vectors_(kernel.cell->vectors * sizes.hidden) {
    const Cell& cell = *kernel.cell;
    const std::int64_t H = sizes.hidden;
    for (int k = 0; k < cell.vectors; ++k) {
        vectors_[k] = own_vectors_.data() + k * H;
        std::copy(weights.vectors[k], weights.vectors[k] + H, own_vectors_.data() + k * H);
    }
    parallel_for(threads, [&](int i) {
        kernels.pack_affine(weights.input, weights.input_bias, cell.gates * H, inputs,
                            input_panels_.data(), i, threads);
        kernels.pack_forward(cell, sizes, weights, panels_.data(), i, threads);
    });
}

ForwardSweep Layer::sweep_of(const Mask& mask) const {
    ForwardSweep sweep{};
    sweep.sizes = sizes_;
    sweep.panels = panels_.data();
    sweep.mask = mask;
    std::copy_n(vectors_, kMostBlocks, sweep.vectors);
    return sweep;
}

void Layer::forward(const Schedule& schedule, const float* x, const BatchMask& mask,
                    const float* const* state0, float* const* final, float* y) const {
    const int parts = static_cast<int>(schedule.parts.size());
    parallel_for(parts, [&](int i) {
        const Schedule::Part& part = schedule.parts[static_cast<std::size_t>(i)];
        forward_part(schedule, part, x, mask, state0, final, y);
        zero_padding(schedule, i, parts, sizes_.of(cell().state[0]), y);
    });
}

void Layer::forward_part(const Schedule& schedule, const Schedule::Part& part, const float* x,
                         const BatchMask& mask, const float* const* state0, float* const* final,
                         float* y) const {
    const Cell& cell = *kernel_->cell;
    const std::int64_t columns = cell.gates * sizes_.hidden, I = inputs_;
    const std::int64_t n = static_cast<std::int64_t>(part.rows.size());
    const std::int64_t steps = static_cast<std::int64_t>(part.start.size());
    if (n == 0) return;
    const std::int64_t all = std::accumulate(part.count.begin(), part.count.end(), std::int64_t{0});
    // tokens of a chunk
    const std::int64_t most = std::min(all, std::max({kChunk / columns, kFewestTokens, n}));
    const PartMask masks(mask, schedule.batch, cell.blocks(Role::kRecurrent), part,
                         sizes_.recurrent(cell));
    Buffer inputs(most * I), gates(most * columns);
    ForwardSweep sweep = sweep_of(masks.rows());
    sweep.gates = gates.data();
    sweep.y = y;
    Workspace workspace;
    workspace.fill(sweep, *kernels_, cell, n, false);
    float* const own = workspace.take(kernels_->affine_workspace_floats(columns, I));
    float* blocks[kMost][2];  // as `sweep` has them for an even number of steps before
    for (int k = 0; k < cell.states; ++k) {
        std::copy_n(sweep.states[k], 2, blocks[k]);
        copy_rows(state0[k], part, sizes_.of(cell.state[k]), blocks[k][0]);
    }
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
                std::memcpy(inputs.data() + tokens * I, x + place.back() * I,
                            sizeof(float) * static_cast<std::size_t>(I));
            }
        }
        sweep.rows = {last - first, start.data(), part.count.data() + first};
        for (int k = 0; k < cell.states; ++k)
            for (int i = 0; i < 2; ++i) sweep.states[k][i] = blocks[k][(first + i) % 2];
        sweep.place = place.data();
        side_by_side(sharers_of(*kernels_, schedule), [&](const Share& share) {
            const std::int64_t from = share.begin(tokens), to = share.end(tokens);
            kernels_->affine(inputs.data() + from * I, to - from, input_panels_.data(), columns, I,
                             gates.data() + from * columns, own);
            share.wait();
            ForwardSweep mine = sweep;
            mine.share = share;
            kernel_->forward(mine);
        });
    }
    for (int k = 0; k < cell.states; ++k)
        put_last_rows(part, sizes_.of(cell.state[k]), blocks[k], final[k]);
}

void Layer::step(const float* x, std::int64_t B, float* const* states) {
    if (B == 0) return;
    hold_step(B);
    parallel_for(1, [&](int) {
        kernels_->affine(x, B, input_panels_.data(), cell().gates * sizes_.hidden, inputs_,
                         step_.gates, step_affine_);
        take_step(B, states);
    });
}

void Layer::input_products(const float* x, std::int64_t B, float* products) const {
    const std::int64_t columns = cell().gates * sizes_.hidden;
    Buffer own(kernels_->affine_workspace_floats(columns, inputs_));
    parallel_for(1, [&](int) {
        kernels_->affine(x, B, input_panels_.data(), columns, inputs_, products, own.data());
    });
}

void Layer::step_from(const float* products, std::int64_t B, float* const* states) {
    if (B == 0) return;
    hold_step(B);
    std::copy_n(products, B * cell().gates * sizes_.hidden, step_.gates);
    parallel_for(1, [&](int) { take_step(B, states); });
}

// The memory of a step of so many rows.
void Layer::hold_step(std::int64_t B) {
    if (B <= step_rows_) return;
    step_rows_ = 0;  // should there be no memory, the next step begins anew
    const std::int64_t columns = cell().gates * sizes_.hidden;
    workspace_ = std::make_unique<Workspace>();
    step_ = sweep_of({});
    workspace_->fill(step_, *kernels_, cell(), B, false);
    step_.gates = workspace_->take(B * columns);
    step_affine_ = workspace_->take(kernels_->affine_workspace_floats(columns, inputs_));
    step_rows_ = B;
}

// The step after its input products.
void Layer::take_step(std::int64_t B, float* const* states) {
    const Cell& cell = *kernel_->cell;
    const std::int64_t start = 0;
    ForwardSweep sweep = step_;
    sweep.rows = {1, &start, &B};
    for (int k = 0; k < cell.states; ++k) {
        sweep.states[k][0] = states[k];
        if (cell.state[k].in_place) sweep.states[k][1] = states[k];
    }
    sweep.y = sweep.states[0][1];
    kernel_->forward(sweep);
    for (int k = 0; k < cell.states; ++k)
        if (!cell.state[k].in_place)
            std::memcpy(states[k], step_.states[k][1],
                        sizeof(float) * static_cast<std::size_t>(B * sizes_.of(cell.state[k])));
}

}  // namespace tidegate

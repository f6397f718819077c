#include "training.h"

#include <algorithm>
#include <cstring>

#include "threads/team.h"
#include "threads/threads.h"

namespace tidegate {
namespace {

Rows rows_of(const Schedule::Part& part) {
    return {static_cast<std::ptrdiff_t>(part.start.size()), part.start.data(), part.count.data()};
}

// The rows of the initial states that are wanted, in the part's order.
struct PartStates {
    PartRows rows[kMost];

    PartStates(const Cell& cell, const Sizes& sizes, const float* const* all,
               const Schedule::Part& part) {
        for (int k = 0; k < cell.states; ++k)
            rows[k] = PartRows(all[k], part, sizes.of(cell.state[k]));
    }
};

// final [B, W] = the last of the part's states, of which `kept` [N, W] has those of every step.
void put_final(const Schedule::Part& part, std::int64_t width, const float* kept,
               const float* state0, float* final) {
    for (std::size_t j = 0; j < part.rows.size(); ++j) {
        const std::int64_t length = part.lengths[j], row = static_cast<std::int64_t>(j);
        const float* last =
            length ? kept + (part.start[length - 1] + row) * width : state0 + row * width;
        std::memmove(final + part.rows[j] * width, last,
                     sizeof(float) * static_cast<std::size_t>(width));
    }
}

// A sweep over a part, with what both passes are given of a call.
template <class Sweep, class Call>
Sweep sweep_of(const Schedule& schedule, const Schedule::Part& part, const Call& call,
               const float* panels, const PartMask& mask) {
    Sweep sweep{};
    sweep.rows = rows_of(part);
    sweep.sizes = call.sizes;
    sweep.panels = panels;
    std::copy_n(call.weights.vectors, kMostBlocks, sweep.vectors);
    sweep.mask = mask.rows();
    sweep.gates = call.gates;
    sweep.extra = call.extra;
    sweep.place = schedule.ragged ? schedule.index.data() : nullptr;
    return sweep;
}

void forward_part(const Kernels& kernels, const CellKernels& kernel, const Schedule& schedule,
                  const Schedule::Part& part, const ForwardCall& call, const float* panels) {
    const Cell& cell = *kernel.cell;
    const Sizes& sizes = call.sizes;
    const std::int64_t n = static_cast<std::int64_t>(part.rows.size());
    if (n == 0) return;
    const PartMask mask(call.mask, schedule.batch, cell.blocks(Role::kRecurrent), part,
                        sizes.recurrent(cell));
    const PartStates state0(cell, sizes, call.state0, part);
    auto sweep = sweep_of<ForwardSweep>(schedule, part, call, panels, mask);
    sweep.y = call.states[0];
    sweep.training = true;
    for (int k = 1; k < cell.states; ++k) {
        sweep.state0[k] = state0.rows[k].data();
        sweep.kept[k] = call.states[k];
    }
    Workspace workspace;
    workspace.fill(sweep, kernels, cell, n, true);
    copy_rows(call.state0[0], part, sizes.of(cell.state[0]), sweep.states[0][0]);
    side_by_side(sharers_of(kernels, schedule), [&](const Share& share) {
        ForwardSweep mine = sweep;
        mine.share = share;
        kernel.forward(mine);
    });
    put_last_rows(part, sizes.of(cell.state[0]), sweep.states[0], call.final[0]);
    for (int k = 1; k < cell.states; ++k)
        put_final(part, sizes.of(cell.state[k]), call.states[k], sweep.state0[k], call.final[k]);
}

void backward_part(const Kernels& kernels, const CellKernels& kernel, const Schedule& schedule,
                   const Schedule::Part& part, const BackwardCall& call, const float* panels,
                   float* sums) {
    const Cell& cell = *kernel.cell;
    const Sizes& sizes = call.sizes;
    const std::int64_t n = static_cast<std::int64_t>(part.rows.size());
    std::fill(sums, sums + (cell.gates + cell.separate + cell.vectors) * sizes.hidden, 0.0f);
    if (n == 0) return;
    const PartMask mask(call.mask, schedule.batch, cell.blocks(Role::kRecurrent), part,
                        sizes.recurrent(cell));
    const PartStates state0(cell, sizes, call.state0, part);
    auto sweep = sweep_of<BackwardSweep>(schedule, part, call, panels, mask);
    sweep.d_y = call.d_y;
    sweep.d_gates = call.d_gates;
    sweep.d_products = call.d_products;
    sweep.sums = sums;
    std::copy_n(call.operands, kMost, sweep.operands);
    sweep.needs_d_state0 = call.needs_d_state0;
    Workspace workspace;
    workspace.fill(sweep, kernels, cell, n);
    for (int k = 0; k < cell.states; ++k) {
        const std::int64_t width = sizes.of(cell.state[k]);
        sweep.state0[k] = state0.rows[k].data();
        sweep.states[k] = call.states[k];
        if (call.d_final[k]) {
            copy_rows(call.d_final[k], part, width, sweep.d_states[k]);
        } else {
            std::fill(sweep.d_states[k], sweep.d_states[k] + n * width, 0.0f);
        }
    }
    side_by_side(sharers_of(kernels, schedule), [&](const Share& share) {
        BackwardSweep mine = sweep;
        mine.share = share;
        kernel.backward(mine);
    });
    for (int k = 0; k < cell.states; ++k)
        put_rows(sweep.d_states[k], part, sizes.of(cell.state[k]), call.d_state0[k]);
}

void copy_sum(const float* from, std::int64_t H, float* to) {
    if (to) std::copy(from, from + H, to);
}

}  // namespace

void forward(const Kernels& kernels, const CellKernels& kernel, const Schedule& schedule,
             const ForwardCall& call) {
    const Cell& cell = *kernel.cell;
    const int parts = static_cast<int>(schedule.parts.size()), threads = schedule.threads();
    Buffer panels(kernels.forward_panel_floats(cell, call.sizes));
    parallel_for(threads, [&](int i) {
        kernels.pack_forward(cell, call.sizes, call.weights, panels.data(), i, threads);
    });
    parallel_for(parts, [&](int i) {
        forward_part(kernels, kernel, schedule, schedule.parts[static_cast<std::size_t>(i)], call,
                     panels.data());
        zero_padding(schedule, i, parts, call.sizes.of(cell.state[0]), call.states[0]);
    });
}

void backward(const Kernels& kernels, const CellKernels& kernel, const Schedule& schedule,
              const BackwardCall& call) {
    const Cell& cell = *kernel.cell;
    const std::int64_t H = call.sizes.hidden;
    const std::int64_t width = (cell.gates + cell.separate + cell.vectors) * H;
    Buffer panels(kernels.backward_panel_floats(cell, call.sizes));
    const int parts = static_cast<int>(schedule.parts.size()), threads = schedule.threads();
    const std::int64_t stride = width + 16;  // no cache line is shared by two threads
    Buffer sums(parts * stride);
    parallel_for(threads, [&](int i) {
        kernels.pack_backward(cell, call.sizes, call.weights, panels.data(), i, threads);
    });
    parallel_for(parts, [&](int i) {
        backward_part(kernels, kernel, schedule, schedule.parts[static_cast<std::size_t>(i)], call,
                      panels.data(), sums.data() + i * stride);
    });
    for (int i = 1; i < parts; ++i)
        for (std::int64_t c = 0; c < width; ++c) sums.data()[c] += sums.data()[i * stride + c];
    if (call.d_input_bias) copy_sum(sums.data(), cell.gates * H, call.d_input_bias);
    for (int j = 0; j < cell.products; ++j) {
        const CellProduct& p = cell.product[j];
        if (p.projects || !call.d_recurrent_bias) continue;
        const int column = p.gradient == Gradient::kGates ? p.column : cell.gates + p.column;
        copy_sum(sums.data() + column * H, H, call.d_recurrent_bias + p.block * H);
    }
    for (int k = 0; k < cell.vectors; ++k)
        copy_sum(sums.data() + (cell.gates + cell.separate + k) * H, H, call.d_vectors[k]);
}

}  // namespace tidegate

#include "sweep.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

#include "team.h"
#include "threads.h"

namespace tidegate {

void copy_rows(const float* all, const Schedule::Part& part, std::int64_t H, float* rows) {
    for (std::size_t j = 0; j < part.rows.size(); ++j)
        std::memcpy(rows + static_cast<std::int64_t>(j) * H, all + part.rows[j] * H,
                    sizeof(float) * static_cast<std::size_t>(H));
}

void put_final_h(const Schedule::Part& part, std::int64_t H, float* const h[2], float* final) {
    for (std::size_t j = 0; j < part.rows.size(); ++j)
        std::memcpy(final + part.rows[j] * H,
                    h[part.lengths[j] % 2] + static_cast<std::int64_t>(j) * H,
                    sizeof(float) * static_cast<std::size_t>(H));
}

void zero_padding(const Schedule& schedule, int share, int shares, std::int64_t width,
                  float* rows) {
    const std::int64_t B = schedule.batch;
    if (!schedule.ragged) return;
    for (std::int64_t t = share; t < schedule.steps; t += shares)
        for (std::int64_t b = 0; b < B; ++b)
            if (schedule.lengths[static_cast<std::size_t>(b)] <= t)
                std::memset(rows + (t * B + b) * width, 0,
                            sizeof(float) * static_cast<std::size_t>(width));
}

namespace {

// The rows of one part of a [B, H] array, in the part's order; null stays null.
class PartRows {
  public:
    PartRows(const float* all, const Schedule::Part& part, std::int64_t H) {
        const auto n = static_cast<std::int64_t>(part.rows.size());
        if (!all || n == 0) return;
        const bool in_order = part.rows.back() - part.rows.front() == n - 1 &&
                              std::is_sorted(part.rows.begin(), part.rows.end());
        if (in_order) {
            rows_ = all + part.rows.front() * H;
            return;
        }
        own_ = std::make_unique<Buffer>(n * H);
        copy_rows(all, part, H, own_->data());
        rows_ = own_->data();
    }
    const float* data() const { return rows_; }

  private:
    std::unique_ptr<Buffer> own_;
    const float* rows_ = nullptr;
};

Rows rows_of(const Schedule::Part& part) {
    return {static_cast<std::ptrdiff_t>(part.start.size()), part.start.data(), part.count.data()};
}

template <class Visit>
void for_each_token(const Schedule::Part& part, const Visit& visit) {
    for (std::size_t s = 0; s < part.start.size(); ++s)
        for (std::int64_t j = 0; j < part.count[s]; ++j) visit(part.start[s] + j);
}

// With rounded factors a step's products are made for all units at a time, in workspace.
int sharers_of(const CellKernels& cell, const Schedule& schedule) {
    return cell.workspace_floats(1, 1) > 0 ? 1 : schedule.sharers;
}

void forward_part(const CellKernels& cell, const Schedule& schedule, const Schedule::Part& part,
                  const ForwardCall& call, const float* panels) {
    const std::int64_t H = call.hidden, n = static_cast<std::int64_t>(part.rows.size());
    if (n == 0) return;
    const PartRows mask(call.mask, part, H), c0(call.state0[1], part, H);
    const bool staged = cell.first < cell.gates;
    Buffer h(2 * n * H), masked(call.mask ? 2 * n * H : 0), operand(staged ? n * H : 0);
    Buffer workspace(cell.workspace_floats(H, n));
    copy_rows(call.state0[0], part, H, h.data());
    const ForwardSweep sweep{rows_of(part),
                             H,
                             panels,
                             mask.data(),
                             call.gates,
                             call.extra,
                             {h.data(), h.data() + n * H},
                             {masked.data(), masked.data() + n * H},
                             c0.data(),
                             call.states[1],
                             call.states[0],
                             schedule.ragged ? schedule.index.data() : nullptr,
                             operand.data(),
                             workspace.data()};
    side_by_side(sharers_of(cell, schedule), [&](const Share& share) {
        ForwardSweep mine = sweep;
        mine.share = share;
        mine.training = true;
        cell.forward(mine);
    });
    put_final_h(part, H, sweep.h, call.final[0]);
    if (cell.states > 1)
        for (std::int64_t j = 0; j < n; ++j) {
            const std::int64_t length = part.lengths[j];
            const float* last =
                length ? sweep.c + (part.start[length - 1] + j) * H : sweep.c0 + j * H;
            std::memmove(call.final[1] + part.rows[j] * H, last, sizeof(float) * H);
        }
}

void backward_part(const CellKernels& cell, const Schedule& schedule, const Schedule::Part& part,
                   const BackwardCall& call, const float* panels, float* d_bias) {
    const std::int64_t H = call.hidden, n = static_cast<std::int64_t>(part.rows.size());
    std::fill(d_bias, d_bias + (cell.gates + cell.separate) * H, 0.0f);
    if (n == 0) return;
    const PartRows mask(call.mask, part, H);
    const PartRows state0[2] = {{call.state0[0], part, H}, {call.state0[1], part, H}};
    const bool staged = cell.first < cell.gates;
    Buffer d_operand(staged ? n * H : 0), workspace(cell.workspace_floats(H, n));
    Buffer d_states(cell.states * n * H);
    float* d_state[2] = {d_states.data(), d_states.data() + n * H};
    for (int k = 0; k < cell.states; ++k)
        for (std::int64_t j = 0; j < n; ++j) {
            float* row = d_state[k] + j * H;
            if (call.d_final[k]) {
                std::memcpy(row, call.d_final[k] + part.rows[j] * H, sizeof(float) * H);
            } else {
                std::fill(row, row + H, 0.0f);
            }
        }
    const BackwardSweep sweep{rows_of(part),
                              H,
                              panels,
                              mask.data(),
                              {state0[0].data(), state0[1].data()},
                              call.gates,
                              call.extra,
                              {call.states[0], call.states[1]},
                              schedule.ragged ? schedule.index.data() : nullptr,
                              call.d_y,
                              {d_state[0], d_state[1]},
                              call.d_gates,
                              call.d_products,
                              d_bias,
                              call.operand,
                              call.second_operand,
                              d_operand.data(),
                              call.needs_d_state0,
                              workspace.data()};
    side_by_side(sharers_of(cell, schedule), [&](const Share& share) {
        BackwardSweep mine = sweep;
        mine.share = share;
        cell.backward(mine);
    });
    for (int k = 0; k < cell.states; ++k)
        for (std::int64_t j = 0; j < n; ++j)
            std::memcpy(call.d_state0[k] + part.rows[j] * H, d_state[k] + j * H, sizeof(float) * H);
}

void number_tokens(Schedule::Part& part, std::int64_t steps, std::int64_t first) {
    part.first_token = first;
    std::int64_t alive = static_cast<std::int64_t>(part.rows.size());
    for (std::int64_t s = 0; s < steps; ++s) {
        while (alive > 0 && part.lengths[alive - 1] <= s) --alive;
        if (alive == 0) break;
        part.start.push_back(first);
        part.count.push_back(alive);
        first += alive;
    }
}

Schedule rectangular(std::int64_t T, std::int64_t B, bool reverse, int parts, int sharers) {
    Schedule schedule;
    schedule.sharers = sharers;
    schedule.steps = T;
    schedule.batch = B;
    schedule.tokens = T * B;
    schedule.reverse = reverse;
    for (int p = 0; p < parts; ++p) {
        Schedule::Part part;
        const std::int64_t from = B * p / parts, to = B * (p + 1) / parts;
        part.first_token = from;
        for (std::int64_t b = from; b < to; ++b) part.rows.push_back(b);
        part.lengths.assign(part.rows.size(), T);
        if (from < to)
            for (std::int64_t s = 0; s < T; ++s) {
                part.start.push_back((reverse ? T - 1 - s : s) * B + from);
                part.count.push_back(to - from);
            }
        schedule.parts.push_back(std::move(part));
    }
    return schedule;
}

}  // namespace

Schedule make_schedule(std::int64_t T, std::int64_t B, const std::int64_t* lengths, bool reverse,
                       int threads, bool by_units) {
    const int sharers = by_units ? std::max(threads, 1) : 1;
    const int parts =
        by_units
            ? 1
            : static_cast<int>(std::clamp<std::int64_t>(threads, 1, std::max<std::int64_t>(B, 1)));
    if (!lengths) return rectangular(T, B, reverse, parts, sharers);
    Schedule schedule;
    schedule.sharers = sharers;
    schedule.steps = T;
    schedule.batch = B;
    schedule.ragged = true;
    schedule.reverse = reverse;
    schedule.lengths.assign(lengths, lengths + B);
    std::vector<std::int64_t> order(static_cast<std::size_t>(B));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return lengths[a] > lengths[b]; });
    schedule.parts.resize(static_cast<std::size_t>(parts));
    // dealt like cards there and back, so that every part gets long and short rows alike
    for (std::int64_t i = 0; i < B; ++i) {
        const std::int64_t lap = i / parts, seat = i % parts;
        Schedule::Part& part = schedule.parts[lap % 2 ? parts - 1 - seat : seat];
        part.rows.push_back(order[i]);
        part.lengths.push_back(lengths[order[i]]);
    }
    schedule.index.resize(
        static_cast<std::size_t>(std::accumulate(lengths, lengths + B, std::int64_t{0})));
    for (Schedule::Part& part : schedule.parts) {
        number_tokens(part, T, schedule.tokens);
        for (std::size_t s = 0; s < part.start.size(); ++s) {
            const std::int64_t step = static_cast<std::int64_t>(s);
            std::int64_t* index = schedule.index.data() + schedule.tokens;
            for (std::int64_t j = 0; j < part.count[s]; ++j) {
                const std::int64_t t = reverse ? part.lengths[j] - 1 - step : step;
                index[j] = t * B + part.rows[j];
            }
            schedule.tokens += part.count[s];
        }
    }
    return schedule;
}

void gather(const Schedule& schedule, std::int64_t width, const float* rows, float* tokens) {
    const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(width);
    parallel_for(static_cast<int>(schedule.parts.size()), [&](int i) {
        for_each_token(schedule.parts[static_cast<std::size_t>(i)], [&](std::int64_t token) {
            std::memcpy(tokens + token * width, rows + schedule.place(token) * width, bytes);
        });
    });
}

void scatter(const Schedule& schedule, std::int64_t width, const float* tokens, float* rows) {
    const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(width);
    const int parts = static_cast<int>(schedule.parts.size());
    parallel_for(parts, [&](int i) {
        for (std::int64_t t = i; t < schedule.steps; t += parts)
            for (const Schedule::Part& part : schedule.parts)
                for (std::size_t j = 0; j < part.rows.size() && part.lengths[j] > t; ++j) {
                    const std::int64_t step = schedule.reverse ? part.lengths[j] - 1 - t : t;
                    const std::int64_t token =
                        part.start[static_cast<std::size_t>(step)] + static_cast<std::int64_t>(j);
                    std::memcpy(rows + (t * schedule.batch + part.rows[j]) * width,
                                tokens + token * width, bytes);
                }
        zero_padding(schedule, i, parts, width, rows);
    });
}

void forward(const CellKernels& cell, const Schedule& schedule, const ForwardCall& call) {
    const int parts = static_cast<int>(schedule.parts.size()), threads = schedule.threads();
    Buffer panels(cell.forward_panel_floats(call.hidden));
    parallel_for(threads, [&](int i) {
        cell.pack_forward(call.weight_hh, call.bias_hh, call.hidden, panels.data(), i, threads);
    });
    parallel_for(parts, [&](int i) {
        forward_part(cell, schedule, schedule.parts[static_cast<std::size_t>(i)], call,
                     panels.data());
        zero_padding(schedule, i, parts, call.hidden, call.states[0]);
    });
}

void backward(const CellKernels& cell, const Schedule& schedule, const BackwardCall& call) {
    const std::int64_t H = call.hidden, width = (cell.gates + cell.separate) * H;
    Buffer panels(cell.backward_panel_floats(H));
    const int parts = static_cast<int>(schedule.parts.size()), threads = schedule.threads();
    const std::int64_t stride = width + 16;  // no cache line is shared by two threads
    Buffer d_bias(parts * stride);
    parallel_for(threads,
                 [&](int i) { cell.pack_backward(call.weight_hh, H, panels.data(), i, threads); });
    parallel_for(parts, [&](int i) {
        backward_part(cell, schedule, schedule.parts[static_cast<std::size_t>(i)], call,
                      panels.data(), d_bias.data() + i * stride);
    });
    for (int i = 1; i < parts; ++i)
        for (std::int64_t c = 0; c < width; ++c) d_bias.data()[c] += d_bias.data()[i * stride + c];
    for (int g = 0; g < cell.gates; ++g) {
        const float* input = d_bias.data() + g * H;
        const int slot = cell.slot[g];
        const float* product = slot < 0 ? input : d_bias.data() + (cell.gates + slot) * H;
        std::copy(input, input + H, call.d_bias_ih + g * H);
        std::copy(product, product + H, call.d_bias_hh + g * H);
    }
}

}  // namespace tidegate

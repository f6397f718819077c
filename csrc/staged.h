// The time loop of a cell with two recurrent products per step: the first gates' takes the state,
// the others' an operand made from it (reset-before GRU: r * h).
#pragma once

#include "sequence.h"

namespace tidegate::TIDEGATE_ISA {

template <class Cell>
constexpr int kSecondGates = Cell::kGates - Cell::kFirst;

template <class Cell>
void pack_staged_forward(const float* weight_hh, const float* bias, Index H, float* packed,
                         int part, int parts) {
    pack_gates(weight_hh, bias, H, 0, Cell::kFirst, packed, part, parts);
    pack_gates(weight_hh, bias, H, Cell::kFirst, kSecondGates<Cell>,
               packed + gate_panel_floats(H, Cell::kFirst), part, parts);
}

template <class Cell>
Index staged_backward_panel_floats(Index H) {
    return row_panel_floats(H, Cell::kFirst * H) + row_panel_floats(H, kSecondGates<Cell> * H);
}

template <class Cell>
void pack_staged_backward(const float* weight_hh, Index H, float* packed, int part, int parts) {
    const Index rows = Cell::kFirst * H;
    pack_rows(weight_hh, H, rows, packed, part, parts);
    pack_rows(weight_hh + rows * H, H, kSecondGates<Cell> * H, packed + row_panel_floats(H, rows),
              part, parts);
}

// A tile of a product of G gates; finish(row, at, valid, product) gets each vector of units.
template <int G, int U, class Finish>
struct ProductTile {
    const float *panel, *operand;
    Index hidden, unit;
    const Finish& finish;
    const float* packed;  // of all panels
    float* workspace;
    Index rows;

    template <int R>
    TIDEGATE_INLINE void run(Index first) const {
        constexpr int V = G * U;
        Vec sums[R][V];
        if constexpr (kRounded) {
            get_rounded_gates<R, G, U>(sums, packed, workspace, rows, hidden, first, unit);
        } else {
            for (int v = 0; v < V; ++v) {
                const Vec bias = load(panel + v * kLanes);
                for (int r = 0; r < R; ++r) sums[r][v] = bias;
            }
            multiply_panel<R, V>(sums, operand + first * hidden, hidden, panel + V * kLanes,
                                 hidden);
        }
        for (int r = 0; r < R; ++r)
            for (int u = 0; u < U; ++u) {
                const Index at = unit + u * kLanes;
                Vec product[G];
                for (int g = 0; g < G; ++g) product[g] = sums[r][g * U + u];
                if (at < hidden) finish(first + r, at, hidden - at, product);
            }
    }
};

template <int G, class Finish>
void for_each_product(const Share& share, Index rows, Index H, const float* packed,
                      const float* operand, float* workspace, const Finish& finish) {
    constexpr int kWidest = gates_width(G);
    const Panels panels(H, kWidest);
    if constexpr (kRounded) multiply_rounded_gates(operand, rows, H, G, packed, workspace);
    for (Index p = share.begin(panels.count); p < share.end(panels.count); ++p) {
        const Index unit = panels.first(p) * kLanes;
        switch_width<kWidest>(panels.width(p), [&](auto width) {
            constexpr int U = decltype(width)::value;
            const ProductTile<G, U, Finish> tile{
                packed + unit * G * (H + 1), operand, H, unit, finish, packed, workspace, rows};
            for_each_tile<sweep_rows(G * U)>(rows, tile);
        });
    }
}

template <class Cell>
void staged_forward_sweep(const ForwardSweep& s) {
    constexpr int G = Cell::kGates, F = Cell::kFirst;
    const Index H = s.hidden;
    const float* second_panels = s.panels + gate_panel_floats(H, F);
    mask_first_state(s);
    for (Index step = 0; step < s.rows.steps; ++step) {
        const Index n = s.rows.count[step], token = s.rows.start[step];
        const float* before = s.h[step % 2];
        float *after = s.h[(step + 1) % 2], *gates = s.gates + token * G * H;
        float* masked_next = s.mask ? s.masked[(step + 1) % 2] : nullptr;
        const auto scale = [&](Index row, Index at, Index valid) {
            return s.mask ? get(s.mask + row * H + at, valid) : broadcast(1.0f);
        };
        const auto first = [&](Index row, Index at, Index valid, const Vec* product) {
            float* gates_row = gates + row * G * H + at;
            Vec w[F], saved[F];
            for (int g = 0; g < F; ++g) w[g] = get(gates_row + g * H, valid);
            Cell::first(w, product, saved);
            for (int g = 0; g < F; ++g) put(gates_row + g * H, saved[g], valid);
            const Vec state = get(before + row * H + at, valid);
            put(s.operand + row * H + at, Cell::operand(saved, &state) * scale(row, at, valid),
                valid);
        };
        for_each_product<F>(s.share, n, H, s.panels, s.mask ? s.masked[step % 2] : before,
                            s.workspace, first);
        s.share.wait();  // for the other units of the operand
        const auto second = [&](Index row, Index at, Index valid, const Vec* product) {
            float* gates_row = gates + row * G * H + at;
            Vec w[G], u[G], saved[G], next;
            for (int g = 0; g < F; ++g) saved[g] = get(gates_row + g * H, valid);
            for (int g = F; g < G; ++g) {
                w[g] = get(gates_row + g * H, valid);
                u[g] = product[g - F];
            }
            const Vec state = get(before + row * H + at, valid);
            Cell::second(w, u, &state, &next, saved);
            put(after + row * H + at, next, valid);
            put(s.y + (s.place ? s.place[token + row] : token + row) * H + at, next, valid);
            if (masked_next) put(masked_next + row * H + at, next * scale(row, at, valid), valid);
            if (s.training)
                for (int g = F; g < G; ++g) put(gates_row + g * H, saved[g], valid);
        };
        for_each_product<G - F>(s.share, n, H, second_panels, s.operand, s.workspace, second);
        s.share.wait();  // for the other units of h
    }
}

// The gates whose gradients do (Late) or do not need d_operand, for every row of one step.
template <class Cell, bool Late>
void staged_pointwise(const BackwardSweep& s, Index step) {
    constexpr int G = Cell::kGates;
    const Index H = s.hidden, n = s.rows.count[step], token = s.rows.start[step];
    const Index previous = step ? s.rows.start[step - 1] : 0;
    const Units units(s);
    for (Index row = 0; row < n; ++row) {
        const Index t = token + row, y = s.place ? s.place[t] : t;
        const Index y_before = s.place && step ? s.place[previous + row] : previous + row;
        const float* state = step ? s.states[0] + y_before * H : s.state0[0] + row * H;
        for (Index at = units.begin; at < units.end; at += kLanes) {
            const Index valid = H - at;
            float* d_state = s.d_states[0] + row * H + at;
            Vec saved[G], d_w[G], d = get(d_state, valid);
            // d_gates may be the same memory: late gates read only what the early ones left alone
            for (int g = 0; g < G; ++g) saved[g] = get(s.gates + (t * G + g) * H + at, valid);
            const Vec before = get(state + at, valid);
            if constexpr (Late) {
                Cell::backward_operand(saved, &before, get(s.d_operand + row * H + at, valid), d_w,
                                       &d);
            } else {
                if (s.d_y) d += get(s.d_y + y * H + at, valid);
                const Vec scale = s.mask ? get(s.mask + row * H + at, valid) : broadcast(1.0f);
                Vec direct;
                Cell::backward(saved, &before, &d, d_w, &direct);
                d = direct;
                put(s.second_operand + t * H + at, Cell::operand(saved, &before) * scale, valid);
                if (s.operand) put(s.operand + t * H + at, before * scale, valid);
            }
            put(d_state, d, valid);
            for (int g = 0; g < G; ++g)
                if (Cell::kLate[g] == Late) {
                    put(s.d_gates + (t * G + g) * H + at, d_w[g], valid);
                    float* sum = s.d_bias + g * H + at;
                    put(sum, get(sum, valid) + d_w[g], valid);
                }
        }
    }
}

template <class Cell>
void staged_backward_sweep(const BackwardSweep& s) {
    constexpr int G = Cell::kGates, F = Cell::kFirst;
    const Index H = s.hidden;
    const float* second_panels = s.panels + row_panel_floats(H, F * H);
    for (Index step = s.rows.steps - 1; step >= 0; --step) {
        const Index n = s.rows.count[step];
        const float* d_gates = s.d_gates + s.rows.start[step] * G * H;
        const Factors early{d_gates, G * H, F * H}, late{d_gates + F * H, G * H, (G - F) * H};
        staged_pointwise<Cell, false>(s, step);
        s.share.wait();  // for the other units of d_gates, here and below
        back_product(s, n, second_panels, &late, 1, s.d_operand, false);
        staged_pointwise<Cell, true>(s, step);
        if (step == 0 && !s.needs_d_state0) break;
        s.share.wait();
        back_product(s, n, s.panels, &early, 1, s.d_states[0], true);
    }
}

}  // namespace tidegate::TIDEGATE_ISA

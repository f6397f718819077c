// The time loop of one layer in one direction, forward and backward, over any generated cell.
// Letters: T time, B batch, H hidden, G gates; N tokens (the true steps of all rows).
#pragma once

#include "affine.h"
#include "kernels.h"
#include "matmul.h"
#include "rounded.h"

namespace tidegate::TIDEGATE_ISA {

// Forward panels hold [1 + H][G][U][kLanes] floats: the biases, then W_hh's columns, the G gates of
// the same U vectors of units side by side, so that a tile ends with everything the cell needs.
template <class Cell>
constexpr int kForwardWidth = Cell::kGates >= 3 ? 1 : 3 / Cell::kGates;

inline Index gate_panel_floats(Index H, Index gates) {
    if constexpr (kRounded) return rounded_gate_floats(H, gates);
    return Panels(H, 1).vectors * kLanes * gates * (H + 1);
}

// Packs `gates` gates from `gate` on, panels `width` vectors of units wide. weight_hh: [G*H, H];
// bias: [G*H] or null; share `part` of `parts`.
inline void pack_gates(const float* weight_hh, const float* bias, Index H, Index gate, Index gates,
                       int width, float* packed, int part, int parts) {
    if constexpr (kRounded)
        return pack_rounded_gates(weight_hh, bias, H, gate, gates, packed, part, parts);
    const Panels panels(H, width);
    for (Index p = panels.count * part / parts; p < panels.count * (part + 1) / parts; ++p) {
        const Index wide = panels.width(p), stride = gates * wide * kLanes;
        float* panel = packed + panels.first(p) * kLanes * gates * (H + 1);
        for (Index g = 0; g < gates; ++g)
            for (Index u = 0; u < wide; ++u) {
                const Index unit = (panels.first(p) + u) * kLanes, row = (gate + g) * H + unit;
                float* out = panel + (g * wide + u) * kLanes;
                store(out, bias ? get(bias + row, H - unit) : broadcast(0.0f));
                pack_columns(weight_hh + row * H, H, H - unit, H, out + stride, stride);
            }
    }
}

template <class Cell>
Index forward_panel_floats(Index H) {
    return gate_panel_floats(H, Cell::kGates);
}

template <class Cell>
void pack_forward(const float* weight_hh, const float* bias, Index H, float* packed, int part,
                  int parts) {
    pack_gates(weight_hh, bias, H, 0, Cell::kGates, kForwardWidth<Cell>, packed, part, parts);
}

// Backward panels hold [rows][U][kLanes] floats: rows of W_hh as they stand, cut into columns.
constexpr int kBackwardWidth = 3;

inline Index row_panel_floats(Index H, Index rows) {
    if constexpr (kRounded) return rounded_panel_floats(H, rows);
    return Panels(H, 1).vectors * kLanes * rows;
}

// weight: [rows, H].
inline void pack_rows(const float* weight, Index H, Index rows, float* packed, int part,
                      int parts) {
    if constexpr (kRounded) return pack_rounded_rows(weight, H, H, rows, packed, part, parts);
    const Panels panels(H, kBackwardWidth);
    for (Index p = panels.count * part / parts; p < panels.count * (part + 1) / parts; ++p) {
        const Index first = panels.first(p) * kLanes, lanes = Index(panels.width(p)) * kLanes;
        float* out = packed + first * rows;
        for (Index k = 0; k < rows; ++k)
            for (Index i = 0; i < lanes; i += kLanes, out += kLanes)
                store(out, get(weight + k * H + first + i, H - (first + i)));
    }
}

template <class Cell>
Index backward_panel_floats(Index H) {
    return row_panel_floats(H, Cell::kGates * H);
}

template <class Cell>
void pack_backward(const float* weight_hh, Index H, float* packed, int part, int parts) {
    pack_rows(weight_hh, H, Cell::kGates * H, packed, part, parts);
}

// Floats of workspace for the largest product of a step over `rows` rows, forward or backward.
template <class Cell>
Index workspace_floats(Index H, Index rows) {
    if constexpr (!kRounded) return 0;
    const Index gates = Cell::kGates * round_up(H, kLanes);
    const Index forward = RoundedProduct::floats(rows, gates, H);
    const Index backward = RoundedProduct::floats(rows, H, Cell::kGates * H);
    return forward > backward ? forward : backward;
}

// One tile of one step: U vectors of units, the rows from `first` on.
template <class Cell, bool Training, int U>
struct ForwardTile {
    const ForwardSweep& s;
    const float* panel;
    const float* operand;                // [n, H]: what the product sees of the state before
    const float* before[Cell::kStates];  // [n, H]
    float* after[Cell::kStates];         // [n, H]
    float* masked;                       // [n, H]: the operand of the next step, or null
    Index token, unit;                   // of the first row, of the first lane
    const float* next_panel;             // what will be read next, if it may have left the cache
    Index rows;

    template <int R>
    TIDEGATE_INLINE void run(Index first) const {
        constexpr int G = Cell::kGates, V = G * U;
        const Index H = s.hidden;
        const float* gates = s.gates + (token + first) * G * H + unit;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
            for (int g = 0; g < G; ++g) __builtin_prefetch(gates + (r * G + g) * H, 1);
        Vec sums[R][V];
        if constexpr (kRounded) {
            get_rounded_gates<R, G, U>(sums, s.panels, s.workspace, rows, H, first, unit);
        } else {
            for (int v = 0; v < V; ++v) {
                const Vec bias = load(panel + v * kLanes);
                for (int r = 0; r < R; ++r) sums[r][v] = bias;
            }
            const float* ahead =
                next_panel ? next_panel + first * (H + 1) * V / rows * kLanes : nullptr;
            multiply_panel<R, V>(sums, operand + first * H, H, panel + V * kLanes, H, ahead);
        }
        for (int r = 0; r < R; ++r)
            for (int u = 0; u < U; ++u) {
                const Index at = unit + u * kLanes;
                if (at < H) finish<V>(sums[r], u, first + r, at, H - at);
            }
    }

    template <int V>
    TIDEGATE_INLINE void finish(const Vec (&sums)[V], int u, Index row, Index at,
                                Index valid) const {
        constexpr int G = Cell::kGates, S = Cell::kStates;
        const Index H = s.hidden, t = token + row;
        Vec w[G], product[G], state[S], next[S], saved[G + Cell::kExtra];
        float* gates_row = s.gates + t * G * H + at;
        for (int g = 0; g < G; ++g) {
            w[g] = get(gates_row + g * H, valid);
            product[g] = sums[g * U + u];
        }
        for (int k = 0; k < S; ++k) state[k] = get(before[k] + row * H + at, valid);
        Cell::forward(w, product, state, next, saved);
        for (int k = 0; k < S; ++k) put(after[k] + row * H + at, next[k], valid);
        put(s.y + (s.place ? s.place[t] : t) * H + at, next[0], valid);
        if (masked) put(masked + row * H + at, next[0] * get(s.mask + row * H + at, valid), valid);
        if constexpr (Training) {
            for (int g = 0; g < G; ++g) put(gates_row + g * H, saved[g], valid);
            for (int e = 0; e < Cell::kExtra; ++e)
                put(s.extra + (t * Cell::kExtra + e) * H + at, saved[G + e], valid);
        }
    }
};

inline void mask_first_state(const ForwardSweep& s) {
    if (!s.mask || s.rows.steps == 0) return;
    if (s.share.index == 0)
        for (Index i = 0; i < s.rows.count[0] * s.hidden; ++i)
            s.masked[0][i] = s.h[0][i] * s.mask[i];
    s.share.wait();
}

template <class Cell, bool Training>
void forward_sweep(const ForwardSweep& s) {
    constexpr int G = Cell::kGates, S = Cell::kStates;
    const Index H = s.hidden;
    const Panels panels(H, kForwardWidth<Cell>);
    const bool streams = forward_panel_floats<Cell>(H) > kSecondCache;
    mask_first_state(s);
    const float* c = s.c0;
    for (Index step = 0; step < s.rows.steps; ++step) {
        const Index n = s.rows.count[step], token = s.rows.start[step];
        const int now = step % 2, next = 1 - now;
        float* c_after = Training && S > 1 ? s.c + token * H : s.c;
        const float* operand = s.mask ? s.masked[now] : s.h[now];
        if constexpr (kRounded) multiply_rounded_gates(operand, n, H, G, s.panels, s.workspace);
        for (Index p = s.share.begin(panels.count); p < s.share.end(panels.count); ++p) {
            const Index unit = panels.first(p) * kLanes;
            const Index next_unit = panels.first((p + 1) % panels.count) * kLanes;
            const float* next_panel = streams ? s.panels + next_unit * G * (H + 1) : nullptr;
            const auto run = [&](auto width) {
                constexpr int U = decltype(width)::value;
                ForwardTile<Cell, Training, U> tile{s,           s.panels + unit * G * (H + 1),
                                                    operand,     {s.h[now]},
                                                    {s.h[next]}, s.mask ? s.masked[next] : nullptr,
                                                    token,       unit,
                                                    next_panel,  n};
                if constexpr (S > 1) {
                    tile.before[1] = c;
                    tile.after[1] = c_after;
                }
                for_each_tile<max_rows(G * U)>(n, tile);
            };
            switch_width<kForwardWidth<Cell>>(panels.width(p), run);
        }
        c = c_after;
        s.share.wait();  // for the other units of h
    }
}

// One tile of the product d(state before) = direct part + mask * (d_u W_hh).
template <class Cell, int U>
struct BackwardTile {
    const BackwardSweep& s;
    const float* panel;
    const float* d_gates;     // [n, G*H]
    const float* d_products;  // [n, kSeparate*H]
    Index unit, rows;

    template <int R>
    TIDEGATE_INLINE void run(Index first) const {
        constexpr int G = Cell::kGates, E = Cell::kSeparate;
        const Index H = s.hidden;
        Vec sums[R][U] = {};
        if constexpr (kRounded) {
            RoundedProduct(s.workspace, rows, H, G * H).get<R, U>(sums, 0, first, unit);
        } else if constexpr (E == 0) {
            multiply_panel<R, U>(sums, d_gates + first * G * H, G * H, panel, G * H);
        } else {
            for (int g = 0; g < G; ++g) {
                const int slot = Cell::kSlot[g];
                const float* a =
                    slot < 0 ? d_gates + (first * G + g) * H : d_products + (first * E + slot) * H;
                multiply_panel<R, U>(sums, a, (slot < 0 ? G : E) * H, panel + g * H * U * kLanes,
                                     H);
            }
        }
        for (int r = 0; r < R; ++r)
            for (int u = 0; u < U; ++u) {
                const Index at = unit + u * kLanes, valid = H - at;
                if (at >= H) continue;
                float* d_state = s.d_states[0] + (first + r) * H + at;
                const Vec direct = get(d_state, valid);
                const Vec scale =
                    s.mask ? get(s.mask + (first + r) * H + at, valid) : broadcast(1.0f);
                put(d_state, multiply_add(scale, sums[r][u], direct), valid);
            }
    }
};

// The units of d_states that a thread computes, and reads again in the step before: whole panels.
struct Units {
    Index begin, end;
    explicit Units(const BackwardSweep& s) {
        const Panels panels(s.hidden, kBackwardWidth);
        begin = panels.first(s.share.begin(panels.count)) * kLanes;
        end = panels.first(s.share.end(panels.count)) * kLanes;
        if (end > s.hidden) end = s.hidden;
    }
};

// The cell's derivative at one step for every row: d_gates, d_products, the biases' gradients, and
// what of d_states does not pass through W_hh.
template <class Cell>
void backward_pointwise(const BackwardSweep& s, Index step) {
    constexpr int G = Cell::kGates, S = Cell::kStates, E = Cell::kExtra, D = Cell::kSeparate;
    const Units units(s);
    const Index H = s.hidden, n = s.rows.count[step], token = s.rows.start[step];
    const Index previous = step > 0 ? s.rows.start[step - 1] : 0;
    for (Index row = 0; row < n; ++row) {
        const Index t = token + row;
        const Index y = s.place ? s.place[t] : t;
        const Index y_before = s.place && step ? s.place[previous + row] : previous + row;
        for (Index at = units.begin; at < units.end; at += kLanes) {
            const Index valid = H - at;
            Vec saved[G + E], before[S], d_after[S], d_w[G], d_u[D + 1], d_before[S];
            for (int g = 0; g < G; ++g) saved[g] = get(s.gates + (t * G + g) * H + at, valid);
            for (int e = 0; e < E; ++e) saved[G + e] = get(s.extra + (t * E + e) * H + at, valid);
            for (int k = 0; k < S; ++k) {
                const float* from = step == 0 ? s.state0[k] + row * H
                                              : s.states[k] + (k ? previous + row : y_before) * H;
                before[k] = get(from + at, valid);
                d_after[k] = get(s.d_states[k] + row * H + at, valid);
            }
            if (s.d_y) d_after[0] += get(s.d_y + y * H + at, valid);
            Cell::backward(saved, before, d_after, d_w, d_u, d_before);
            for (int g = 0; g < G; ++g) {
                put(s.d_gates + (t * G + g) * H + at, d_w[g], valid);
                float* sum = s.d_bias + g * H + at;
                put(sum, get(sum, valid) + d_w[g], valid);
            }
            for (int d = 0; d < D; ++d) {
                put(s.d_products + (t * D + d) * H + at, d_u[d], valid);
                float* sum = s.d_bias + (G + d) * H + at;
                put(sum, get(sum, valid) + d_u[d], valid);
            }
            for (int k = 0; k < S; ++k) put(s.d_states[k] + row * H + at, d_before[k], valid);
            if (s.operand) {
                const Vec scale = s.mask ? get(s.mask + row * H + at, valid) : broadcast(1.0f);
                put(s.operand + t * H + at, before[0] * scale, valid);
            }
        }
    }
}

template <class Cell>
void backward_sweep(const BackwardSweep& s) {
    constexpr int G = Cell::kGates, D = Cell::kSeparate;
    const Index H = s.hidden;
    const Panels panels(H, kBackwardWidth);
    for (Index step = s.rows.steps - 1; step >= 0; --step) {
        backward_pointwise<Cell>(s, step);
        if (step == 0 && !s.needs_d_state0) break;
        s.share.wait();  // for the other units of d_gates and d_products
        const Index n = s.rows.count[step], token = s.rows.start[step];
        const float *d_gates = s.d_gates + token * G * H,
                    *d_products = s.d_products + token * D * H;
        if constexpr (kRounded) {
            const RoundedProduct product(s.workspace, n, H, G * H);
            for (Index row = 0; row < n; ++row)
                for (int g = 0; g < G; ++g) {
                    const int slot = Cell::kSlot[g];
                    product.set(
                        row, g * H,
                        slot < 0 ? d_gates + (row * G + g) * H : d_products + (row * D + slot) * H,
                        H);
                }
            product.multiply(n, s.panels);
        }
        for (Index p = s.share.begin(panels.count); p < s.share.end(panels.count); ++p) {
            const Index unit = panels.first(p) * kLanes;
            const auto run = [&](auto width) {
                constexpr int U = decltype(width)::value;
                const BackwardTile<Cell, U> tile{
                    s, s.panels + unit * G * H, d_gates, d_products, unit, n};
                for_each_tile<max_rows(U)>(n, tile);
            };
            switch_width<kBackwardWidth>(panels.width(p), run);
        }
    }
}

}  // namespace tidegate::TIDEGATE_ISA

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
constexpr int gates_width(int gates) { return gates >= 3 ? 1 : 3 / gates; }

inline Index gate_panel_floats(Index H, Index gates) {
    if constexpr (kRounded) return rounded_gate_floats(H, gates);
    return Panels(H, 1).vectors * kLanes * gates * (H + 1);
}

// Packs `gates` gates from `gate` on. weight_hh: [G*H, H]; bias: [G*H] or null; share `part` of
// `parts`.
inline void pack_gates(const float* weight_hh, const float* bias, Index H, Index gate, int gates,
                       float* packed, int part, int parts) {
    if constexpr (kRounded)
        return pack_rounded_gates(weight_hh, bias, H, gate, gates, packed, part, parts);
    const Panels panels(H, gates_width(gates));
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
    pack_gates(weight_hh, bias, H, 0, Cell::kGates, packed, part, parts);
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
template <class Cell, int U>
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
        // rounded: of a row that comes soon
        const float* gates = s.gates + (token + first + (kRounded ? 8 : 0)) * G * H + unit;
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
        if (s.training) {
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

template <class Cell>
void forward_sweep(const ForwardSweep& s) {
    constexpr int G = Cell::kGates, S = Cell::kStates;
    const Index H = s.hidden;
    constexpr int kWidest = gates_width(G);
    const Panels panels(H, kWidest);
    const bool streams = forward_panel_floats<Cell>(H) > kSecondCache;
    mask_first_state(s);
    const float* c = s.c0;
    for (Index step = 0; step < s.rows.steps; ++step) {
        const Index n = s.rows.count[step], token = s.rows.start[step];
        const int now = step % 2, next = 1 - now;
        float* c_after = s.training && S > 1 ? s.c + token * H : s.c;
        const float* operand = s.mask ? s.masked[now] : s.h[now];
        if constexpr (kRounded) multiply_rounded_gates(operand, n, H, G, s.panels, s.workspace);
        for (Index p = s.share.begin(panels.count); p < s.share.end(panels.count); ++p) {
            const Index unit = panels.first(p) * kLanes;
            const Index next_unit = panels.first((p + 1) % panels.count) * kLanes;
            const float* next_panel = streams ? s.panels + next_unit * G * (H + 1) : nullptr;
            const auto run = [&](auto width) {
                constexpr int U = decltype(width)::value;
                ForwardTile<Cell, U> tile{s,           s.panels + unit * G * (H + 1),
                                          operand,     {s.h[now]},
                                          {s.h[next]}, s.mask ? s.masked[next] : nullptr,
                                          token,       unit,
                                          next_panel,  n};
                if constexpr (S > 1) {
                    tile.before[1] = c;
                    tile.after[1] = c_after;
                }
                for_each_tile<sweep_rows(G * U)>(n, tile);
            };
            switch_width<kWidest>(panels.width(p), run);
        }
        c = c_after;
        s.share.wait();  // for the other units of h
    }
}

// Factors of a product: `depth` of each row, which begin `stride` floats apart.
struct Factors {
    const float* data;
    Index stride, depth;
};

// A tile of out [rows, H] = (add ? out : 0) + mask * (factors W), `count` factors side by side.
template <int U>
struct BackwardTile {
    const BackwardSweep& s;
    const float* panel;
    const Factors* factors;
    int count;
    float* out;
    bool add;
    Index unit, rows, depth;

    template <int R>
    TIDEGATE_INLINE void run(Index first) const {
        const Index H = s.hidden;
        Vec sums[R][U] = {};
        if constexpr (kRounded) {
            RoundedProduct(s.workspace, rows, H, depth).get<R, U>(sums, 0, first, unit);
        } else {
            const float* from = panel;
            for (int i = 0; i < count; ++i) {
                const Factors f = factors[i];
                multiply_panel<R, U>(sums, f.data + first * f.stride, f.stride, from, f.depth);
                from += f.depth * U * kLanes;
            }
        }
        for (int r = 0; r < R; ++r)
            for (int u = 0; u < U; ++u) {
                const Index at = unit + u * kLanes, valid = H - at;
                if (at >= H) continue;
                float* to = out + (first + r) * H + at;
                const Vec start = add ? get(to, valid) : broadcast(0.0f);
                const Vec scale =
                    s.mask ? get(s.mask + (first + r) * H + at, valid) : broadcast(1.0f);
                put(to, multiply_add(scale, sums[r][u], start), valid);
            }
    }
};

// W packed by pack_rows. Compiled once for all cells, as its tiles take long to compile.
TIDEGATE_NOINLINE inline void back_product(const BackwardSweep& s, Index rows, const float* packed,
                                           const Factors* factors, int count, float* out,
                                           bool add) {
    const Panels panels(s.hidden, kBackwardWidth);
    Index depth = 0;
    for (int i = 0; i < count; ++i) depth += factors[i].depth;
    if constexpr (kRounded) {
        const RoundedProduct product(s.workspace, rows, s.hidden, depth);
        for (Index row = 0; row < rows; ++row)
            for (Index i = 0, at = 0; i < count; at += factors[i++].depth)
                product.set(row, at, factors[i].data + row * factors[i].stride, factors[i].depth);
        product.multiply(rows, packed);
    }
    for (Index p = s.share.begin(panels.count); p < s.share.end(panels.count); ++p) {
        const Index unit = panels.first(p) * kLanes;
        switch_width<kBackwardWidth>(panels.width(p), [&](auto width) {
            constexpr int U = decltype(width)::value;
            const BackwardTile<U> tile{
                s, packed + unit * depth, factors, count, out, add, unit, rows, depth};
            for_each_tile<sweep_rows(U)>(rows, tile);
        });
    }
}

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
    constexpr int G = Cell::kGates, D = Cell::kSeparate, count = D > 0 ? G : 1;
    const Index H = s.hidden;
    for (Index step = s.rows.steps - 1; step >= 0; --step) {
        backward_pointwise<Cell>(s, step);
        if (step == 0 && !s.needs_d_state0) break;
        s.share.wait();  // for the other units of d_gates and d_products
        const Index token = s.rows.start[step];
        Factors factors[count] = {{s.d_gates + token * G * H, G * H, G * H}};
        for (int g = 0; D > 0 && g < G; ++g) {
            const int slot = Cell::kSlot[g];
            factors[g] = slot < 0 ? Factors{s.d_gates + (token * G + g) * H, G * H, H}
                                  : Factors{s.d_products + (token * D + slot) * H, D * H, H};
        }
        back_product(s, s.rows.count[step], s.panels, factors, count, s.d_states[0], true);
    }
}

}  // namespace tidegate::TIDEGATE_ISA

// The time loop of one layer in one direction, forward, over any generated cell.
// Letters: H units, G gates with an input product; N tokens (the true steps of all rows).
#pragma once

#include "step_products.h"

namespace tidegate::TIDEGATE_ISA {

// The mean of a row, the same whoever takes it.
inline Vec row_mean(const float* values, Index count) {
    Vec sums{};
    for (Index i = 0; i < count; i += kLanes) sums += get(values + i, count - i);
    float sum = 0.0f;
    for (int lane = 0; lane < kLanes; ++lane) sum += sums[lane];
    return broadcast(sum / static_cast<float>(count));
}

// Of a cell, how many carried values there is room for; and the masked operand that a state is, or -1.
template <class C>
constexpr int kMeans = C::kCell.carried + C::kCell.carried_back + 1;

template <class C, int K>
constexpr int masked_operand_of() {
    for (int k = 0; k < C::kCell.operands; ++k)
        if (C::kOperands[k].state == K && C::kOperands[k].masked) return k;
    return -1;
}

// What a cell's phase finds and leaves at one vector of units of one row: generated/cells.h.
template <class C>
struct ForwardAt {
    const ForwardStep& step;
    const Vec* means;
    Index row, at, valid;

    TIDEGATE_INLINE Index hidden() const { return step.s.sizes.hidden; }
    TIDEGATE_INLINE Index token() const { return step.token + row; }
    template <int K>
    TIDEGATE_INLINE Index width() const {
        return step.s.sizes.of(C::kStates[K].projected);
    }
    TIDEGATE_INLINE float* gate_place(int g) const {
        return step.s.gates + (token() * C::kCell.gates + g) * hidden() + at;
    }
    TIDEGATE_INLINE float* carried_place(int k) const {
        return step.s.carried + (row * C::kCell.carried + k) * hidden() + at;
    }

    TIDEGATE_INLINE bool is_training() const { return step.s.training; }
    TIDEGATE_INLINE Vec gate(int g) const { return get(gate_place(g), valid); }
    TIDEGATE_INLINE Vec carried(int k) const { return get(carried_place(k), valid); }
    TIDEGATE_INLINE Vec mean(int k) const { return means[k]; }
    TIDEGATE_INLINE Vec vector(int k) const { return get(step.s.vectors[k] + at, valid); }
    TIDEGATE_INLINE Vec product(int j) const {
        const Sums& sums = step.sums[j];
        const Vec sum = load(sums.data + row * sums.stride + at);
        return kRounded ? sum + load(sums.bias + at) : sum;
    }
    template <int K>
    TIDEGATE_INLINE Vec before() const {
        return get(step.before[K] + row * width<K>() + at, valid);
    }

    TIDEGATE_INLINE void put_gate(int g, Vec v) const { put(gate_place(g), v, valid); }
    TIDEGATE_INLINE void put_carried(int k, Vec v) const { put(carried_place(k), v, valid); }
    TIDEGATE_INLINE void put_extra(int e, Vec v) const {
        put(step.s.extra + (token() * C::kCell.extra + e) * hidden() + at, v, valid);
    }
    template <int K>
    TIDEGATE_INLINE void put_state(Vec v) const {
        const Index W = width<K>();
        put(step.after[K] + row * W + at, v, valid);
        if constexpr (K == 0) {
            const Index t = token();
            put(step.s.y + (step.s.place ? step.s.place[t] : t) * W + at, v, valid);
        }
        constexpr int operand = masked_operand_of<C, K>();
        if constexpr (operand >= 0)
            if (step.s.mask.data) put_masked<operand>(v, 1 - step.now, W);
    }
    template <int O>
    TIDEGATE_INLINE void put_operand(Vec v) const {
        if (C::kOperands[O].masked && step.s.mask.data) return put_masked<O>(v, 0, hidden());
        put(step.s.operands[O][0] + row * hidden() + at, v, valid);
    }
    template <int O>
    TIDEGATE_INLINE void put_masked(Vec v, int which, Index W) const {
        const Mask& mask = step.s.mask;
        float* out = step.s.operands[O][which] + row * W + at;
        if (!mask.per_gate) return put(out, v * get(mask.data + row * W + at, valid), valid);
        for (const CellProduct& p : C::kProducts)
            if (p.operand == O)
                put(out + p.rank * step.s.most_rows * W,
                    v * get(mask.of(p.block) + row * W + at, valid), valid);
    }
};

// A phase of a cell for rows first .. last - 1 and units begin .. end - 1.
template <class C, int F>
TIDEGATE_NOINLINE void forward_units(const ForwardStep& step, Index first, Index last, Index begin,
                                     Index end) {
    constexpr CellPhase phase = C::kForward[F];
    const Index width = step.s.sizes.of(phase.projected);
    for (Index row = first; row < last; ++row) {
        Vec means[kMeans<C>];
        for (int k = 0; k < C::kCell.carried; ++k)
            if (phase.means >> k & 1) {
                const Index H = step.s.sizes.hidden;
                means[k] = row_mean(step.s.carried + (row * C::kCell.carried + k) * H, H);
            }
        for (Index at = begin; at < end; at += kLanes)
            C::template forward<F>(ForwardAt<C>{step, means, row, at, width - at});
    }
}

using Units = void (*)(const ForwardStep&, Index first, Index last, Index begin, Index end);

// A phase whose products end in register tiles: each goes on at once, while it is in the first cache.
inline void run_side_by_side(const Cell& cell, int phase, ForwardStep& step, Units units) {
    const ForwardSweep& s = step.s;
    int first_product = 0;
    const float* packed = s.panels;
    while (cell.product[first_product].phase != phase)
        packed += forward_floats(cell, s.sizes, first_product++, 1);
    const CellProduct& product = cell.product[first_product];
    const int G = count_in_phase(cell, phase);
    const Index depth = s.sizes.of(cell, cell.operand[product.operand]);
    const Index outputs = s.sizes.of(product), row_of_gates = cell.gates * s.sizes.hidden;
    const Panels panels = phase_panels(cell, s.sizes, phase);
    const bool streams = panels.vectors * kLanes * G * (depth + 1) > kSecondCache;
    alignas(64) float sums[kTileSums * kLanes];
    for (Index p = s.share.begin(panels.count); p < s.share.end(panels.count); ++p) {
        const int U = panels.width(p), V = G * U;
        const Index unit = panels.first(p) * kLanes, stride = V * kLanes;
        const Index next_unit = panels.first((p + 1) % panels.count) * kLanes;
        Index end = unit + U * kLanes;
        if (end > outputs) end = outputs;
        const Tile tile{operand_of(cell, step, product),
                        packed + unit * G * (depth + 1),
                        depth,
                        stride,
                        sums,
                        stride,
                        stride,
                        streams ? packed + next_unit * G * (depth + 1) : nullptr,
                        step.rows};
        for_each_height(step.rows, max_rows(V), [&](Index first, Index height) {
            const float* gates = s.gates + (step.token + first) * row_of_gates + unit;
            for (Index r = 0; r < height; ++r)
                for (int g = 0; g < cell.gates; ++g)
                    __builtin_prefetch(gates + r * row_of_gates + g * s.sizes.hidden, 1);
            run_tile(tile, V, first, height);
            for (int g = 0; g < G; ++g)
                step.sums[g] = {sums + g * U * kLanes - first * stride - unit, stride, nullptr};
            units(step, first, first + height, unit, end);
        });
    }
}

TIDEGATE_NOINLINE inline void run_phase(const Cell& cell, int phase, ForwardStep& step,
                                        Units units) {
    const ForwardSweep& s = step.s;
    if constexpr (!kRounded)
        if (is_side_by_side(cell, phase) && !s.mask.per_gate)
            return run_side_by_side(cell, phase, step, units);
    make_products(cell, phase, step);
    const Index width = s.sizes.of(cell.forward[phase].projected);
    const Panels panels = phase_panels(cell, s.sizes, phase);
    const Index begin = panels.first(s.share.begin(panels.count)) * kLanes;
    const Index end = panels.first(s.share.end(panels.count)) * kLanes;
    units(step, 0, step.rows, begin, end < width ? end : width);
}

template <class C, int F>
TIDEGATE_INLINE void forward_phases(ForwardStep& step) {
    if constexpr (F < C::kCell.forward_phases) {
        run_phase(C::kCell, F, step, forward_units<C, F>);
        if constexpr (C::kCell.meets()) step.s.share.wait();  // for the other units
        forward_phases<C, F + 1>(step);
    }
}

// The masked operands of the first step.
TIDEGATE_NOINLINE inline void mask_states(const Cell& cell, const ForwardSweep& s) {
    if (!s.mask.data || s.rows.steps == 0) return;
    if (s.share.index == 0)
        for (int j = 0; j < cell.products; ++j) {
            const CellProduct& p = cell.product[j];
            const CellOperand& operand = cell.operand[p.operand];
            if (!operand.masked || operand.state < 0 || (p.rank > 0 && !s.mask.per_gate)) continue;
            const Index W = s.sizes.of(cell, operand);
            const bool is_kept = s.kept[operand.state] != nullptr;
            const float* state = is_kept ? s.state0[operand.state] : s.states[operand.state][0];
            const float* mask = s.mask.of(p.block);
            float* out = s.operands[p.operand][0] + p.rank * s.most_rows * W;
            for (Index i = 0; i < s.rows.count[0] * W; ++i) out[i] = state[i] * mask[i];
        }
    s.share.wait();
}

template <class C>
void forward_sweep(const ForwardSweep& s) {
    mask_states(C::kCell, s);
    for (Index i = 0; i < s.rows.steps; ++i) {
        ForwardStep step{s, s.rows.count[i], s.rows.start[i], int(i % 2), {}, {}, {}};
        for (int k = 0; k < C::kCell.states; ++k) {
            const Index W = s.sizes.of(C::kStates[k]);
            step.before[k] = s.states[k][step.now];
            step.after[k] = s.states[k][1 - step.now];
            if (s.kept[k]) {
                step.before[k] = i ? s.kept[k] + s.rows.start[i - 1] * W : s.state0[k];
                step.after[k] = s.kept[k] + step.token * W;
            }
        }
        forward_phases<C, 0>(step);
    }
}

}  // namespace tidegate::TIDEGATE_ISA

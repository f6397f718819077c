// The time loop back through time, over any generated cell.
#pragma once

#include "back_products.h"
#include "forward.h"

namespace tidegate::TIDEGATE_ISA {

// One step of a backward sweep.
struct BackwardStep {
    const BackwardSweep& s;
    Index rows, token;
    const float* before[kMost];  // of the rows: [n, W]; of the output where `place` says
    const std::int64_t* place_before;  // of the rows' outputs; null: side by side
};

// What a cell's phase finds and leaves at one vector of units of one row: generated/cells.h.
template <class C>
struct BackwardAt {
    const BackwardStep& step;
    const Vec* means;
    Index row, at, valid;

    TIDEGATE_INLINE Index hidden() const { return step.s.sizes.hidden; }
    TIDEGATE_INLINE Index token() const { return step.token + row; }
    template <int K>
    TIDEGATE_INLINE Index width() const {
        return step.s.sizes.of(C::kStates[K].projected);
    }
    template <int K>
    TIDEGATE_INLINE float* d_state_place() const {
        return step.s.d_states[K] + row * width<K>() + at;
    }
    TIDEGATE_INLINE float* carried_place(int k) const {
        return step.s.carried + (row * C::kCell.carried_back + k) * hidden() + at;
    }
    TIDEGATE_INLINE float* products_place() const {
        return step.s.d_products + token() * step.s.sizes.of_products(C::kCell) + at;
    }

    TIDEGATE_INLINE Vec gate(int g) const {
        return get(step.s.gates + (token() * C::kCell.gates + g) * hidden() + at, valid);
    }
    TIDEGATE_INLINE Vec extra(int e) const {
        return get(step.s.extra + (token() * C::kCell.extra + e) * hidden() + at, valid);
    }
    TIDEGATE_INLINE Vec carried(int k) const { return get(carried_place(k), valid); }
    TIDEGATE_INLINE Vec mean(int k) const { return means[k]; }
    TIDEGATE_INLINE Vec vector(int k) const { return get(step.s.vectors[k] + at, valid); }
    TIDEGATE_INLINE Vec operand_gradient(int k) const {
        return get(step.s.d_operands[k] + row * hidden() + at, valid);
    }
    template <int K>
    TIDEGATE_INLINE Vec before() const {
        const Index place = K == 0 && step.place_before ? step.place_before[row] : row;
        return get(step.before[K] + place * width<K>() + at, valid);
    }
    template <int K>
    TIDEGATE_INLINE Vec after() const {
        Vec d = get(d_state_place<K>(), valid);
        if constexpr (K == 0)
            if (step.s.d_y) {
                const Index t = token(), y = step.s.place ? step.s.place[t] : t;
                d += get(step.s.d_y + y * width<K>() + at, valid);
            }
        return d;
    }

    TIDEGATE_INLINE void add_to_sum(int k, Vec v) const {
        float* sum = step.s.sums + k * hidden() + at;
        put(sum, get(sum, valid) + v, valid);
    }
    TIDEGATE_INLINE void put_d_gate(int g, Vec v) const {
        put(step.s.d_gates + (token() * C::kCell.gates + g) * hidden() + at, v, valid);
        add_to_sum(g, v);
    }
    TIDEGATE_INLINE void put_d_product(int d, Vec v) const {
        put(products_place() + d * hidden(), v, valid);
        add_to_sum(C::kCell.gates + d, v);
    }
    TIDEGATE_INLINE void put_d_projected(int k, Vec v) const {
        put(products_place() + C::kCell.separate * hidden() + k * step.s.sizes.projected, v, valid);
    }
    TIDEGATE_INLINE void put_d_vector(int k, Vec v) const {
        add_to_sum(C::kCell.gates + C::kCell.separate + k, v);
    }
    TIDEGATE_INLINE void put_carried(int k, Vec v) const { put(carried_place(k), v, valid); }
    template <int K, bool Adds>
    TIDEGATE_INLINE void put_d_state(Vec v) const {
        float* place = d_state_place<K>();
        put(place, Adds ? get(place, valid) + v : v, valid);
    }
    template <int O>
    TIDEGATE_INLINE void put_state_operand() const {
        if (step.s.operands[O]) put_operand<O>(before<C::kOperands[O].state>());
    }
    template <int O>
    TIDEGATE_INLINE void put_operand(Vec v) const {
        constexpr CellOperand o = C::kOperands[O];
        const Index W = step.s.sizes.of(C::kCell, o);
        const Mask& mask = step.s.mask;
        const bool masked = o.masked && mask.data;
        const Index copies = masked && mask.per_gate ? o.products : 1;
        float* out = step.s.operands[O] + token() * copies * W + at;
        if (copies == 1) {
            const Vec scale = masked ? get(mask.of(first_block<O>()) + row * W + at, valid) : broadcast(1.0f);
            return put(out, v * scale, valid);
        }
        for (const CellProduct& p : C::kProducts)
            if (p.operand == O)
                put(out + p.rank * W, v * get(mask.of(p.block) + row * W + at, valid), valid);
    }
    template <int O>
    static constexpr int first_block() {
        for (const CellProduct& p : C::kProducts)
            if (p.operand == O && p.rank == 0) return p.block;
        return 0;
    }
};

template <class C, int F>
void backward_phase(const BackwardStep& step) {
    constexpr CellPhase phase = C::kBackward[F];
    const BackwardSweep& s = step.s;
    const Index width = s.sizes.of(phase.projected);
    // whole panels, which this thread computes the operands' gradients of, too
    const Panels panels(width, kBackwardWidth);
    const Index begin = panels.first(s.share.begin(panels.count)) * kLanes;
    Index end = panels.first(s.share.end(panels.count)) * kLanes;
    if (end > width) end = width;
    for (Index row = 0; row < step.rows; ++row) {
        Vec means[kMeans<C>];
        for (int k = 0; k < C::kCell.carried_back; ++k)
            if (phase.means >> k & 1)
                means[k] = row_mean(s.carried + (row * C::kCell.carried_back + k) * s.sizes.hidden,
                                    s.sizes.hidden);
        for (Index at = begin; at < end; at += kLanes)
            C::template backward<F>(BackwardAt<C>{step, means, row, at, width - at});
    }
}

template <class C, int F>
void backward_phases(const BackwardStep& step, bool is_first_step) {
    if constexpr (F < C::kCell.backward_phases) {
        const BackwardSweep& s = step.s;
        backward_phase<C, F>(step);
        if constexpr (C::kCell.meets()) s.share.wait();  // for the other units of gradients
        for (int k = 0; k < C::kCell.operands; ++k) {
            const bool unfinished =
                is_first_step && !s.needs_d_state0 && C::kOperands[k].state >= 0;
            if (C::kOperands[k].phase == F && !unfinished)
                make_operand_gradient(C::kCell, s, k, step.rows, step.token);
        }
        backward_phases<C, F + 1>(step, is_first_step);
    }
}

template <class C>
void backward_sweep(const BackwardSweep& s) {
    for (Index i = s.rows.steps - 1; i >= 0; --i) {
        BackwardStep step{s, s.rows.count[i], s.rows.start[i], {}, nullptr};
        const Index previous = i ? s.rows.start[i - 1] : 0;
        if (i && s.place) step.place_before = s.place + previous;
        for (int k = 0; k < C::kCell.states; ++k) {
            const Index W = s.sizes.of(C::kStates[k]);
            const bool by_place = k == 0 && s.place;
            step.before[k] = i ? s.states[k] + (by_place ? 0 : previous * W) : s.state0[k];
        }
        backward_phases<C, 0>(step, i == 0);
    }
}

}  // namespace tidegate::TIDEGATE_ISA

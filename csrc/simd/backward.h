// The time loop back through time, over any generated cell.
#pragma once

#include "back_products.h"
#include "forward.h"

namespace tidegate::TIDEGATE_ISA {

// One step of a backward sweep.
struct BackwardStep {
    const BackwardSweep& s;
    Index rows, token;
    const float* before[kMost];        // of the rows: [n, W]; of the output where `place` says
    const std::int64_t* place_before;  // of the rows' outputs; null: side by side

    // Leaves `before` to the caller.
    BackwardStep(const BackwardSweep& sweep, Index step)
        : s(sweep), rows(s.rows.count[step]), token(s.rows.start[step]), place_before(nullptr) {}
};

// What a phase reads of a step, in variables of its own, as in the forward sweep.
template <class C>
struct BackwardFrame {
    static constexpr int G = C::kCell.gates, S = C::kCell.states;
    Index H, P;
    const float *gates, *extra;  // of the first row
    float *d_gates, *d_products, *carried, *sums;
    const float* before[S];
    float* d_states[S];
    const float* d_y;
    const std::int64_t *place, *place_before;
    const float* vectors[C::kCell.vectors + 1];
    const BackwardStep& step;

    TIDEGATE_INLINE explicit BackwardFrame(const BackwardStep& step)
        : H(step.s.sizes.hidden),
          P(step.s.sizes.projected),
          gates(step.s.gates + step.token * G * H),
          extra(step.s.extra + step.token * C::kCell.extra * H),
          d_gates(step.s.d_gates + step.token * G * H),
          d_products(step.s.d_products + step.token * products_width()),
          carried(step.s.carried),
          sums(step.s.sums),
          d_y(step.s.d_y),
          place(step.s.place ? step.s.place + step.token : nullptr),
          place_before(step.place_before),
          step(step) {
        if (d_y && !place) d_y += step.token * width(C::kStates[0].projected);
        for (int k = 0; k < S; ++k) {
            before[k] = step.before[k];
            d_states[k] = step.s.d_states[k];
        }
        for (int k = 0; k < C::kCell.vectors; ++k) vectors[k] = step.s.vectors[k];
    }
    TIDEGATE_INLINE Index width(bool projected) const { return projected ? P : H; }
    TIDEGATE_INLINE Index products_width() const {
        return C::kCell.separate * H + C::kCell.projections() * P;
    }
};

// What a cell's phase finds and leaves at one vector of units of one row: generated/cells.h.
template <class C>
struct BackwardAt : At<C, BackwardFrame<C>, C::kCell.carried_back> {
    using Base = At<C, BackwardFrame<C>, C::kCell.carried_back>;
    using Base::f, Base::row, Base::at, Base::valid, Base::in_h, Base::in_p;
    float* d_gates;

    TIDEGATE_INLINE BackwardAt(const BackwardFrame<C>& frame, const Vec* means, Index row, Index at,
                               Index valid)
        : Base(frame, means, row, at, valid),
          d_gates(frame.d_gates + row * frame.G * frame.H + at) {}

    TIDEGATE_INLINE float* product_place(Index from) const {
        return f.d_products + row * f.products_width() + from + at;
    }

    TIDEGATE_INLINE Vec extra(int e) const {
        return get(f.extra + (row * C::kCell.extra + e) * f.H + at, valid);
    }
    TIDEGATE_INLINE Vec operand_gradient(int k) const {
        return get(f.step.s.d_operands[k] + in_h, valid);
    }
    template <int K>
    TIDEGATE_INLINE Vec before() const {
        const bool moved = K == 0 && f.place_before;
        const Index place = this->template place<K>(), width = this->template width<K>();
        return get(f.before[K] + (moved ? f.place_before[row] * width + at : place), valid);
    }
    template <int K>
    TIDEGATE_INLINE Vec after() const {
        const Index place = this->template place<K>(), width = this->template width<K>();
        Vec d = get(f.d_states[K] + place, valid);
        if constexpr (K == 0)
            if (f.d_y) d += get(f.d_y + (f.place ? f.place[row] * width + at : place), valid);
        return d;
    }

    TIDEGATE_INLINE void add_to_sum(int k, Vec v) const {
        float* sum = f.sums + k * f.H + at;
        put(sum, get(sum, valid) + v, valid);
    }
    TIDEGATE_INLINE void put_d_gate(int g, Vec v) const {
        put(d_gates + g * f.H, v, valid);
        add_to_sum(g, v);
    }
    TIDEGATE_INLINE void put_d_product(int d, Vec v) const {
        put(product_place(d * f.H), v, valid);
        add_to_sum(C::kCell.gates + d, v);
    }
    TIDEGATE_INLINE void put_d_projected(int k, Vec v) const {
        put(product_place(C::kCell.separate * f.H + k * f.P), v, valid);
    }
    TIDEGATE_INLINE void put_d_vector(int k, Vec v) const {
        add_to_sum(C::kCell.gates + C::kCell.separate + k, v);
    }
    template <int K, bool Adds>
    TIDEGATE_INLINE void put_d_state(Vec v) const {
        float* out = f.d_states[K] + this->template place<K>();
        put(out, Adds ? get(out, valid) + v : v, valid);
    }
    template <int O>
    TIDEGATE_INLINE void put_state_operand() const {
        if (f.step.s.operands[O]) put_operand<O>(before<C::kOperands[O].state>());
    }
    template <int O>
    TIDEGATE_INLINE void put_operand(Vec v) const {
        constexpr CellOperand o = C::kOperands[O];
        const bool projected = o.state >= 0 && C::kStates[o.state < 0 ? 0 : o.state].projected;
        const Index W = f.width(projected), place = projected ? in_p : in_h;
        const Mask& mask = f.step.s.mask;
        const bool masked = o.masked && mask.data, apart = masked && mask.per_gate;
        float* out =
            f.step.s.operands[O] + (f.step.token + row) * (apart ? o.products : 1) * W + at;
        if (!masked) return put(out, v, valid);
        for (const CellProduct& p : C::kProducts)
            if (p.operand == O && (p.rank == 0 || apart))
                put(out + p.rank * W, v * get(mask.of(p.block) + place, valid), valid);
    }
};

// A phase of a cell for all rows and the units of this thread: whole panels, of which it computes
// the operands' gradients, too.
template <class C, int F>
TIDEGATE_NOINLINE void backward_units(const BackwardStep& step) {
    constexpr CellPhase phase = C::kBackward[F];
    const BackwardFrame<C> frame(step);
    const Index width = frame.width(phase.projected);
    const Share& share = step.s.share;
    const Panels panels(width, kBackwardWidth);
    const Index begin = panels.first(share.begin(panels.count)) * kLanes;
    Index end = panels.first(share.end(panels.count)) * kLanes;
    if (end > width) end = width;
    for (Index row = 0; row < step.rows; ++row) {
        Vec means[kMeans<C>];
        for (int k = 0; k < C::kCell.carried_back; ++k)
            if (phase.means >> k & 1)
                means[k] =
                    row_mean(frame.carried + (row * C::kCell.carried_back + k) * frame.H, frame.H);
        for (Index at = begin; at < end; at += kLanes)
            C::template backward<F>(BackwardAt<C>(frame, means, row, at, width - at));
    }
}

template <class C, int F>
void backward_phases(const BackwardStep& step, const OperandPass* passes, bool is_first_step) {
    if constexpr (F < C::kCell.backward_phases) {
        const BackwardSweep& s = step.s;
        backward_units<C, F>(step);
        if constexpr (C::kCell.meets()) s.share.wait();  // for the other units of gradients
        for (int k = 0; k < C::kCell.operands; ++k) {
            const bool unfinished =
                is_first_step && !s.needs_d_state0 && C::kOperands[k].state >= 0;
            if (C::kOperands[k].phase == F && !unfinished)
                make_operand_gradient(passes[k], step.rows, step.token, s.share);
        }
        backward_phases<C, F + 1>(step, passes, is_first_step);
    }
}

template <class C>
void backward_sweep(const BackwardSweep& s) {
    OperandPass passes[C::kCell.operands + 1];
    for (int k = 0; k < C::kCell.operands; ++k) prepare(C::kCell, s, k, passes[k]);
    for (Index i = s.rows.steps - 1; i >= 0; --i) {
        BackwardStep step(s, i);
        const Index previous = i ? s.rows.start[i - 1] : 0;
        if (i && s.place) step.place_before = s.place + previous;
        for (int k = 0; k < C::kCell.states; ++k) {
            const Index W = s.sizes.of(C::kStates[k]);
            const bool by_place = k == 0 && s.place;
            step.before[k] = i ? s.states[k] + (by_place ? 0 : previous * W) : s.state0[k];
        }
        backward_phases<C, 0>(step, passes, i == 0);
    }
}

// The time loops of each cell of a list.
template <class List>
struct KernelsOf;

template <class... C>
struct KernelsOf<CellList<C...>> {
    static constexpr CellKernels cells[] = {{&C::kCell, forward_sweep<C>, backward_sweep<C>}...};
    static constexpr int count = sizeof...(C);
};

}  // namespace tidegate::TIDEGATE_ISA

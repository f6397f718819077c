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

// Of a cell, how many carried values there is room for; and the masked operand that a state is, or
// -1.
template <class C>
constexpr int kMeans = C::kCell.carried + C::kCell.carried_back + 1;

template <class C, int K>
constexpr int masked_operand_of() {
    for (int k = 0; k < C::kCell.operands; ++k)
        if (C::kOperands[k].state == K && C::kOperands[k].masked) return k;
    return -1;
}

// What a phase reads of a step, in variables of its own: stores through pointers to floats might
// change what stands in memory.
template <class C>
struct ForwardFrame {
    static constexpr int G = C::kCell.gates, S = C::kCell.states;
    Index H, P;
    float *gates, *extra, *carried;  // of the first row
    const float* before[S];
    float* after[S];
    float* y;
    const std::int64_t* place;
    const float* vectors[C::kCell.vectors + 1];
    Sums sums[C::kCell.products + 1];
    const ForwardStep& step;
    const Mask mask;
    const bool training;

    TIDEGATE_INLINE explicit ForwardFrame(const ForwardStep& step)
        : H(step.s.sizes.hidden),
          P(step.s.sizes.projected),
          gates(step.s.gates + step.token * G * H),
          extra(step.s.extra + step.token * C::kCell.extra * H),
          carried(step.s.carried),
          y(step.s.y + (step.s.place ? 0 : step.token * width(C::kStates[0].projected))),
          place(step.s.place ? step.s.place + step.token : nullptr),
          step(step),
          mask(step.s.mask),
          training(step.s.training) {
        for (int k = 0; k < S; ++k) {
            before[k] = step.before[k];
            after[k] = step.after[k];
        }
        for (int k = 0; k < C::kCell.vectors; ++k) vectors[k] = step.s.vectors[k];
        for (int j = 0; j < C::kCell.products; ++j) sums[j] = step.sums[j];
    }
    TIDEGATE_INLINE Index width(bool projected) const { return projected ? P : H; }
};

// What a cell's phase finds at one vector of units of one row, in a step there or back. `Carried`
// values of H stand in workspace.
template <class C, class Frame, int Carried>
struct At {
    const Frame& f;
    const Vec* means;
    Index row, at, valid;
    Index in_h, in_p;              // where it stands in [n, H] and in [n, P]
    decltype(Frame::gates) gates;  // of the first gate

    TIDEGATE_INLINE At(const Frame& frame, const Vec* means, Index row, Index at, Index valid)
        : f(frame),
          means(means),
          row(row),
          at(at),
          valid(valid),
          in_h(row * frame.H + at),
          in_p(row * frame.P + at),
          gates(frame.gates + row * frame.G * frame.H + at) {}

    template <int K>
    TIDEGATE_INLINE Index place() const {
        return C::kStates[K].projected ? in_p : in_h;
    }
    template <int K>
    TIDEGATE_INLINE Index width() const {
        return f.width(C::kStates[K].projected);
    }
    TIDEGATE_INLINE float* carried_place(int k) const {
        return f.carried + (row * Carried + k) * f.H + at;
    }

    TIDEGATE_INLINE Vec gate(int g) const { return get(gates + g * f.H, valid); }
    TIDEGATE_INLINE Vec carried(int k) const { return get(carried_place(k), valid); }
    TIDEGATE_INLINE Vec mean(int k) const { return means[k]; }
    TIDEGATE_INLINE Vec vector(int k) const { return get(f.vectors[k] + at, valid); }
    TIDEGATE_INLINE void put_carried(int k, Vec v) const { put(carried_place(k), v, valid); }
};

// What a cell's phase finds and leaves there: generated/cells.h. product(j): the j-th product of
// the phase. `MayBeApart`: gates may have masks of their own.
template <class C, bool MayBeApart, class Products>
struct ForwardAt : At<C, ForwardFrame<C>, C::kCell.carried> {
    using Base = At<C, ForwardFrame<C>, C::kCell.carried>;
    using Base::f, Base::row, Base::at, Base::valid, Base::in_h, Base::gates;
    const Products& product;

    TIDEGATE_INLINE ForwardAt(const ForwardFrame<C>& frame, const Products& product,
                              const Vec* means, Index row, Index at, Index valid)
        : Base(frame, means, row, at, valid), product(product) {}

    TIDEGATE_INLINE bool is_training() const { return f.training; }
    template <int K>
    TIDEGATE_INLINE Vec before() const {
        return get(f.before[K] + this->template place<K>(), valid);
    }

    TIDEGATE_INLINE void put_gate(int g, Vec v) const { put(gates + g * f.H, v, valid); }
    TIDEGATE_INLINE void put_extra(int e, Vec v) const {
        put(f.extra + (row * C::kCell.extra + e) * f.H + at, v, valid);
    }
    template <int K>
    TIDEGATE_INLINE void put_state(Vec v) const {
        const Index place = this->template place<K>(), width = this->template width<K>();
        put(f.after[K] + place, v, valid);
        if constexpr (K == 0) put(f.y + (f.place ? f.place[row] * width + at : place), v, valid);
        constexpr int operand = masked_operand_of<C, K>();
        if constexpr (operand >= 0)
            if (f.mask.data) put_masked<operand>(v, 1 - f.step.now, place, width);
    }
    template <int O>
    TIDEGATE_INLINE void put_operand(Vec v) const {
        if (C::kOperands[O].masked && f.mask.data) return put_masked<O>(v, 0, in_h, f.H);
        put(f.step.s.operands[O][0] + in_h, v, valid);
    }
    template <int O>
    TIDEGATE_INLINE void put_masked(Vec v, int which, Index place, Index W) const {
        float* out = f.step.s.operands[O][which] + place;
        if (!MayBeApart || !f.mask.per_gate)
            return put(out, v * get(f.mask.data + place, valid), valid);
        for (const CellProduct& p : C::kProducts)
            if (p.operand == O)
                put(out + p.rank * f.step.s.most_rows * W,
                    v * get(f.mask.of(p.block) + place, valid), valid);
    }
};

// A phase of a cell for rows first .. last - 1 and units begin .. end - 1.
template <class C, int F>
TIDEGATE_NOINLINE void forward_units(const ForwardStep& step, Index first, Index last, Index begin,
                                     Index end) {
    constexpr CellPhase phase = C::kForward[F];
    const ForwardFrame<C> frame(step);
    const Index width = frame.width(phase.projected);
    for (Index row = first; row < last; ++row) {
        Vec means[kMeans<C>];
        for (int k = 0; k < C::kCell.carried; ++k)
            if (phase.means >> k & 1)
                means[k] =
                    row_mean(frame.carried + (row * C::kCell.carried + k) * frame.H, frame.H);
        for (Index at = begin; at < end; at += kLanes) {
            const auto product = [&](int j) {
                const Vec sum = load(frame.sums[j].data + row * frame.sums[j].stride + at);
                return kRounded ? sum + load(frame.sums[j].bias + at) : sum;
            };
            C::template forward<F>(
                ForwardAt<C, true, decltype(product)>(frame, product, means, row, at, width - at));
        }
    }
}

// One register tile of the first phase: the products of some rows and U vectors of units, then what
// the cell makes of them, while they are at hand.
template <class C, int G, int U>
struct FusedTile {
    const ForwardFrame<C>& frame;
    const float *panel, *operand;
    Index depth, unit, rows;
    const float* next_panel;  // what will be read next, if it may have left the cache

    // A function of its own: constants that are loaded before a loop over panels take registers
    // from the sums.
    TIDEGATE_NOINLINE void run_all() const { for_each_tile<max_rows(G * U)>(rows, *this); }

    template <int R>
    TIDEGATE_INLINE void run(Index first) const {
        constexpr int V = G * U;
        const Index H = frame.H;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
            for (int g = 0; g < C::kCell.gates; ++g)
                __builtin_prefetch(frame.gates + ((first + r) * C::kCell.gates + g) * H + unit, 1);
        Vec sums[R][V];
        for (int v = 0; v < V; ++v) {
            const Vec bias = load(panel + v * kLanes);
            for (int r = 0; r < R; ++r) sums[r][v] = bias;
        }
        const float* ahead =
            next_panel ? next_panel + first * (depth + 1) * V / rows * kLanes : nullptr;
        multiply_panel<R, V>(sums, operand + first * depth, depth, panel + V * kLanes, depth,
                             ahead);
        // of several rows in memory, so that what follows is compiled once for all of them
        alignas(64) float kept[R * V * kLanes];
        if constexpr (R > 1)
            for (int r = 0; r < R; ++r)
                for (int v = 0; v < V; ++v) store(kept + (r * V + v) * kLanes, sums[r][v]);
#pragma GCC unroll 1
        for (int r = 0; r < R; ++r)
            for (int u = 0; u < U; ++u) {
                const Index at = unit + u * kLanes;
                const auto product = [&](int j) {
                    if constexpr (R > 1)
                        return load(kept + (r * V + j * U + u) * kLanes);
                    else
                        return sums[0][j * U + u];
                };
                if (at < H)
                    C::template forward<0>(ForwardAt<C, false, decltype(product)>(
                        frame, product, nullptr, first + r, at, H - at));
            }
    }
};

// A panel narrower than most, whose tiles are compiled once for all cells.
inline void narrow_panel(int G, int U, const float* panel, const float* operand, Index depth,
                         Index unit, const float* next_panel, ForwardStep& step,
                         void (*units)(const ForwardStep&, Index, Index, Index, Index)) {
    const Index V = G * U, stride = V * kLanes, H = step.s.sizes.hidden;
    const Index end = unit + U * kLanes < H ? unit + U * kLanes : H;
    alignas(64) float sums[kTileSums * kLanes];
    const Tile tile{operand, panel, depth, stride, sums, stride, stride, next_panel, step.rows};
    for (int g = 0; g < G; ++g) step.sums[g].stride = stride;
    for_each_height(step.rows, max_rows(V), [&](Index first, Index height) {
        run_tile(tile, V, first, height);
        for (int g = 0; g < G; ++g)
            step.sums[g].data = sums + g * U * kLanes - first * stride - unit;
        units(step, first, first + height, unit, end);
    });
}

template <class C>
constexpr int first_products() {
    int count = 0;
    for (const CellProduct& p : C::kProducts) count += p.phase == 0;
    return count;
}

template <class C>
TIDEGATE_NOINLINE void fused_phase(ForwardStep& step) {
    constexpr int G = first_products<C>(), kWidest = matrices_width(G);
    const ForwardFrame<C> frame(step);
    const Share& share = step.s.share;
    const float* const packed = step.s.panels;
    const CellProduct& product = C::kProducts[0];
    const Index depth = step.s.sizes.of(C::kCell, C::kOperands[product.operand]);
    const float* operand = operand_of(C::kCell, step, product);
    const Panels panels(frame.H, kWidest);
    const bool streams = panels.vectors * kLanes * G * (depth + 1) > kSecondCache;
    for (Index p = share.begin(panels.count); p < share.end(panels.count); ++p) {
        const Index unit = panels.first(p) * kLanes;
        const Index next_unit = panels.first((p + 1) % panels.count) * kLanes;
        const float* next_panel = streams ? packed + next_unit * G * (depth + 1) : nullptr;
        const float* panel = packed + unit * G * (depth + 1);
        if (panels.width(p) == kWidest) {
            const FusedTile<C, G, kWidest> tile{frame, panel,     operand,   depth,
                                                unit,  step.rows, next_panel};
            tile.run_all();
        } else {
            narrow_panel(G, panels.width(p), panel, operand, depth, unit, next_panel, step,
                         forward_units<C, 0>);
        }
    }
}

// All products of the phase, then the phase.
template <class C, int F>
TIDEGATE_INLINE void forward_phase(ForwardStep& step) {
    const ForwardSweep& s = step.s;
    if constexpr (C::kForward[F].fused && !kRounded)
        if (!s.mask.per_gate) return fused_phase<C>(step);
    const Index width = s.sizes.of(C::kForward[F].projected);
    const Panels panels = phase_panels(C::kCell, s.sizes, F);
    const Index begin = panels.first(s.share.begin(panels.count)) * kLanes;
    const Index end = panels.first(s.share.end(panels.count)) * kLanes;
    make_products(C::kCell, F, step);
    forward_units<C, F>(step, 0, step.rows, begin, end < width ? end : width);
}

template <class C, int F>
TIDEGATE_INLINE void forward_phases(ForwardStep& step) {
    if constexpr (F < C::kCell.forward_phases) {
        forward_phase<C, F>(step);
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
        ForwardStep step(s, i);
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

// The engine's calls on a problem. Every array has exactly the size the call may touch, so that the
// address sanitizer sees one float too far; what a call must write is NaN before.
#pragma once

#include "engine/layer.h"
#include "engine/training.h"
#include "problem.h"

namespace tests {

using tidegate::CellOperand;
using tidegate::CellProduct;
using tidegate::Gradient;
using tidegate::kMost;
using tidegate::Schedule;

inline Floats nans(Index count) { return Floats(static_cast<std::size_t>(count), kNaN); }

struct Outputs {
    Floats y;                   // [T, B, W of the first state]
    std::vector<Floats> final;  // [B, W] each
};

// What a training pass leaves for the pass back.
struct Saved {
    Outputs outputs;
    Floats gates, extra;         // [N, G*H], [N, extra*H]
    std::vector<Floats> states;  // of every step, [N, W] each, but for the first
};

// By the variables of reference::Layer, and bias_ih.
struct Gradients {
    Floats products;          // [T, B, G*H], zero beyond each length
    Floats weight_hh;         // [blocks*H, W]
    Floats bias_ih, bias_hh;  // [G*H], [blocks*H]
    std::vector<Floats> vectors, projections, state0;

    std::vector<const Floats*> all() const {
        std::vector<const Floats*> each{&products, &weight_hh, &bias_ih, &bias_hh};
        for (const auto* list : {&vectors, &projections, &state0})
            for (const Floats& values : *list) each.push_back(&values);
        return each;
    }
};

class Calls {
  public:
    explicit Calls(Problem& problem)
        : p_(problem),
          schedule_(tidegate::make_schedule(problem.shape.T, problem.shape.B, problem.lengths(),
                                            problem.options.reverse, problem.options.threads,
                                            problem.options.by_units)) {}

    Outputs infer() {
        const tidegate::Layer layer = make_layer();
        Outputs out = fresh_outputs();
        float* final[kMost];
        const float* state0[kMost];
        for (int k = 0; k < p_.cell.states; ++k) {
            final[k] = given(out.final[k]);
            state0[k] = given(p_.state0[k]);
        }
        layer.forward(schedule_, p_.x.data(), p_.batch_mask(), state0, final, out.y.data());
        return out;
    }

    // Step after step, all rows at once: for rectangular batches read forward, without a mask.
    Outputs stream() {
        const auto [T, B, I, H] = p_.shape;
        const Index W = p_.width(0);
        tidegate::Layer layer = make_layer();
        Outputs out{nans(T * B * W), p_.state0};
        float* states[kMost];
        for (int k = 0; k < p_.cell.states; ++k) states[k] = given(out.final[k]);
        for (Index t = 0; t < T; ++t) {
            const Floats x(p_.x.begin() + t * B * I, p_.x.begin() + (t + 1) * B * I);
            layer.step(x.data(), B, states);
            std::copy_n(states[0], B * W, out.y.begin() + t * B * W);
        }
        return out;
    }

    Saved train() {
        const Index H = p_.shape.H, N = schedule_.tokens, G = p_.cell.gates;
        const Floats products(p_.reference.products.begin(), p_.reference.products.end());
        Saved saved{fresh_outputs(), nans(N * G * H), nans(N * p_.cell.extra * H), {}};
        tidegate::gather(schedule_, G * H, products.data(), given(saved.gates));
        tidegate::ForwardCall call{};
        call.sizes = p_.sizes;
        call.weights = p_.weights();
        call.mask = p_.batch_mask();
        call.gates = given(saved.gates);
        call.extra = given(saved.extra);
        call.states[0] = saved.outputs.y.data();
        for (int k = 1; k < p_.cell.states; ++k) saved.states.push_back(nans(N * p_.width(k)));
        for (int k = 0; k < p_.cell.states; ++k) {
            if (k > 0) call.states[k] = given(saved.states[k - 1]);
            call.state0[k] = p_.state0[k].data();
            call.final[k] = saved.outputs.final[k].data();
        }
        tidegate::forward(p_.kernels, p_.kernel, schedule_, call);
        return saved;
    }

    Gradients backward(Saved& saved) {
        const Cell& cell = p_.cell;
        const Index B = p_.shape.B, H = p_.shape.H, N = schedule_.tokens, G = cell.gates;
        const Index D = p_.sizes.of_products(cell);
        const bool in_place = p_.options.in_place;
        const bool products_in_place = in_place && cell.extra * H == D && !cell.projections();
        Floats d_gates = nans(in_place ? 0 : N * G * H);
        Floats d_products = nans(products_in_place ? 0 : N * D);
        Gradients out{nans(p_.shape.T * B * G * H),
                      Floats(p_.weight_hh.size()),
                      nans(G * H),
                      nans(p_.blocks() * H),
                      {},
                      {},
                      {}};
        tidegate::BackwardCall call{};
        call.sizes = p_.sizes;
        call.weights = p_.weights();
        call.mask = p_.batch_mask();
        call.gates = given(saved.gates);
        call.extra = given(saved.extra);
        call.states[0] = saved.outputs.y.data();
        call.d_y = p_.d_y.data();
        call.d_gates = given(in_place ? saved.gates : d_gates);
        call.d_products = given(products_in_place ? saved.extra : d_products);
        for (int k = 0; k < cell.states; ++k) out.state0.push_back(nans(B * p_.width(k)));
        for (int k = 0; k < cell.vectors; ++k) out.vectors.push_back(nans(H));
        for (const Floats& each : p_.projections) out.projections.emplace_back(each.size());
        for (int k = 0; k < cell.states; ++k) {
            if (k > 0) call.states[k] = given(saved.states[k - 1]);
            call.state0[k] = p_.state0[k].data();
            call.d_final[k] = p_.options.of_final_state ? p_.d_final[k].data() : nullptr;
            call.d_state0[k] = out.state0[k].data();
        }
        call.d_input_bias = out.bias_ih.data();
        call.d_recurrent_bias = out.bias_hh.data();
        for (int k = 0; k < cell.vectors; ++k) call.d_vectors[k] = out.vectors[k].data();
        std::vector<Floats> operands;
        for (int k = 0; k < cell.operands; ++k) operands.push_back(nans(N * row_of(k)));
        for (int k = 0; k < cell.operands; ++k) call.operands[k] = given(operands[k]);
        call.needs_d_state0 = true;
        tidegate::backward(p_.kernels, p_.kernel, schedule_, call);

        tidegate::scatter(schedule_, G * H, call.d_gates, out.products.data());
        for (int j = 0; j < cell.products; ++j)
            add_weight_gradient(cell.product[j], call, operands, out);
        return out;
    }

  private:
    tidegate::Layer make_layer() const {
        return {p_.kernels, p_.kernel, p_.shape.I, p_.sizes, p_.weights(), p_.options.threads};
    }

    Outputs fresh_outputs() const {
        Outputs out{nans(p_.shape.T * p_.shape.B * p_.width(0)), {}};
        for (int k = 0; k < p_.cell.states; ++k)
            out.final.push_back(nans(p_.shape.B * p_.width(k)));
        return out;
    }

    // Floats of what an operand's products saw, of one token.
    Index row_of(int operand) const {
        const CellOperand& o = p_.cell.operand[operand];
        const bool apart = o.masked && p_.options.masks == Masks::kPerGate;
        return (apart ? o.products : 1) * p_.sizes.of(p_.cell, o);
    }

    // The product over all tokens that the caller makes.
    void add_weight_gradient(const CellProduct& product, const tidegate::BackwardCall& call,
                             const std::vector<Floats>& operands, Gradients& out) const {
        const Cell& cell = p_.cell;
        const Index H = p_.shape.H, D = p_.sizes.of_products(cell);
        const Index rows = p_.sizes.of(product), row = row_of(product.operand);
        const Index W = p_.sizes.of(cell, cell.operand[product.operand]);
        const Index rank = row > W ? product.rank * W : 0;
        float* into = product.projects ? out.projections[product.block].data()
                                       : out.weight_hh.data() + product.block * H * W;
        for (Index token = 0; token < schedule_.tokens; ++token) {
            const float* d = call.d_gates + token * cell.gates * H + product.column * H;
            if (product.gradient == Gradient::kProducts)
                d = call.d_products + token * D + product.column * H;
            if (product.gradient == Gradient::kProjected)
                d = call.d_products + token * D + cell.separate * H +
                    product.column * p_.sizes.projected;
            const float* seen = operands[product.operand].data() + token * row + rank;
            for (Index r = 0; r < rows; ++r)
                for (Index k = 0; k < W; ++k) into[r * W + k] += d[r] * seen[k];
        }
    }

    Problem& p_;
    Schedule schedule_;
};

}  // namespace tests

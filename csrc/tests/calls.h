// The engine's calls on a problem. Every array has exactly the size the call may touch, so that the
// address sanitizer sees one float too far; what a call must write is NaN before.
#pragma once

#include "../sweep.h"
#include "problem.h"

namespace tests {

using tidegate::Schedule;

inline Floats nans(Index count) { return Floats(static_cast<std::size_t>(count), kNaN); }

struct Outputs {
    Floats y;         // [T, B, H]
    Floats final[2];  // [B, H]
};

// What a training pass leaves for the pass back.
struct Saved {
    Outputs outputs;
    Floats gates, extra, cells;  // [N, G*H], [N, extra*H], [N, H]
};

// By the variables of reference::Layer, and bias_ih.
struct Gradients {
    Floats products;          // [T, B, G*H], zero beyond each length
    Floats weight_hh;         // [G*H, H]
    Floats bias_ih, bias_hh;  // [G*H]
    Floats state0[2];         // [B, H]
};

class Calls {
  public:
    explicit Calls(Problem& problem)
        : p_(problem),
          schedule_(tidegate::make_schedule(problem.shape.T, problem.shape.B, problem.lengths(),
                                            problem.options.reverse, problem.options.threads,
                                            problem.options.by_units)) {}

    Outputs infer(const tidegate::Kernels& kernels) {
        const tidegate::Layer layer(kernels, p_.cell, p_.shape.I, p_.shape.H, p_.weight_ih.data(),
                                    p_.weight_hh.data(), given(p_.bias_ih), given(p_.bias_hh),
                                    p_.options.threads);
        Outputs out = fresh_outputs();
        float* final[2] = {given(out.final[0]), given(out.final[1])};
        const float* state0[2] = {given(p_.state0[0]), given(p_.state0[1])};
        layer.forward(schedule_, p_.x.data(), given(p_.mask), state0, final, out.y.data());
        return out;
    }

    // Step after step, all rows at once: for rectangular batches read forward, without a mask.
    Outputs stream(const tidegate::Kernels& kernels) {
        const auto [T, B, I, H] = p_.shape;
        tidegate::Layer layer(kernels, p_.cell, I, H, p_.weight_ih.data(), p_.weight_hh.data(),
                              given(p_.bias_ih), given(p_.bias_hh), p_.options.threads);
        Outputs out{nans(T * B * H), {p_.state0[0], p_.state0[1]}};
        float* states[2] = {given(out.final[0]), given(out.final[1])};
        for (Index t = 0; t < T; ++t) {
            const Floats x(p_.x.begin() + t * B * I, p_.x.begin() + (t + 1) * B * I);
            layer.step(x.data(), B, states);
            std::copy_n(states[0], B * H, out.y.begin() + t * B * H);
        }
        return out;
    }

    Saved train() {
        const Index H = p_.shape.H, N = schedule_.tokens, G = p_.cell.gates;
        const Floats products(p_.reference.products.begin(), p_.reference.products.end());
        Saved saved{fresh_outputs(), nans(N * G * H), nans(N * p_.cell.extra * H), {}};
        tidegate::gather(schedule_, G * H, products.data(), given(saved.gates));
        if (p_.cell.states > 1) saved.cells = nans(N * H);
        tidegate::ForwardCall call{};
        call.hidden = H;
        call.weight_hh = p_.weight_hh.data();
        call.bias_hh = given(p_.bias_hh);
        call.mask = given(p_.mask);
        call.gates = given(saved.gates);
        call.extra = given(saved.extra);
        call.states[0] = saved.outputs.y.data();
        call.states[1] = given(saved.cells);
        for (int k = 0; k < p_.cell.states; ++k) {
            call.state0[k] = p_.state0[k].data();
            call.final[k] = saved.outputs.final[k].data();
        }
        tidegate::forward(p_.cell, schedule_, call);
        return saved;
    }

    Gradients backward(Saved& saved) {
        const CellKernels& cell = p_.cell;
        const Index B = p_.shape.B, H = p_.shape.H, N = schedule_.tokens;
        const Index G = cell.gates, D = cell.separate;
        const bool in_place = p_.options.in_place, products_in_place = in_place && cell.extra == D;
        Floats d_gates = nans(in_place ? 0 : N * G * H);
        Floats d_products = nans(products_in_place ? 0 : N * D * H);
        Floats operand = nans(N * H), second_operand = nans(cell.first < G ? N * H : 0);
        Gradients out{
            nans(p_.shape.T * B * G * H), Floats(G * H * H), nans(G * H), nans(G * H), {}};
        tidegate::BackwardCall call{};
        call.hidden = H;
        call.weight_hh = p_.weight_hh.data();
        call.mask = given(p_.mask);
        call.gates = given(saved.gates);
        call.extra = given(saved.extra);
        call.states[0] = saved.outputs.y.data();
        call.states[1] = given(saved.cells);
        call.d_y = p_.d_y.data();
        call.d_gates = given(in_place ? saved.gates : d_gates);
        call.d_products = given(products_in_place ? saved.extra : d_products);
        for (int k = 0; k < cell.states; ++k) {
            out.state0[k] = nans(B * H);
            call.state0[k] = p_.state0[k].data();
            call.d_final[k] = p_.options.of_final_state ? p_.d_final[k].data() : nullptr;
            call.d_state0[k] = out.state0[k].data();
        }
        call.d_bias_ih = out.bias_ih.data();
        call.d_bias_hh = out.bias_hh.data();
        call.operand = given(operand);
        call.second_operand = given(second_operand);
        call.needs_d_state0 = true;
        tidegate::backward(cell, schedule_, call);

        tidegate::scatter(schedule_, G * H, call.d_gates, out.products.data());
        for (Index token = 0; token < N; ++token)  // the product the caller makes
            for (Index row = 0; row < G * H; ++row) {
                const Index slot = cell.slot[row / H];
                const float d = slot < 0 ? call.d_gates[token * G * H + row]
                                         : call.d_products[(token * D + slot) * H + row % H];
                const Floats& seen = row / H < cell.first ? operand : second_operand;
                for (Index k = 0; k < H; ++k) out.weight_hh[row * H + k] += d * seen[token * H + k];
            }
        return out;
    }

  private:
    Outputs fresh_outputs() const {
        const auto [T, B, I, H] = p_.shape;
        return {nans(T * B * H), {nans(B * H), nans(p_.cell.states > 1 ? B * H : 0)}};
    }

    Problem& p_;
    Schedule schedule_;
};

}  // namespace tests

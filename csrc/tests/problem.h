// One layer in one direction with random numbers, for the engine and for the reference.
#pragma once

#include <cmath>
#include <limits>
#include <random>

#include "engine/kernels.h"
#include "engine/part.h"
#include "equations.h"

namespace tests {

using reference::Index;
using reference::Reals;
using Floats = std::vector<float>;
using Random = std::mt19937;
using tidegate::Cell;
using tidegate::CellKernels;
using tidegate::Kernels;
using tidegate::Role;
using tidegate::Sizes;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Shape {
    Index T, B, I, H;
};

enum class Masks { kNone, kShared, kPerGate };

struct Options {
    bool ragged, reverse, bias;
    Masks masks;
    bool in_place;        // backward: gradients replace what the forward pass saved
    bool of_final_state;  // the loss is of y and the final states, else of y alone
    int threads;
    bool by_units;  // threads share units, not rows
};

inline Floats draw(Random& random, Index count, double scale) {
    std::normal_distribution<double> normal(0, scale);
    Floats values(static_cast<std::size_t>(count));
    for (float& v : values) v = static_cast<float>(normal(random));
    return values;
}

// The set of that name, if this machine can run it.
inline const Kernels* kernels_named(const std::string& name) {
    for (const Kernels* each : tidegate::available_kernels())
        if (name == each->isa) return each;
    for (const Kernels* each : tidegate::available_rounding_kernels())
        if (name == each->isa) return each;
    return nullptr;
}

inline Reals exact(const Floats& values) { return Reals(values.begin(), values.end()); }
inline float* given(Floats& values) { return values.empty() ? nullptr : values.data(); }

struct Problem {
    const Kernels& kernels;
    const CellKernels& kernel;
    const Cell& cell;
    Shape shape;
    Options options;
    Sizes sizes;
    reference::Layer reference;
    Floats x, weight_ih, bias_ih, weight_hh, bias_hh, mask;
    std::vector<Floats> vectors, projections, state0;
    Floats d_y;                   // dL/dy, NaN beyond each length
    std::vector<Floats> d_final;  // dL/d(final state)

    Problem(const Kernels& kernels, const CellKernels& kernel, Shape shape, Options options,
            Random& random)
        : kernels(kernels), kernel(kernel), cell(*kernel.cell), shape(shape), options(options) {
        const Index T = shape.T, B = shape.B, I = shape.I, H = shape.H, G = cell.gates;
        sizes.hidden = H;
        sizes.projected = cell.projections() ? H / 3 + 1 : H;
        const Index W = sizes.recurrent(cell), K = blocks();
        weight_ih = draw(random, G * H * I, 0.7 / std::sqrt(double(I)));
        weight_hh = draw(random, K * H * W, 0.7 / std::sqrt(double(W)));
        if (options.bias) bias_ih = draw(random, G * H, 0.3), bias_hh = draw(random, K * H, 0.3);
        for (int k = 0; k < cell.vectors; ++k) vectors.push_back(draw(random, H, 0.7));
        for (int k = 0; k < cell.projections(); ++k)
            projections.push_back(draw(random, sizes.projected * H, 1 / std::sqrt(double(H))));
        if (options.masks != Masks::kNone) {
            std::bernoulli_distribution keep(0.7);
            const Index masks = options.masks == Masks::kPerGate ? K : 1;
            mask.resize(static_cast<std::size_t>(masks * B * W));
            for (float& scale : mask) scale = keep(random) ? 1 / 0.7f : 0.0f;
        }
        std::uniform_int_distribution<Index> length(0, T);
        reference.lengths.resize(static_cast<std::size_t>(B));
        for (Index& steps : reference.lengths) steps = options.ragged ? length(random) : T;
        for (int k = 0; k < cell.states; ++k) {
            state0.push_back(draw(random, B * width(k), 1));
            d_final.push_back(draw(random, B * width(k), 1));
        }
        x = draw(random, T * B * I, 1);
        d_y = draw(random, T * B * width(0), 1);
        for (Index t = 0; t < T; ++t)
            for (Index b = 0; b < B; ++b)
                if (t >= reference.lengths[b]) {
                    std::fill_n(x.begin() + (t * B + b) * I, I, kNaN);
                    std::fill_n(d_y.begin() + (t * B + b) * width(0), width(0), kNaN);
                }
        prepare_reference();
    }

    const Index* lengths() const { return options.ragged ? reference.lengths.data() : nullptr; }
    Index width(int state) const { return sizes.of(cell.state[state]); }
    int blocks() const { return cell.blocks(Role::kRecurrent); }

    tidegate::Weights weights() const {
        tidegate::Weights all;
        all.input = weight_ih.data();
        all.recurrent = weight_hh.data();
        all.input_bias = options.bias ? bias_ih.data() : nullptr;
        all.recurrent_bias = options.bias ? bias_hh.data() : nullptr;
        for (std::size_t k = 0; k < vectors.size(); ++k) all.vectors[k] = vectors[k].data();
        for (std::size_t k = 0; k < projections.size(); ++k)
            all.projections[k] = projections[k].data();
        return all;
    }
    tidegate::BatchMask batch_mask() const {
        return {mask.empty() ? nullptr : mask.data(), options.masks == Masks::kPerGate};
    }

  private:
    void prepare_reference() {
        const Index B = shape.B, I = shape.I, H = shape.H, G = cell.gates;
        const Index W = sizes.recurrent(cell);
        reference.cell = cell.name;
        reference.T = shape.T, reference.B = B, reference.H = H, reference.gates = G;
        reference.P = sizes.projected, reference.width = W;
        reference.reverse = options.reverse;
        for (Index row = 0; row < shape.T * B; ++row)
            for (Index j = 0; j < G * H; ++j) {
                double sum = options.bias ? bias_ih[j] : 0;
                for (Index i = 0; i < I; ++i)
                    sum += double(weight_ih[j * I + i]) * double(x[row * I + i]);
                reference.products.push_back(sum);
            }
        reference.weight_hh = exact(weight_hh);
        reference.bias_hh = options.bias ? exact(bias_hh) : Reals(blocks() * H, 0.0);
        for (int k = 0; k < blocks(); ++k) {
            const Index from = options.masks == Masks::kPerGate ? k * B * W : 0;
            reference.masks.push_back(
                mask.empty() ? Reals(B * W, 1.0)
                             : Reals(mask.begin() + from, mask.begin() + from + B * W));
        }
        for (const Floats& each : vectors) reference.vectors.push_back(exact(each));
        for (const Floats& each : projections) reference.projections.push_back(exact(each));
        for (const Floats& each : state0) reference.state0.push_back(exact(each));
    }
};

}  // namespace tests

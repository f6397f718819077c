// One layer in one direction with random numbers, for the engine and for the reference.
#pragma once

#include <cmath>
#include <limits>
#include <random>

#include "../kernels.h"
#include "reference.h"

namespace tests {

using reference::Index;
using reference::Reals;
using Floats = std::vector<float>;
using Random = std::mt19937;
using tidegate::CellKernels;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Shape {
    Index T, B, I, H;
};

struct Options {
    bool ragged, reverse, bias, mask;
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

// The set of that name, if this machine can run it, and whether it rounds factors to bfloat16.
inline const tidegate::Kernels* kernels_named(const std::string& name, bool& rounded) {
    for (const tidegate::Kernels* each : tidegate::available_kernels())
        if (name == each->isa) return rounded = false, each;
    for (const tidegate::Kernels* each : tidegate::available_rounding_kernels())
        if (name == each->isa) return rounded = true, each;
    return nullptr;
}

inline Reals exact(const Floats& values) { return Reals(values.begin(), values.end()); }
inline float* given(Floats& values) { return values.empty() ? nullptr : values.data(); }

struct Problem {
    const CellKernels& cell;
    Shape shape;
    Options options;
    reference::Layer reference;
    Floats x, weight_ih, bias_ih, weight_hh, bias_hh, mask, state0[2];
    Floats d_y, d_final[2];  // dL/dy [T, B, H], NaN beyond each length; dL/d(final state)

    Problem(const CellKernels& cell, Shape shape, Options options, Random& random)
        : cell(cell), shape(shape), options(options) {
        const Index T = shape.T, B = shape.B, I = shape.I, H = shape.H, G = cell.gates;
        weight_ih = draw(random, G * H * I, 0.7 / std::sqrt(double(I)));
        weight_hh = draw(random, G * H * H, 0.7 / std::sqrt(double(H)));
        if (options.bias) bias_ih = draw(random, G * H, 0.3), bias_hh = draw(random, G * H, 0.3);
        if (options.mask) {
            std::bernoulli_distribution keep(0.7);
            mask.resize(static_cast<std::size_t>(B * H));
            for (float& scale : mask) scale = keep(random) ? 1 / 0.7f : 0.0f;
        }
        std::uniform_int_distribution<Index> length(0, T);
        reference.lengths.resize(static_cast<std::size_t>(B));
        for (Index& steps : reference.lengths) steps = options.ragged ? length(random) : T;
        for (int k = 0; k < cell.states; ++k) {
            state0[k] = draw(random, B * H, 1);
            d_final[k] = draw(random, B * H, 1);
        }
        x = draw(random, T * B * I, 1);
        d_y = draw(random, T * B * H, 1);
        for (Index t = 0; t < T; ++t)
            for (Index b = 0; b < B; ++b)
                if (t >= reference.lengths[b]) {
                    std::fill_n(x.begin() + (t * B + b) * I, I, kNaN);
                    std::fill_n(d_y.begin() + (t * B + b) * H, H, kNaN);
                }
        prepare_reference();
    }

    const Index* lengths() const { return options.ragged ? reference.lengths.data() : nullptr; }

  private:
    void prepare_reference() {
        const Index B = shape.B, I = shape.I, H = shape.H, G = cell.gates;
        reference.cell = cell.name;
        reference.T = shape.T, reference.B = B, reference.H = H, reference.G = G;
        reference.reverse = options.reverse;
        for (Index row = 0; row < shape.T * B; ++row)
            for (Index j = 0; j < G * H; ++j) {
                double sum = options.bias ? bias_ih[j] : 0;
                for (Index i = 0; i < I; ++i)
                    sum += double(weight_ih[j * I + i]) * double(x[row * I + i]);
                reference.products.push_back(sum);
            }
        reference.weight_hh = exact(weight_hh);
        reference.bias_hh = options.bias ? exact(bias_hh) : Reals(G * H, 0.0);
        reference.mask = options.mask ? exact(mask) : Reals(B * H, 1.0);
        for (int k = 0; k < cell.states; ++k) reference.state0[k] = exact(state0[k]);
    }
};

}  // namespace tests

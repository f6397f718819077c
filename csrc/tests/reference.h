// One layer in one direction in double, row by row and unit by unit, as the papers write the cells:
// what the engine is held to. It shares no code with it. The equations: equations.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace reference {

using Reals = std::vector<double>;
using Index = std::int64_t;

struct Layer {
    std::string cell;
    Index T, B, H, P;  // P: of projected states, if any
    Index gates;       // with an input product
    bool reverse;
    std::vector<Index> lengths;      // [B]
    Reals products;                  // [T, B, gates*H]: W_ih x + b_ih
    Reals weight_hh, bias_hh;        // [blocks*H, W], [blocks*H]
    Index width;                     // W: of what weight_hh sees
    std::vector<Reals> masks;        // of each block [B, W]: what it sees is scaled by it
    std::vector<Reals> vectors;      // [H] each
    std::vector<Reals> projections;  // [P, H] each
    std::vector<Reals> state0;       // [B, its width] each
};

struct Outputs {
    Reals y;                   // [T, B, width of the first state], zero from each row's length on
    std::vector<Reals> final;  // [B, its width] each
};

// What one row has at one step.
struct Row {
    const Layer& layer;
    Index t, b;
    const std::vector<Reals>& before;  // the states

    double w(int gate, Index unit) const {
        const Index G = layer.gates, H = layer.H;
        return layer.products[((t * layer.B + b) * G + gate) * H + unit];
    }
    // The recurrent product of one block, with its bias, and what it sees.
    double u(int block, Index unit, const Reals& seen) const {
        const Index row = block * layer.H + unit;
        double sum = layer.bias_hh[row];
        for (Index k = 0; k < layer.width; ++k)
            sum += layer.weight_hh[row * layer.width + k] *
                   layer.masks[block][b * layer.width + k] * seen[k];
        return sum;
    }
    double sum(int gate, Index unit) const { return w(gate, unit) + u(gate, unit, before[0]); }
    double vector(int k, Index unit) const { return layer.vectors[k][unit]; }
    Reals projected(int k, const Reals& values) const {
        Reals result(layer.P);
        for (Index p = 0; p < layer.P; ++p)
            for (Index j = 0; j < layer.H; ++j)
                result[p] += layer.projections[k][p * layer.H + j] * values[j];
        return result;
    }
    // A value for each unit.
    template <class Of>
    Reals each(const Of& of) const {
        Reals values(layer.H);
        for (Index j = 0; j < layer.H; ++j) values[j] = of(j);
        return values;
    }
};

// The states after a step.
using Step = std::vector<Reals> (*)(const Row&);
Step step_of(const std::string& cell);  // equations.h

inline Outputs run(const Layer& layer) {
    const Step step = step_of(layer.cell);
    const std::size_t count = layer.state0.size();
    const Index B = layer.B, width = static_cast<Index>(layer.state0[0].size()) / B;
    Outputs out{Reals(layer.T * B * width), layer.state0};
    for (Index b = 0; b < B; ++b) {
        std::vector<Reals> states;
        for (const Reals& all : layer.state0) {
            const Index W = static_cast<Index>(all.size()) / B;
            states.emplace_back(all.begin() + b * W, all.begin() + (b + 1) * W);
        }
        for (Index s = 0; s < layer.lengths[b]; ++s) {
            const Index t = layer.reverse ? layer.lengths[b] - 1 - s : s;
            states = step(Row{layer, t, b, states});
            std::copy(states[0].begin(), states[0].end(), out.y.begin() + (t * B + b) * width);
        }
        for (std::size_t k = 0; k < count; ++k)
            std::copy(states[k].begin(), states[k].end(),
                      out.final[k].begin() + b * static_cast<Index>(states[k].size()));
    }
    return out;
}

}  // namespace reference

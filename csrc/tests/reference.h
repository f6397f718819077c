// One layer in one direction in double, row by row and unit by unit, as the papers write the cells:
// what the engine is held to. It shares no code with it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace reference {

using Reals = std::vector<double>;
using Index = std::int64_t;

struct Layer {
    std::string cell;
    Index T, B, H, G;
    bool reverse;
    std::vector<Index> lengths;  // [B]
    Reals products;              // [T, B, G*H]: W_ih x + b_ih
    Reals weight_hh, bias_hh;    // [G*H, H], [G*H]
    Reals mask;                  // [B, H]: what W_hh sees of the state is scaled by it
    Reals state0[2];             // [B, H]
};

struct Outputs {
    Reals y;         // [T, B, H], zero from each row's length on
    Reals final[2];  // [B, H]
};

// What one row has at one step.
struct Row {
    const Layer& layer;
    Index t, b;
    const Reals &h, &c;  // before the step

    double w(int gate, Index unit) const {
        const Index G = layer.G, H = layer.H;
        return layer.products[((t * layer.B + b) * G + gate) * H + unit];
    }
    // The recurrent product of what the gate sees, with its bias.
    double u(int gate, Index unit, const Reals& seen) const {
        const Index H = layer.H, row = gate * H + unit;
        double sum = layer.bias_hh[row];
        for (Index k = 0; k < H; ++k)
            sum += layer.weight_hh[row * H + k] * layer.mask[b * H + k] * seen[k];
        return sum;
    }
    double sum(int gate, Index unit) const { return w(gate, unit) + u(gate, unit, h); }
};

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

inline void rnn_tanh(const Row& row, Reals& h, Reals&) {
    for (Index j = 0; j < row.layer.H; ++j) h[j] = std::tanh(row.sum(0, j));
}

inline void rnn_relu(const Row& row, Reals& h, Reals&) {
    for (Index j = 0; j < row.layer.H; ++j) h[j] = std::max(row.sum(0, j), 0.0);
}

inline void lstm(const Row& row, Reals& h, Reals& c) {
    for (Index j = 0; j < row.layer.H; ++j) {
        const double i = sigmoid(row.sum(0, j)), f = sigmoid(row.sum(1, j));
        const double g = std::tanh(row.sum(2, j)), o = sigmoid(row.sum(3, j));
        c[j] = f * row.c[j] + i * g;
        h[j] = o * std::tanh(c[j]);
    }
}

inline void gru(const Row& row, Reals& h, Reals&) {
    for (Index j = 0; j < row.layer.H; ++j) {
        const double r = sigmoid(row.sum(0, j)), z = sigmoid(row.sum(1, j));
        const double n = std::tanh(row.w(2, j) + r * row.u(2, j, row.h));
        h[j] = (1 - z) * n + z * row.h[j];
    }
}

inline void gru_reset_before(const Row& row, Reals& h, Reals&) {
    Reals reset(row.h.size());
    for (Index j = 0; j < row.layer.H; ++j) reset[j] = sigmoid(row.sum(0, j)) * row.h[j];
    for (Index j = 0; j < row.layer.H; ++j) {
        const double z = sigmoid(row.sum(1, j));
        const double n = std::tanh(row.w(2, j) + row.u(2, j, reset));
        h[j] = (1 - z) * n + z * row.h[j];
    }
}

using Step = void (*)(const Row&, Reals& h, Reals& c);
inline const std::map<std::string, Step> kSteps{{"rnn_tanh", rnn_tanh},
                                                {"rnn_relu", rnn_relu},
                                                {"lstm", lstm},
                                                {"gru", gru},
                                                {"gru_reset_before", gru_reset_before}};

inline Outputs run(const Layer& layer) {
    const Step step = kSteps.at(layer.cell);
    const Index B = layer.B, H = layer.H;
    Outputs out{Reals(layer.T * B * H), {layer.state0[0], layer.state0[1]}};
    for (Index b = 0; b < B; ++b) {
        const auto row_of = [&](const Reals& states) {
            return states.empty() ? Reals()
                                  : Reals(states.begin() + b * H, states.begin() + (b + 1) * H);
        };
        Reals h = row_of(layer.state0[0]), c = row_of(layer.state0[1]);
        for (Index s = 0; s < layer.lengths[b]; ++s) {
            const Index t = layer.reverse ? layer.lengths[b] - 1 - s : s;
            const Reals h_before = h, c_before = c;
            step(Row{layer, t, b, h_before, c_before}, h, c);
            std::copy(h.begin(), h.end(), out.y.begin() + (t * B + b) * H);
        }
        std::copy(h.begin(), h.end(), out.final[0].begin() + b * H);
        std::copy(c.begin(), c.end(), out.final[1].begin() + b * H);
    }
    return out;
}

}  // namespace reference

// libtidegate: the functions of tidegate.h. No exception leaves them.
#include "tidegate.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/layer.h"
#include "engine/limits.h"
#include "threads/threads.h"

struct tidegate_layer {
    tidegate::Layer layer;
};

namespace tidegate {
namespace {

constexpr std::int64_t kMostUnits = std::int64_t{1} << 28;  // the product of two still fits
// Numbers of one array: the bytes of all arrays of a call still fit 64 bits.
constexpr std::int64_t kMostNumbers = std::int64_t{1} << 56;

thread_local std::string problem = "no call has failed";

// What `call` returns, or `failed` once what it threw is kept as the problem.
template <class Result, class Call>
Result guarded(Result failed, const Call& call) {
    try {
        return call();
    } catch (const std::bad_alloc&) {
        problem = "not enough memory";
    } catch (const std::exception& error) {
        problem = error.what();
    }
    return failed;
}

void need(bool good, const std::string& expected) {
    if (!good) throw std::invalid_argument(expected);
}

const CellKernels& cell_named(const char* name) {
    need(name, "cell: expected a name, got NULL");
    std::string known;
    for (int i = 0; i < kernels().cell_count; ++i) {
        const CellKernels& each = kernels().cells[i];
        if (std::strcmp(each.cell->name, name) == 0) return each;
        known += std::string(known.empty() ? "" : ", ") + each.cell->name;
    }
    throw std::invalid_argument("cell: expected one of " + known + "; got " + name);
}

Sizes checked(const Cell& cell, const tidegate_sizes* sizes) {
    need(sizes, "sizes: expected sizes, got NULL");
    const auto fits = [](std::int64_t n) { return n >= 1 && n <= kMostUnits; };
    need(fits(sizes->inputs),
         "sizes->inputs: expected 1 to 2^28, got " + std::to_string(sizes->inputs));
    need(fits(sizes->hidden),
         "sizes->hidden: expected 1 to 2^28, got " + std::to_string(sizes->hidden));
    if (cell.projections() == 0) {
        need(sizes->projected == 0, std::string("sizes->projected: expected 0, as ") + cell.name +
                                        " does not project, got " +
                                        std::to_string(sizes->projected));
        return {sizes->hidden, sizes->hidden};
    }
    need(fits(sizes->projected),
         "sizes->projected: expected 1 to 2^28, got " + std::to_string(sizes->projected));
    return {sizes->hidden, sizes->projected};
}

bool is_bias(Role role) { return role == Role::kInputBias || role == Role::kRecurrentBias; }

Weights weights_of(const Cell& cell, const Sizes& sizes, const float* const* given) {
    need(given, "weights: expected an array for each parameter, got NULL");
    Weights weights{};
    int vector = 0, projection = 0, biases = 0, missing = 0;
    for (int i = 0; i < cell.parameters; ++i) {
        const Parameter& p = cell.parameter[i];
        const float* data = given[i];
        if (is_bias(p.role)) (data ? biases : missing) += 1;
        need(data || is_bias(p.role), std::string(p.name) + ": expected an array, got NULL");
        switch (p.role) {
            case Role::kInput:
                weights.input = data;
                break;
            case Role::kRecurrent:
                weights.recurrent = data;
                break;
            case Role::kInputBias:
                weights.input_bias = data;
                break;
            case Role::kRecurrentBias:
                weights.recurrent_bias = data;
                break;
            case Role::kVector:
                for (int k = 0; k < p.blocks; ++k)
                    weights.vectors[vector++] = data + k * sizes.hidden;
                break;
            case Role::kProjection:
                weights.projections[projection++] = data;
                break;
        }
    }
    need(biases == 0 || missing == 0, "weights: expected all biases or none");
    return weights;
}

tidegate_parameter described(const Cell& cell, const Sizes& sizes, std::int64_t inputs,
                             const Parameter& p) {
    const std::int64_t rows = p.blocks * sizes.hidden;
    switch (p.role) {
        case Role::kInput:
            return {p.name, rows, inputs, 0};
        case Role::kRecurrent:
            return {p.name, rows, sizes.recurrent(cell), 0};
        case Role::kProjection:
            return {p.name, sizes.projected, sizes.hidden, 0};
        default:
            return {p.name, rows, 0, is_bias(p.role) ? 1 : 0};
    }
}

// Tokens that a call may have, padding included.
std::int64_t most_tokens(const Layer& layer) {
    const std::int64_t widest = std::max(layer.inputs(), layer.cell().gates * layer.sizes().hidden);
    return std::min(kMostTokens, kMostNumbers / widest);
}

void need_states(const char* name, const Cell& cell, const float* const* states) {
    need(states, std::string(name) + ": expected an array for each state, got NULL");
    for (int k = 0; k < cell.states; ++k)
        need(states[k], std::string(name) + "[" + std::to_string(k) + "]: expected the array of " +
                            cell.state[k].name + ", got NULL");
}

}  // namespace
}  // namespace tidegate

using namespace tidegate;

const char* tidegate_problem(void) { return problem.c_str(); }

const char* tidegate_instructions(void) {
    return guarded<const char*>(nullptr, [] { return kernels().isa; });
}

const char* tidegate_cell(int k) {
    return guarded<const char*>(nullptr, [&]() -> const char* {
        const int count = kernels().cell_count;
        need(k >= 0 && k < count,
             "k: expected 0 to " + std::to_string(count - 1) + ", got " + std::to_string(k));
        return kernels().cells[k].cell->name;
    });
}

int tidegate_parameter_of(const char* cell, const tidegate_sizes* sizes, int k,
                          tidegate_parameter* parameter) {
    return guarded(-1, [&] {
        const Cell& named = *cell_named(cell).cell;
        const Sizes fitting = checked(named, sizes);
        need(k >= 0 && k < named.parameters, "k: expected 0 to " +
                                                 std::to_string(named.parameters - 1) + ", got " +
                                                 std::to_string(k));
        need(parameter, "parameter: expected where to write, got NULL");
        *parameter = described(named, fitting, sizes->inputs, named.parameter[k]);
        return named.parameters;
    });
}

tidegate_layer* tidegate_layer_new(const char* cell, const tidegate_sizes* sizes,
                                   const float* const* weights) {
    return guarded<tidegate_layer*>(nullptr, [&] {
        const CellKernels& named = cell_named(cell);
        const Sizes fitting = checked(*named.cell, sizes);
        const Weights given = weights_of(*named.cell, fitting, weights);
        return new tidegate_layer{Layer(kernels(), named, sizes->inputs, fitting, given, 1)};
    });
}

void tidegate_layer_free(tidegate_layer* layer) { delete layer; }

int tidegate_layer_states(const tidegate_layer* layer) {
    return guarded(-1, [&] {
        need(layer, "layer: expected a layer, got NULL");
        return layer->layer.cell().states;
    });
}

int64_t tidegate_layer_width(const tidegate_layer* layer, int state) {
    return guarded<int64_t>(-1, [&]() -> int64_t {
        need(layer, "layer: expected a layer, got NULL");
        const Cell& cell = layer->layer.cell();
        need(state >= 0 && state < cell.states, "state: expected 0 to " +
                                                    std::to_string(cell.states - 1) + ", got " +
                                                    std::to_string(state));
        return layer->layer.sizes().of(cell.state[state]);
    });
}

int tidegate_layer_step(tidegate_layer* layer, const float* x, int64_t B, float* const* states) {
    return guarded(-1, [&] {
        need(layer, "layer: expected a layer, got NULL");
        const std::int64_t most = most_tokens(layer->layer);
        need(B >= 0 && B <= most,
             "B: expected 0 to " + std::to_string(most) + ", got " + std::to_string(B));
        need(x || B == 0, "x: expected an array [B, I], got NULL");
        if (B > 0) need_states("states", layer->layer.cell(), states);
        layer->layer.step(x, B, states);
        return 0;
    });
}

int tidegate_layer_forward(const tidegate_layer* layer, const float* x, int64_t T, int64_t B,
                           const int64_t* lengths, int reverse, int threads,
                           const float* const* initial, float* const* final, float* y) {
    return guarded(-1, [&] {
        need(layer, "layer: expected a layer, got NULL");
        const std::int64_t most = most_tokens(layer->layer);
        need(T >= 0 && B >= 0 && B <= most && (T == 0 || B <= most / T),
             "T, B: expected B and T * B of 0 to " + std::to_string(most) + ", got " +
                 std::to_string(T) + " and " + std::to_string(B));
        need(threads >= 1 && threads <= kMostThreads, "threads: expected 1 to " +
                                                          std::to_string(kMostThreads) + ", got " +
                                                          std::to_string(threads));
        for (int64_t b = 0; lengths && b < B; ++b)
            need(lengths[b] >= 0 && lengths[b] <= T, "lengths: expected 0 to " + std::to_string(T) +
                                                         ", got " + std::to_string(lengths[b]));
        const Cell& cell = layer->layer.cell();
        if (B == 0) return 0;
        need((x && y) || T == 0, "x, y: expected arrays, got NULL");
        need_states("final", cell, final);
        if (initial) need_states("initial", cell, initial);
        std::vector<std::vector<float>> zeros;
        const float* started[kMost] = {};
        for (int k = 0; k < cell.states; ++k) {
            if (!initial) {
                const auto width = layer->layer.sizes().of(cell.state[k]);
                zeros.emplace_back(static_cast<std::size_t>(B * width), 0.0f);
            }
            started[k] = initial ? initial[k] : zeros.back().data();
        }
        const Schedule schedule = make_schedule(T, B, lengths, reverse != 0, threads, false);
        layer->layer.forward(schedule, x, {}, started, final, y);
        return 0;
    });
}

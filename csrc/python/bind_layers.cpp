// The part of tidegate._engine that runs layers: schedules, passes of training, inference.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "engine/layer.h"
#include "engine/training.h"
#include "layer_arguments.h"
#include "streamed_layer.h"

namespace tidegate {

using namespace nb::literals;

namespace {

// What both passes of training are given of a cell.
struct Pass {
    const Kernels& kernels;
    const CellKernels& kernel;
    const Cell& cell;
    Sizes sizes;
    std::int64_t T, B, N;

    Pass(const std::string& name, const Schedule& schedule, const List<Input>& weights,
         const MaybeOut& gates, bool rounded)
        : kernels(kernels_of(rounded, name)),
          kernel(cell_named(kernels, name)),
          cell(*kernel.cell),
          T(schedule.steps),
          B(schedule.batch),
          N(schedule.tokens) {
        of_length("weights", weights, cell.parameters);
        if (!gates) throw std::invalid_argument("gates: expected an array");
        sizes.hidden = units_of("gates", Input(*gates), cell.gates, true);
        sizes.projected = projected_units(cell, weights, sizes.hidden);
    }

    Weights of(const List<Input>& weights) const {
        return weights_of<Weights>(cell, sizes, 0, weights, [](Role role) {
            const bool is_input = role == Role::kInput || role == Role::kInputBias;
            if (is_input) return Use::kLeaves;
            return role == Role::kRecurrentBias ? Use::kTakes : Use::kNeeds;
        });
    }

    // One array for each state: [B, W], or with `steps` y [T, B, W] and [N, W].
    template <class Array, class Pointer>
    void states(const char* name, const List<Array>& list, Pointer* pointers, bool steps = false,
                bool required = true) const {
        of_length(name, list, cell.states);
        for (int k = 0; k < cell.states; ++k) {
            const std::int64_t W = sizes.of(cell.state[k]);
            const auto& array = list[static_cast<std::size_t>(k)];
            if (!steps) {
                pointers[k] = data_of(name, array, {B, W}, required);
            } else if (k > 0) {
                pointers[k] = data_of(name, array, {N, W});
            } else {
                pointers[k] = data_of(name, array, {T, B, W});
            }
        }
    }
};

void train_forward(const std::string& name, const Schedule& schedule, const List<Input>& weights,
                   const MaybeIn& mask, const List<Input>& state0, const MaybeOut& gates,
                   const MaybeOut& extra, const List<InOut>& states, const List<InOut>& final_state,
                   bool rounded) {
    const Pass pass(name, schedule, weights, gates, rounded);
    const Cell& cell = pass.cell;
    const std::int64_t H = pass.sizes.hidden;
    ForwardCall call{};
    call.sizes = pass.sizes;
    call.weights = pass.of(weights);
    call.mask = mask_of(cell, pass.sizes, pass.B, mask);
    call.gates = data_of("gates", gates, {pass.N, cell.gates * H});
    call.extra = data_of("extra", extra, {pass.N, cell.extra * H}, cell.extra > 0);
    pass.states("state0", state0, call.state0);
    pass.states("states", states, call.states, true);
    pass.states("final", final_state, call.final);
    nb::gil_scoped_release released;
    forward(pass.kernels, pass.kernel, schedule, call);
}

void train_backward(const std::string& name, const Schedule& schedule, const List<Input>& weights,
                    const MaybeIn& mask, const List<Input>& state0, const MaybeOut& gates,
                    const MaybeIn& extra, const List<Input>& states, const MaybeIn& d_y,
                    const List<Input>& d_final, const MaybeOut& d_gates, const MaybeOut& d_products,
                    const List<InOut>& d_state0, const List<InOut>& d_weights,
                    const List<InOut>& operands, bool needs_d_state0, bool rounded) {
    const Pass pass(name, schedule, weights, gates, rounded);
    const Cell& cell = pass.cell;
    const std::int64_t H = pass.sizes.hidden, N = pass.N;
    BackwardCall call{};
    call.sizes = pass.sizes;
    call.weights = pass.of(weights);
    call.mask = mask_of(cell, pass.sizes, pass.B, mask);
    pass.states("state0", state0, call.state0);
    call.gates = data_of("gates", gates, {N, cell.gates * H});
    call.extra = data_of("extra", extra, {N, cell.extra * H}, cell.extra > 0);
    pass.states("states", states, call.states, true);
    call.d_y = data_of("d_y", d_y, {pass.T, pass.B, pass.sizes.of(cell.state[0])}, false);
    pass.states("d_final", d_final, call.d_final, false, false);
    call.d_gates = data_of("d_gates", d_gates, {N, cell.gates * H});
    const std::int64_t products = pass.sizes.of_products(cell);
    call.d_products = data_of("d_products", d_products, {N, products}, products > 0);
    pass.states("d_state0", d_state0, call.d_state0);
    of_length("d_weights", d_weights, cell.parameters);
    const auto gradients = weights_of<Gradients>(cell, pass.sizes, 0, d_weights, [](Role role) {
        const bool is_product =
            role == Role::kInput || role == Role::kRecurrent || role == Role::kProjection;
        return is_product ? Use::kLeaves : Use::kTakes;
    });
    call.d_input_bias = gradients.input_bias;
    call.d_recurrent_bias = gradients.recurrent_bias;
    std::copy_n(gradients.vectors, kMostBlocks, call.d_vectors);
    of_length("operands", operands, cell.operands);
    for (int k = 0; k < cell.operands; ++k) {
        const CellOperand& operand = cell.operand[k];
        const int copies = call.mask.per_gate && operand.masked ? operand.products : 1;
        call.operands[k] = data_of("operands", operands[static_cast<std::size_t>(k)],
                                   {N, copies * pass.sizes.of(cell, operand)}, operand.state < 0);
    }
    call.needs_d_state0 = needs_d_state0;
    nb::gil_scoped_release released;
    backward(pass.kernels, pass.kernel, schedule, call);
}

// The width W of rows [T, B, W] and tokens [N, W].
template <class Rows, class Tokens>
std::int64_t width_of(const Schedule& schedule, const Rows& rows, const Tokens& tokens) {
    const auto width =
        rows.ndim() == 0 ? 0 : static_cast<std::int64_t>(rows.shape(rows.ndim() - 1));
    data_of("rows", std::optional<Rows>(rows), {schedule.steps, schedule.batch, width});
    data_of("tokens", std::optional<Tokens>(tokens), {schedule.tokens, width});
    return width;
}

void gather_tokens(const Schedule& schedule, const Input& rows, const InOut& tokens) {
    const std::int64_t width = width_of(schedule, rows, tokens);
    nb::gil_scoped_release released;
    gather(schedule, width, rows.data(), tokens.data());
}

void scatter_tokens(const Schedule& schedule, const Input& tokens, const InOut& rows) {
    const std::int64_t width = width_of(schedule, rows, tokens);
    nb::gil_scoped_release released;
    scatter(schedule, width, tokens.data(), rows.data());
}

// Beyond it a sum of 8-bit products might not fit 32 bits.
constexpr std::int64_t kMostFactors = 1 << 16;

// Those of float32 where this machine has none, or for more factors than these can add up.
const Kernels& kernels_for(const std::string& factors, std::int64_t most) {
    const Kernels* found =
        most > kMostFactors ? nullptr : inference_kernels(factors_named(factors));
    return found ? *found : kernels();
}

void new_layer(StreamedLayer* self, const std::string& name, const List<Input>& weights,
               int threads, const std::string& factors) {
    const Kernels& plain = kernels();
    const Cell& cell = *cell_named(plain, name).cell;
    of_length("weights", weights, cell.parameters);
    const MaybeIn& input = weights[0];  // every cell has input weights, and they come first
    const char* const first = cell.parameter[0].name;
    if (!input) throw std::invalid_argument(std::string(first) + ": expected an array");
    Sizes sizes{};
    sizes.hidden = units_of(first, *input, cell.gates, false);
    sizes.projected = projected_units(cell, weights, sizes.hidden);
    const std::int64_t I = axis(*input, 1);
    if (input->ndim() != 2 || I < 1)
        throw std::invalid_argument(
            std::string(first) + ": expected [" + std::to_string(cell.gates * sizes.hidden) +
            ", I] with I of at least 1, got " + shape_text(shape_of(*input)));
    const Weights given = weights_of<Weights>(cell, sizes, I, weights, [](Role role) {
        const bool is_bias = role == Role::kInputBias || role == Role::kRecurrentBias;
        return is_bias ? Use::kTakes : Use::kNeeds;
    });
    checked_threads(threads);
    const std::int64_t most = std::max(I, std::max<std::int64_t>(sizes.hidden, sizes.projected));
    const Kernels& rounding = kernels_for(factors, most);
    const Kernels& chosen = find_cell(rounding, name) ? rounding : plain;
    const CellKernels& kernel = cell_named(chosen, name);
    nb::gil_scoped_release released;
    new (self) StreamedLayer(chosen, kernel, I, sizes, given, threads);
}

void layer_forward(const StreamedLayer& layer, const Schedule& schedule, const Input& x,
                   const MaybeIn& mask, const List<Input>& state0, const List<InOut>& final_state,
                   const InOut& y) {
    const Cell& cell = layer.cell();
    const std::int64_t T = schedule.steps, B = schedule.batch;
    of_length("state0", state0, cell.states);
    of_length("final", final_state, cell.states);
    const float* start[kMost] = {};
    float* end[kMost] = {};
    for (int k = 0; k < cell.states; ++k) {
        const std::int64_t W = layer.sizes().of(cell.state[k]);
        start[k] = data_of("state0", state0[static_cast<std::size_t>(k)], {B, W});
        end[k] = data_of("final", final_state[static_cast<std::size_t>(k)], {B, W});
    }
    const float* inputs = data_of("x", MaybeIn(x), {T, B, layer.inputs()});
    const BatchMask masks = mask_of(cell, layer.sizes(), B, mask);
    float* outputs = data_of("y", MaybeOut(y), {T, B, layer.sizes().of(cell.state[0])});
    nb::gil_scoped_release released;
    layer.forward(schedule, inputs, masks, start, end, outputs);
}

// B of rows [B, width].
std::int64_t rows_of(const char* name, const Input& rows, std::int64_t width) {
    if (rows.ndim() != 2 || axis(rows, 1) != width)
        throw std::invalid_argument(std::string(name) + ": expected [B, " + std::to_string(width) +
                                    "], got " + shape_text(shape_of(rows)));
    return axis(rows, 0);
}

std::int64_t products_of(const StreamedLayer& layer) {
    return layer.cell().gates * layer.sizes().hidden;
}

// A step of `layer` by one of its functions, whose `rows` are B rows of `width`.
template <class Step>
void step_of(StreamedLayer& layer, const char* name, const Input& rows, std::int64_t width,
             const nb::args& given, Step&& step) {
    const Cell& cell = layer.cell();
    const std::int64_t B = rows_of(name, rows, width);
    if (static_cast<int>(given.size()) != cell.states)
        throw std::invalid_argument("state: expected " + std::to_string(cell.states) +
                                    " arrays, got " + std::to_string(given.size()));
    InOut arrays[kMost];
    float* states[kMost] = {};
    for (int k = 0; k < cell.states; ++k) {
        if (!nb::try_cast<InOut>(given[static_cast<std::size_t>(k)], arrays[k], false))
            throw nb::type_error("state: expected float32 arrays, dense and writable");
        const std::int64_t floats = B * layer.sizes().of(cell.state[k]);
        const std::string name = "state[" + std::to_string(k) + "]";
        states[k] =
            data_of(name.c_str(), MaybeOut(arrays[k]), {B, layer.sizes().of(cell.state[k])});
        for (int other = 0; other < k; ++other)
            if (states[k] < states[other] + B * layer.sizes().of(cell.state[other]) &&
                states[other] < states[k] + floats)
                throw std::invalid_argument(
                    "state: expected arrays each with memory of its own, got two in one");
    }
    const float* inputs = memory_of(name, rows);
    if (layer.stepping.exchange(true))
        throw std::runtime_error(
            "another thread is in a step of this layer; give each thread a layer of its own");
    const struct Left {
        std::atomic<bool>& stepping;
        ~Left() { stepping = false; }
    } left{layer.stepping};
    nb::gil_scoped_release released;
    step(inputs, B, states);
}

void layer_step(StreamedLayer& layer, const Input& x, const nb::args& given) {
    step_of(layer, "x", x, layer.inputs(), given,
            [&](auto... arguments) { layer.step(arguments...); });
}

void layer_step_from(StreamedLayer& layer, const Input& products, const nb::args& given) {
    step_of(layer, "products", products, products_of(layer), given,
            [&](auto... arguments) { layer.step_from(arguments...); });
}

void layer_input_products(const StreamedLayer& layer, const Input& x, const InOut& products) {
    const std::int64_t B = rows_of("x", x, layer.inputs());
    const float* inputs = memory_of("x", x);
    float* out = data_of("products", MaybeOut(products), {B, products_of(layer)});
    nb::gil_scoped_release released;
    layer.input_products(inputs, B, out);
}

Schedule new_schedule(std::int64_t T, std::int64_t B, const std::optional<Integers>& lengths,
                      bool reverse, int threads, bool by_units) {
    if (T < 0 || B < 0) throw std::invalid_argument("expected T and B of at least 0");
    if (T > kMostTokens || (T > 0 && B > kMostTokens / T))
        throw std::invalid_argument("expected T * B of at most " + std::to_string(kMostTokens));
    checked_threads(threads);
    if (lengths) {
        if (static_cast<std::int64_t>(lengths->size()) != B)
            throw std::invalid_argument("lengths: expected " + std::to_string(B) + " values, got " +
                                        std::to_string(lengths->size()));
        for (std::size_t b = 0; b < lengths->size(); ++b)
            if (lengths->data()[b] < 0 || lengths->data()[b] > T)
                throw std::invalid_argument("lengths: expected 0 to " + std::to_string(T) +
                                            ", got " + std::to_string(lengths->data()[b]));
    }
    return make_schedule(T, B, lengths ? lengths->data() : nullptr, reverse, threads, by_units);
}

}  // namespace

void bind_layers(nb::module_& m) {
    nb::class_<Schedule>(m, "Schedule")
        .def_ro("tokens", &Schedule::tokens)
        .def_ro("ragged", &Schedule::ragged);
    nb::class_<StreamedLayer>(m, "Layer")
        .def("__init__", new_layer, "cell"_a, "weights"_a.noconvert(), "threads"_a = 1,
             "factors"_a = "float32")
        .def("forward", layer_forward, "schedule"_a, "x"_a.noconvert(), "mask"_a.noconvert().none(),
             "state0"_a.noconvert(), "final"_a.noconvert(), "y"_a.noconvert())
        .def("step", layer_step, "x"_a.noconvert(), "states"_a)
        .def("input_products", layer_input_products, "x"_a.noconvert(), "products"_a.noconvert())
        .def("step_from", layer_step_from, "products"_a.noconvert(), "states"_a);
    m.def("schedule", new_schedule, "T"_a, "B"_a, "lengths"_a.none().noconvert(), "reverse"_a,
          "threads"_a, "by_units"_a = false);
    m.def("gather", gather_tokens, "schedule"_a, "rows"_a.noconvert(), "tokens"_a.noconvert());
    m.def("scatter", scatter_tokens, "schedule"_a, "tokens"_a.noconvert(), "rows"_a.noconvert());
    m.def("forward", train_forward, "cell"_a, "schedule"_a, "weights"_a.noconvert(),
          "mask"_a.noconvert().none(), "state0"_a.noconvert(), "gates"_a.noconvert(),
          "extra"_a.noconvert().none(), "states"_a.noconvert(), "final"_a.noconvert(), "rounded"_a);
    m.def("backward", train_backward, "cell"_a, "schedule"_a, "weights"_a.noconvert(),
          "mask"_a.noconvert().none(), "state0"_a.noconvert(), "gates"_a.noconvert(),
          "extra"_a.noconvert().none(), "states"_a.noconvert(), "d_y"_a.noconvert().none(),
          "d_final"_a.noconvert(), "d_gates"_a.noconvert(), "d_products"_a.noconvert().none(),
          "d_state0"_a.noconvert(), "d_weights"_a.noconvert(), "operands"_a.noconvert(),
          "needs_d_state0"_a, "rounded"_a);
}

}  // namespace tidegate

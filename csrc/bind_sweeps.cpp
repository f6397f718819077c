// The part of tidegate._engine that runs layers: schedules, sweeps in training, inference.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>

#include "bindings.h"
#include "sweep.h"

namespace tidegate {

using namespace nb::literals;

namespace {

template <class Array>
const std::optional<Array>& item(const char* name, const std::vector<std::optional<Array>>& list,
                                 int k, int expected) {
    if (static_cast<int>(list.size()) != expected)
        throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(expected) +
                                    " arrays, got " + std::to_string(list.size()));
    return list[static_cast<size_t>(k)];
}

void train_forward(const std::string& name, const Schedule& schedule, const Input& weight_hh,
                   const MaybeIn& bias_hh, const MaybeIn& mask, const std::vector<MaybeIn>& state0,
                   const MaybeOut& gates, const MaybeOut& extra,
                   const std::vector<MaybeOut>& states, const std::vector<MaybeOut>& final_state,
                   bool rounded) {
    const CellKernels& cell = cell_named(name, rounded);
    const std::int64_t H = units_of(weight_hh, cell.gates), rows = cell.gates * H;
    const std::int64_t T = schedule.steps, B = schedule.batch, N = schedule.tokens;
    ForwardCall call{};
    call.hidden = H;
    call.weight_hh = memory_of("weight_hh", weight_hh);
    call.bias_hh = data_of("bias_hh", bias_hh, {rows}, false);
    call.mask = data_of("mask", mask, {B, H}, false);
    call.gates = data_of("gates", gates, {N, rows});
    call.extra = data_of("extra", extra, {N, cell.extra * H}, cell.extra > 0);
    for (int k = 0; k < cell.states; ++k) {
        call.state0[k] = data_of("state0", item("state0", state0, k, cell.states), {B, H});
        const auto& kept = item("states", states, k, cell.states);
        call.states[k] = k ? data_of("states", kept, {N, H}) : data_of("states", kept, {T, B, H});
        call.final[k] = data_of("final", item("final", final_state, k, cell.states), {B, H});
    }
    nb::gil_scoped_release released;
    forward(cell, schedule, call);
}

void train_backward(const std::string& name, const Schedule& schedule, const Input& weight_hh,
                    const MaybeIn& mask, const std::vector<MaybeIn>& state0, const Input& gates,
                    const MaybeIn& extra, const std::vector<MaybeIn>& states, const MaybeIn& d_y,
                    const std::vector<MaybeIn>& d_final, const MaybeOut& d_gates,
                    const MaybeOut& d_products, const std::vector<MaybeOut>& d_state0,
                    const MaybeOut& d_bias_ih, const MaybeOut& d_bias_hh, const MaybeOut& operand,
                    const MaybeOut& second_operand, bool needs_d_state0, bool rounded) {
    const CellKernels& cell = cell_named(name, rounded);
    const std::int64_t H = units_of(weight_hh, cell.gates), rows = cell.gates * H;
    const std::int64_t T = schedule.steps, B = schedule.batch, N = schedule.tokens;
    BackwardCall call{};
    call.hidden = H;
    call.weight_hh = memory_of("weight_hh", weight_hh);
    call.mask = data_of("mask", mask, {B, H}, false);
    call.gates = data_of("gates", MaybeIn(gates), {N, rows});
    call.extra = data_of("extra", extra, {N, cell.extra * H}, cell.extra > 0);
    call.d_y = data_of("d_y", d_y, {T, B, H}, false);
    call.d_gates = data_of("d_gates", d_gates, {N, rows});
    call.d_products = data_of("d_products", d_products, {N, cell.separate * H}, cell.separate > 0);
    for (int k = 0; k < cell.states; ++k) {
        call.state0[k] = data_of("state0", item("state0", state0, k, cell.states), {B, H});
        const auto& kept = item("states", states, k, cell.states);
        call.states[k] = k ? data_of("states", kept, {N, H}) : data_of("states", kept, {T, B, H});
        call.d_final[k] =
            data_of("d_final", item("d_final", d_final, k, cell.states), {B, H}, false);
        call.d_state0[k] = data_of("d_state0", item("d_state0", d_state0, k, cell.states), {B, H});
    }
    call.d_bias_ih = data_of("d_bias_ih", d_bias_ih, {rows});
    call.d_bias_hh = data_of("d_bias_hh", d_bias_hh, {rows});
    call.operand = data_of("operand", operand, {N, H}, false);
    call.second_operand =
        data_of("second_operand", second_operand, {N, H}, cell.first < cell.gates);
    call.needs_d_state0 = needs_d_state0;
    nb::gil_scoped_release released;
    backward(cell, schedule, call);
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

// A layer that knows whether a thread is in its step.
struct Stream : Layer {
    using Layer::Layer;
    std::atomic<bool> stepping{false};
};

void new_layer(Stream* self, const std::string& name, const Input& weight_ih,
               const Input& weight_hh, const MaybeIn& bias_ih, const MaybeIn& bias_hh,
               int threads) {
    const CellKernels& cell = cell_named(name);
    const std::int64_t H = units_of(weight_hh, cell.gates), rows = cell.gates * H;
    const auto I = weight_ih.ndim() == 2 ? static_cast<std::int64_t>(weight_ih.shape(1)) : 0;
    if (I < 1)
        throw std::invalid_argument("weight_ih: expected [" + std::to_string(rows) +
                                    ", I] with I of at least 1, got " +
                                    shape_text(shape_of(weight_ih)));
    const float* w_ih = data_of("weight_ih", MaybeIn(weight_ih), {rows, I});
    const float* w_hh = memory_of("weight_hh", weight_hh);
    const float* b_ih = data_of("bias_ih", bias_ih, {rows}, false);
    const float* b_hh = data_of("bias_hh", bias_hh, {rows}, false);
    checked_threads(threads);
    nb::gil_scoped_release released;
    new (self) Stream(kernels(), cell, I, H, w_ih, w_hh, b_ih, b_hh, threads);
}

void layer_forward(const Stream& layer, const Schedule& schedule, const Input& x,
                   const MaybeIn& mask, const std::vector<MaybeIn>& state0,
                   const std::vector<MaybeOut>& final_state, const InOut& y) {
    const std::int64_t T = schedule.steps, B = schedule.batch, H = layer.hidden();
    const int count = layer.cell().states;
    const float* start[2] = {};
    float* end[2] = {};
    for (int k = 0; k < count; ++k) {
        start[k] = data_of("state0", item("state0", state0, k, count), {B, H});
        end[k] = data_of("final", item("final", final_state, k, count), {B, H});
    }
    const float* inputs = data_of("x", MaybeIn(x), {T, B, layer.inputs()});
    const float* masks = data_of("mask", mask, {B, H}, false);
    float* outputs = data_of("y", MaybeOut(y), {T, B, H});
    nb::gil_scoped_release released;
    layer.forward(schedule, inputs, masks, start, end, outputs);
}

void layer_step(Stream& layer, const Input& x, const InOut& h, const MaybeOut& c) {
    const std::int64_t I = layer.inputs(), H = layer.hidden();
    if (x.ndim() != 2 || static_cast<std::int64_t>(x.shape(1)) != I)
        throw std::invalid_argument("x: expected [B, " + std::to_string(I) + "], got " +
                                    shape_text(shape_of(x)));
    const auto B = static_cast<std::int64_t>(x.shape(0));
    const int count = layer.cell().states, given = c ? 2 : 1;
    if (given != count)
        throw std::invalid_argument("state: expected " + std::to_string(count) +
                                    " array(s) [B, H], got " + std::to_string(given));
    float* const states[2] = {data_of("state[0]", MaybeOut(h), {B, H}),
                              data_of("state[1]", c, {B, H}, false)};
    if (c && states[0] < states[1] + B * H && states[1] < states[0] + B * H)
        throw std::invalid_argument("state: expected two arrays, each with memory of its own");
    const float* inputs = memory_of("x", x);
    if (layer.stepping.exchange(true))
        throw std::runtime_error(
            "another thread is in a step of this layer; give each thread a layer of its own");
    const struct Left {
        std::atomic<bool>& stepping;
        ~Left() { stepping = false; }
    } left{layer.stepping};
    nb::gil_scoped_release released;
    layer.step(inputs, B, states);
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

void bind_sweeps(nb::module_& m) {
    nb::class_<Schedule>(m, "Schedule")
        .def_ro("tokens", &Schedule::tokens)
        .def_ro("ragged", &Schedule::ragged);
    nb::class_<Stream>(m, "Layer")
        .def("__init__", new_layer, "cell"_a, "weight_ih"_a.noconvert(), "weight_hh"_a.noconvert(),
             "bias_ih"_a.noconvert().none(), "bias_hh"_a.noconvert().none(), "threads"_a = 1)
        .def("forward", layer_forward, "schedule"_a, "x"_a.noconvert(), "mask"_a.noconvert().none(),
             "state0"_a.noconvert(), "final"_a.noconvert(), "y"_a.noconvert())
        .def("step", layer_step, "x"_a.noconvert(), "h"_a.noconvert(),
             "c"_a.noconvert().none() = nb::none());
    m.def("schedule", new_schedule, "T"_a, "B"_a, "lengths"_a.none().noconvert(), "reverse"_a,
          "threads"_a, "by_units"_a = false);
    m.def("gather", gather_tokens, "schedule"_a, "rows"_a.noconvert(), "tokens"_a.noconvert());
    m.def("scatter", scatter_tokens, "schedule"_a, "tokens"_a.noconvert(), "rows"_a.noconvert());
    m.def("forward", train_forward, "cell"_a, "schedule"_a, "weight_hh"_a.noconvert(),
          "bias_hh"_a.noconvert().none(), "mask"_a.noconvert().none(), "state0"_a.noconvert(),
          "gates"_a.noconvert(), "extra"_a.noconvert().none(), "states"_a.noconvert(),
          "final"_a.noconvert(), "rounded"_a);
    m.def("backward", train_backward, "cell"_a, "schedule"_a, "weight_hh"_a.noconvert(),
          "mask"_a.noconvert().none(), "state0"_a.noconvert(), "gates"_a.noconvert(),
          "extra"_a.noconvert().none(), "states"_a.noconvert(), "d_y"_a.noconvert().none(),
          "d_final"_a.noconvert(), "d_gates"_a.noconvert(), "d_products"_a.noconvert().none(),
          "d_state0"_a.noconvert(), "d_bias_ih"_a.noconvert(), "d_bias_hh"_a.noconvert(),
          "operand"_a.noconvert().none(), "second_operand"_a.noconvert().none(), "needs_d_state0"_a,
          "rounded"_a);
}

}  // namespace tidegate

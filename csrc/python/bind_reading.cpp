// The part of tidegate._engine that reads streams: a network's step as one call.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "engine/reading.h"
#include "layer_arguments.h"
#include "streamed_layer.h"

namespace tidegate {

using namespace nb::literals;

namespace {

using Doubles = nb::ndarray<double, nb::c_contig, nb::device::cpu>;
using GivenDoubles = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void new_dense(Dense* self, const Input& weight, const MaybeIn& bias) {
    const std::int64_t outputs = axis(weight, 0), inputs = axis(weight, 1);
    if (weight.ndim() != 2 || outputs < 1 || inputs < 1)
        throw std::invalid_argument("weight: expected [O, F], each at least 1, got " +
                                    shape_text(shape_of(weight)));
    const float* numbers = memory_of("weight", weight);
    new (self) Dense(kernels(), outputs, inputs, numbers, data_of("bias", bias, {outputs}, false));
}

// A reading, and all that it works on.
struct KeptReading {
    std::vector<nb::object> layers;
    nb::object dense;
    List<InOut> states;
    List<Input> norms;
    Counts steps;
    std::optional<Doubles> sum, last;
    std::optional<InOut> highest;
    std::optional<GivenDoubles> mean, scale;
    std::vector<StreamedLayer*> stepped;
    Reading reading;
};

Readout readout_of(const std::string& name) {
    if (name == "last") return Readout::kLast;
    if (name == "mean") return Readout::kMean;
    if (name == "max") return Readout::kMax;
    throw std::invalid_argument("readout: expected last, mean or max, got '" + name + "'");
}

void new_reading(KeptReading* self, const nb::list& layers, const List<InOut>& states,
                 const List<Input>& norms, const nb::object& dense,
                 const std::vector<std::string>& readout, const Counts& steps,
                 const std::optional<Doubles>& sum, const std::optional<InOut>& highest,
                 const std::optional<GivenDoubles>& mean, const std::optional<GivenDoubles>& scale,
                 const std::optional<Doubles>& last) {
    ReadingArrays a{};
    a.rows = static_cast<std::int64_t>(steps.shape(0));
    a.steps = memory_of("steps", steps);
    std::vector<nb::object> kept;
    std::vector<StreamedLayer*> stepped;
    std::size_t next = 0;
    std::int64_t width = 0;
    if (layers.size() < 1) throw std::invalid_argument("layers: expected one or more, got none");
    if (!norms.empty() && norms.size() != 2 * layers.size() - 2)
        throw std::invalid_argument("norms: expected scale and shift of each layer but the last");
    for (std::size_t n = 0; n < layers.size(); ++n) {
        kept.push_back(layers[n]);
        if (kept.back().is_none())
            throw std::invalid_argument("layers: expected a Layer, got None");
        auto* layer = nb::cast<StreamedLayer*>(kept.back());
        if (n > 0 && layer->inputs() != width)
            throw std::invalid_argument("layers: expected one of " + std::to_string(width) +
                                        " inputs, got " + std::to_string(layer->inputs()));
        for (int k = 0; k < layer->cell().states; ++k, ++next) {
            if (next >= states.size())
                throw std::invalid_argument("states: expected an array for each state");
            a.states.push_back(data_of("states", states[next],
                                       {a.rows, layer->sizes().of(layer->cell().state[k])}));
        }
        width = layer->sizes().of(layer->cell().state[0]);
        if (!norms.empty() && n + 1 < layers.size())
            for (std::size_t k = 2 * n; k < 2 * n + 2; ++k)
                a.norms.push_back(data_of("norms", norms[k], {width}));
        a.layers.push_back(layer);
        stepped.push_back(layer);
    }
    if (next != states.size())
        throw std::invalid_argument("states: expected an array for each state");
    for (const std::string& part : readout) a.readout.push_back(readout_of(part));
    const auto asked = [&](Readout part) {
        return std::find(a.readout.begin(), a.readout.end(), part) != a.readout.end();
    };
    const auto features = static_cast<std::int64_t>(a.readout.size()) * width;
    const auto* packed = dense.is_none() ? nullptr : nb::cast<const Dense*>(dense);
    if (a.readout.empty()) throw std::invalid_argument("readout: expected a part, got none");
    if (packed && packed->inputs() != features)
        throw std::invalid_argument("dense: expected one of " + std::to_string(features) +
                                    " inputs, got " + std::to_string(packed->inputs()));
    a.sum = data_of("sum", sum, {a.rows, width}, asked(Readout::kMean));
    a.highest = data_of("highest", highest, {a.rows, width}, asked(Readout::kMax));
    const std::int64_t inputs = a.layers.front()->inputs();
    const bool scales = mean.has_value();
    a.mean = data_of("mean", mean, {inputs}, false);
    a.scale = data_of("scale", scale, {inputs}, scales);
    a.last = data_of("last", last, {a.rows, inputs}, scales);
    new (self) KeptReading{std::move(kept),
                           dense,
                           states,
                           norms,
                           steps,
                           sum,
                           last,
                           highest,
                           mean,
                           scale,
                           std::move(stepped),
                           Reading(std::move(a), packed)};
}

template <class Array>
auto rows_of(const KeptReading& self, const Array& x) -> decltype(x.data()) {
    const bool alone = self.reading.rows() == 1 && has_shape(x, {self.reading.inputs()});
    if (!alone && !has_shape(x, {self.reading.rows(), self.reading.inputs()}))
        throw std::invalid_argument("x: expected " +
                                    shape_text({self.reading.rows(), self.reading.inputs()}) +
                                    ", got " + shape_text(shape_of(x)));
    return memory_of("x", x);
}

template <class Array>
auto out_of(const KeptReading& self, const Array& out) -> decltype(out.data()) {
    if (self.dense.is_none()) throw std::invalid_argument("dense: expected one, got none");
    if (!has_shape(out, {self.reading.rows(), self.reading.output_size()}))
        throw std::invalid_argument("out: expected " +
                                    shape_text({self.reading.rows(), self.reading.output_size()}) +
                                    ", got " + shape_text(shape_of(out)));
    return memory_of("out", out);
}

// Of a few rows a step is over before another thread of Python could begin anything.
constexpr std::int64_t kFewRows = 8;

void reading_step(KeptReading& self, const Input& x) {
    const float* inputs = rows_of(self, x);
    const Stepped stepped(self.stepped);
    std::optional<nb::gil_scoped_release> released;
    if (self.reading.rows() > kFewRows) released.emplace();
    self.reading.step(inputs);
}

bool reading_step_scaled(KeptReading& self, const GivenDoubles& x, double farthest,
                         const std::optional<Doubles>& probabilities) {
    if (!self.mean) throw std::invalid_argument("mean: expected an array, got none");
    const double* inputs = rows_of(self, x);
    double* out = probabilities ? out_of(self, *probabilities) : nullptr;
    const Stepped stepped(self.stepped);
    std::optional<nb::gil_scoped_release> released;
    if (self.reading.rows() > kFewRows) released.emplace();
    if (!self.reading.step_scaled(inputs, farthest)) return false;
    if (out) self.reading.probabilities(out);
    return true;
}

}  // namespace

void bind_reading(nb::module_& m) {
    nb::class_<Dense>(m, "Dense")
        .def("__init__", new_dense, "weight"_a.noconvert(), "bias"_a.noconvert().none());
    nb::class_<KeptReading>(m, "Reading")
        .def("__init__", new_reading, "layers"_a, "states"_a.noconvert(), "norms"_a.noconvert(),
             "dense"_a.none(), "readout"_a, "steps"_a.noconvert(), "sum"_a.noconvert().none(),
             "highest"_a.noconvert().none(), "mean"_a.noconvert().none(),
             "scale"_a.noconvert().none(), "last"_a.noconvert().none())
        .def("step", reading_step, "x"_a.noconvert())
        .def("step_scaled", reading_step_scaled, "x"_a.noconvert(), "farthest"_a,
             "probabilities"_a.noconvert().none() = nb::none())
        .def(
            "outputs",
            [](KeptReading& self, const InOut& out) { self.reading.outputs(out_of(self, out)); },
            "out"_a.noconvert())
        .def(
            "probabilities",
            [](KeptReading& self, const Doubles& out) {
                self.reading.probabilities(out_of(self, out));
            },
            "out"_a.noconvert());
}

}  // namespace tidegate

#include "reading.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace tidegate {

Dense::Dense(const Kernels& kernels, std::int64_t outputs, std::int64_t inputs, const float* weight,
             const float* bias)
    : kernels_(&kernels),
      outputs_(outputs),
      inputs_(inputs),
      panels_(kernels.affine_panel_floats(outputs, inputs)) {
    kernels.pack_affine(weight, bias, outputs, inputs, panels_.data(), 0, 1);
}

void Dense::run(const float* x, std::int64_t rows, float* y) const {
    kernels_->affine(x, rows, panels_.data(), outputs_, inputs_, y, nullptr);  // float32 needs none
}

Reading::Reading(ReadingArrays arrays, const Dense* dense)
    : a_(std::move(arrays)),
      dense_(dense),
      width_(a_.layers.back()->sizes().of(a_.layers.back()->cell().state[0])) {
    const auto floats = [&](std::int64_t each) { return static_cast<std::size_t>(a_.rows * each); };
    if (!a_.norms.empty()) {
        std::int64_t widest = 0;
        for (const Layer* layer : a_.layers) widest = std::max(widest, layer->inputs());
        normed_.resize(floats(widest));
    }
    if (a_.mean) {
        scaled_.resize(floats(inputs()));
        rounded_.resize(floats(inputs()));
    }
    if (a_.readout.size() > 1 || a_.readout[0] != Readout::kLast)
        features_.resize(floats(width_ * static_cast<std::int64_t>(a_.readout.size())));
    logits_.resize(floats(output_size()));
}

void Reading::step(const float* x) {
    float* const* states = a_.states.data();
    const float* y = x;
    for (std::size_t k = 0; k < a_.layers.size(); ++k) {
        Layer& layer = *a_.layers[k];
        if (k > 0 && !a_.norms.empty()) {
            const std::int64_t I = layer.inputs();
            const float *scale = a_.norms[2 * k - 2], *shift = a_.norms[2 * k - 1];
            float* normed = normed_.data();
            for (std::int64_t b = 0; b < a_.rows; ++b)
                for (std::int64_t i = 0; i < I; ++i)
                    normed[b * I + i] = y[b * I + i] * scale[i] + shift[i];
            y = normed;
        }
        layer.step(y, a_.rows, states);
        y = states[0];
        states += layer.cell().states;
    }
    for (std::int64_t b = 0; b < a_.rows; ++b) ++a_.steps[b];
    const std::int64_t count = a_.rows * width_;
    if (a_.sum)
        for (std::int64_t at = 0; at < count; ++at) a_.sum[at] += y[at];
    if (a_.highest)
        for (std::int64_t at = 0; at < count; ++at)
            a_.highest[at] = std::max(a_.highest[at], y[at]);
}

bool Reading::step_scaled(const double* x, double farthest) {
    const std::int64_t I = inputs();
    double* scaled = scaled_.data();
    float* rounded = rounded_.data();
    for (std::int64_t b = 0; b < a_.rows; ++b)
        for (std::int64_t i = 0; i < I; ++i) {
            const double value = (x[b * I + i] - a_.mean[i]) / a_.scale[i];
            if (!(std::fabs(value) <= farthest)) return false;
            scaled[b * I + i] = value;
            rounded[b * I + i] = static_cast<float>(value);
        }
    std::copy(scaled_.begin(), scaled_.end(), a_.last);
    step(rounded);
    return true;
}

const float* Reading::features() {
    const Layer& last = *a_.layers.back();
    const float* y = a_.states[a_.states.size() - static_cast<std::size_t>(last.cell().states)];
    if (features_.empty()) return y;
    float* out = features_.data();
    for (std::int64_t b = 0; b < a_.rows; ++b) {
        const double count = static_cast<double>(std::max<std::int64_t>(a_.steps[b], 1));
        for (const Readout part : a_.readout) {
            for (std::int64_t k = 0; k < width_; ++k) {
                const std::int64_t at = b * width_ + k;
                if (part == Readout::kLast) {
                    out[k] = y[at];
                } else if (part == Readout::kMean) {
                    out[k] = static_cast<float>(a_.sum[at] / count);
                } else {
                    out[k] = a_.steps[b] > 0 ? a_.highest[at] : 0.0f;
                }
            }
            out += width_;
        }
    }
    return features_.data();
}

void Reading::outputs(float* out) { dense_->run(features(), a_.rows, out); }

void Reading::probabilities(double* out) {
    outputs(logits_.data());
    const std::int64_t O = output_size();
    for (std::int64_t b = 0; b < a_.rows; ++b) {
        const float* row = logits_.data() + b * O;
        const double highest = *std::max_element(row, row + O);
        double sum = 0.0;
        for (std::int64_t k = 0; k < O; ++k) sum += out[b * O + k] = std::exp(row[k] - highest);
        for (std::int64_t k = 0; k < O; ++k) out[b * O + k] /= sum;
    }
}

}  // namespace tidegate

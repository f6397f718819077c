// Sequences that the layers of a network read step by step, and its output as of now.
#pragma once

#include <vector>

#include "layer.h"

namespace tidegate {

// y = x W^T + b, packed once.
class Dense {
  public:
    Dense(const Kernels& kernels, std::int64_t outputs, std::int64_t inputs, const float* weight,
          const float* bias);
    std::int64_t outputs() const { return outputs_; }
    std::int64_t inputs() const { return inputs_; }
    // x: [rows, inputs]; y: [rows, outputs].
    void run(const float* x, std::int64_t rows, float* y) const;

  private:
    const Kernels* kernels_;
    std::int64_t outputs_, inputs_;
    Buffer panels_;
};

// What the dense layer sees of the last layer's outputs: the last one, their mean, the largest.
enum class Readout { kLast, kMean, kMax };

// What a reading works on; the arrays are the caller's and stay where they are. Letters: B rows, W
// the width of a layer's output, I inputs.
struct ReadingArrays {
    std::int64_t rows;
    std::vector<Layer*> layers;
    std::vector<float*> states;       // of each layer in turn, [B, W] each
    std::vector<const float*> norms;  // scale and shift [W] of each layer's output but the last, or
                                      // nothing
    std::vector<Readout> readout;
    std::int64_t* steps;         // [B], how many were read
    double* sum;                 // [B, W] of the last layer's outputs, and the largest; null where
    float* highest;              // `readout` does not ask for it
    const double *mean, *scale;  // [I] of values that are given unscaled, or null
    double* last;                // [B, I], the last scaled values, or null
};

// A layer may be in the step of one reading at a time.
class Reading {
  public:
    // `dense` may be null; then there are no outputs.
    Reading(ReadingArrays arrays, const Dense* dense);

    // x: [B, I].
    void step(const float* x);
    // The same of values [B, I] in units of the data. False, and nothing is read, where one is not
    // a number or farther than `farthest` from the mean, in units of the scale.
    bool step_scaled(const double* x, double farthest);
    // What the dense layer gives if the sequences end here, [B, O], and its softmax.
    void outputs(float* out);
    void probabilities(double* out);

    std::int64_t rows() const { return a_.rows; }
    std::int64_t inputs() const { return a_.layers.front()->inputs(); }
    std::int64_t output_size() const { return dense_ ? dense_->outputs() : 0; }

  private:
    const float* features();

    ReadingArrays a_;
    const Dense* dense_;
    std::int64_t width_;
    std::vector<double> scaled_;
    std::vector<float> normed_, rounded_, features_, logits_;
};

}  // namespace tidegate

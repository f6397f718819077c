// A layer for inference as Python has it, and which thread is in its step.
#pragma once

#include <atomic>
#include <stdexcept>
#include <vector>

#include "engine/layer.h"

namespace tidegate {

struct StreamedLayer : Layer {
    using Layer::Layer;
    std::atomic<bool> stepping{false};
};

// While it lives, this thread alone steps these layers.
class Stepped {
  public:
    explicit Stepped(const std::vector<StreamedLayer*>& layers) : layers_(layers) {
        for (StreamedLayer* layer : layers_) {
            if (layer->stepping.exchange(true)) {
                leave();
                throw std::runtime_error(
                    "another thread is in a step of this layer; give each thread a layer of its "
                    "own");
            }
            ++entered_;
        }
    }
    ~Stepped() { leave(); }
    Stepped(const Stepped&) = delete;
    Stepped& operator=(const Stepped&) = delete;

  private:
    void leave() {
        for (; entered_ > 0; --entered_) layers_[entered_ - 1]->stepping = false;
    }

    const std::vector<StreamedLayer*>& layers_;
    std::size_t entered_ = 0;
};

}  // namespace tidegate

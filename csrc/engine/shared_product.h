// A large product, shared out over threads.
#pragma once

#include "kernels.h"

namespace tidegate {

// The same to the bit for a given number of threads, to rounding for others.
void multiply(const Kernels& kernels, const Product& product, int threads);

}  // namespace tidegate

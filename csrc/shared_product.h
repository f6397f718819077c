// A large product, shared out over threads.
#pragma once

#include "kernels.h"

namespace tidegate {

// Every number of c is summed in one order, whatever the number of threads.
void multiply(const Kernels& kernels, const Product& product, int threads);

}  // namespace tidegate
